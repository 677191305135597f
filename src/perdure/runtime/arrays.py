"""One array of a tree: what it is, its bytes, and how it is made again. torch, numpy or jax.

The types on disk are those of safetensors (https://github.com/huggingface/safetensors, "Format");
an array of any other type is written as plain bytes, and its own type stands in the tree.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from types import ModuleType
from typing import Dict, Mapping, Optional, Tuple, Union

from perdure.runtime import libraries

Memory = Union[mmap.mmap, bytearray, memoryview]
Trait = Union[None, bool, int, str, "list[int]"]

_SAFETENSORS: Mapping[str, str] = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class Array:
    """An array found in a tree, not copied.

    `kind` is its type by its own library's name, `disk` safetensors' name for it or None,
    `shape` its dimensions, `nbytes` its size in bytes.
    """

    library: str
    value: object
    kind: str
    disk: Optional[str]
    shape: Tuple[int, ...]
    itemsize: int
    nbytes: int
    scalar: bool = False
    stride: Optional[Tuple[int, ...]] = None
    device: Optional[str] = None
    parameter: bool = False
    grad: bool = False

    def traits(self) -> Dict[str, Trait]:
        """Return what the tree must hold so that `rebuild` gives the same array."""
        traits: Dict[str, Trait] = {
            "lib": self.library,
            "dtype": self.kind,
            "shape": list(self.shape),
        }
        if self.stride is not None:
            traits["stride"] = list(self.stride)
        if self.device is not None:
            traits["device"] = self.device
        if self.parameter:
            traits["parameter"] = True
        if self.grad:
            traits["grad"] = True
        return traits


@dataclass(frozen=True)
class Region:
    """Bytes of an array inside a larger memory."""

    memory: Memory
    offset: int
    nbytes: int


def describe(value: object) -> Optional[Array]:
    """Return what is known of a torch, numpy or jax value; None for anything else."""
    torch, numpy, jax = libraries.torch(), libraries.numpy(), libraries.jax()
    if torch is not None and isinstance(value, torch.Tensor):
        return _describe_torch(torch, value)
    if jax is not None and isinstance(value, jax.Array) and numpy is not None:
        return _describe_numpy("jax", numpy.asarray(value))
    if numpy is not None and isinstance(value, numpy.generic):
        return _describe_scalar(value)
    if numpy is not None and type(value) is numpy.ndarray:
        return _describe_numpy("numpy", value)
    return None


def identity(array: Array) -> Tuple[object, ...]:
    """Return what two arrays share exactly when they are one: the same memory, seen alike."""
    if array.library != "torch" or array.nbytes == 0:
        return (array.library, id(array.value))
    pointer = array.value.data_ptr()  # type: ignore[attr-defined]
    return (pointer, array.kind, array.shape, array.stride, array.device, array.parameter)


def to_bytes(array: Array) -> bytes:
    """Return a copy of a numpy scalar's bytes."""
    data: bytes = array.value.tobytes()  # type: ignore[attr-defined]
    return data


def scalar(data: bytes, kind: str) -> object:
    """Return the numpy scalar of these bytes."""
    numpy = _need(libraries.numpy(), "numpy")
    dtype = numpy.dtype(kind)
    if dtype.itemsize == 0:
        return dtype.type()
    return numpy.frombuffer(data, dtype=dtype)[0]


def view(memory: Memory, offset: int, array: Array) -> object:
    """Return an array of the library's own over part of `memory`, to copy the value into."""
    if array.library == "torch":
        torch = _need(libraries.torch(), "torch")
        return _torch_view(torch, Region(memory, offset, array.nbytes), array.kind, array.shape)
    numpy = _need(libraries.numpy(), "numpy")
    region = Region(memory, offset, array.nbytes)
    return _numpy_view(numpy, region, array.kind, array.shape)


def copy_into(destination: object, array: Array) -> None:
    """Copy an array's value into a view made by `view`."""
    if array.nbytes == 0:
        return
    if array.library == "torch":
        # Only CUDA's copies are waited for before the buffer is read: see device.py.
        on_cuda = (array.device or "").startswith("cuda")
        destination.copy_(array.value, non_blocking=on_cuda)  # type: ignore[attr-defined]
    else:
        destination[...] = array.value  # type: ignore[index]


def rebuild(region: Region, traits: Mapping[str, object]) -> object:
    """Return the array of these traits over `region`; its memory is the region's where possible."""
    shape: Tuple[int, ...] = tuple(traits["shape"])  # type: ignore[arg-type]
    kind, library = str(traits["dtype"]), str(traits["lib"])
    if library == "torch":
        return _rebuild_torch(region, kind, shape, traits)
    numpy = _need(libraries.numpy(), "numpy")
    array = _numpy_view(numpy, region, kind, shape)
    if library == "jax":
        return _need(libraries.jax(), "jax").numpy.asarray(array.copy())
    return array.copy(order="F") if "stride" in traits else array


def _need(module: Optional[ModuleType], name: str) -> ModuleType:
    if module is None:
        from perdure.runtime.faults import MisuseError

        raise MisuseError(f"the checkpoint holds {name} arrays", f"import {name} before resuming")
    return module


def _describe_torch(torch: ModuleType, value: object) -> Optional[Array]:
    parameter = type(value) is torch.nn.Parameter
    plain = parameter or type(value) is torch.Tensor
    tensor = value
    if not plain or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:  # type: ignore[attr-defined]
        return None
    kind = str(tensor.dtype)[len("torch.") :]  # type: ignore[attr-defined]
    detached = tensor.detach()  # type: ignore[attr-defined]
    return Array(
        library="torch",
        value=detached,
        kind=kind,
        disk=_SAFETENSORS.get(kind),
        shape=tuple(detached.shape),
        itemsize=detached.element_size(),
        nbytes=detached.numel() * detached.element_size(),
        stride=None if detached.is_contiguous() else tuple(detached.stride()),
        device=None if detached.device.type == "cpu" else str(detached.device),
        parameter=parameter,
        grad=bool(tensor.requires_grad),  # type: ignore[attr-defined]
    )


def _dtype_name(value: object) -> Optional[str]:
    """Return a name numpy makes the dtype from again; None for objects and records."""
    dtype = value.dtype  # type: ignore[attr-defined]
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None:
        return None
    return str(dtype.name) if dtype.kind == "V" else str(dtype.str)


def _describe_scalar(value: object) -> Optional[Array]:
    kind = _dtype_name(value)
    if kind is None:
        return None
    itemsize = int(value.dtype.itemsize)  # type: ignore[attr-defined]
    return Array("numpy", value, kind, None, (), itemsize, itemsize, scalar=True)


def _describe_numpy(library: str, value: object) -> Optional[Array]:
    kind = _dtype_name(value)
    if kind is None:
        return None
    flags = value.flags  # type: ignore[attr-defined]
    dtype = value.dtype  # type: ignore[attr-defined]
    fortran = flags.f_contiguous and not flags.c_contiguous
    native = dtype.isnative
    return Array(
        library=library,
        value=value,
        kind=kind,
        disk=_SAFETENSORS.get(str(dtype.name)) if native else None,
        shape=tuple(value.shape),  # type: ignore[attr-defined]
        itemsize=int(dtype.itemsize),
        nbytes=int(value.nbytes),  # type: ignore[attr-defined]
        stride=tuple(value.strides) if fortran else None,  # type: ignore[attr-defined]
    )


def _torch_view(torch: ModuleType, region: Region, kind: str, shape: Tuple[int, ...]) -> object:
    dtype = getattr(torch, kind)
    if region.nbytes == 0:
        return torch.empty(shape, dtype=dtype)
    raw = torch.frombuffer(
        region.memory, dtype=torch.uint8, count=region.nbytes, offset=region.offset
    )
    return raw.view(dtype).view(shape)


def _numpy_view(
    numpy: ModuleType, region: Region, kind: str, shape: Tuple[int, ...]
) -> "numpy.ndarray":  # type: ignore[name-defined] # noqa: F821
    dtype = numpy.dtype(kind)
    if region.nbytes == 0:
        return numpy.empty(shape, dtype=dtype)
    count = region.nbytes // dtype.itemsize
    flat = numpy.frombuffer(region.memory, dtype=dtype, count=count, offset=region.offset)
    return flat.reshape(shape)


def _rebuild_torch(
    region: Region, kind: str, shape: Tuple[int, ...], traits: Mapping[str, object]
) -> object:
    torch = _need(libraries.torch(), "torch")
    tensor = _torch_view(torch, region, kind, shape)
    stride = traits.get("stride")
    if stride is not None and _is_dense(shape, tuple(stride)):  # type: ignore[arg-type]
        strided = torch.empty_strided(shape, tuple(stride), dtype=tensor.dtype)  # type: ignore[arg-type, attr-defined]
        tensor = strided.copy_(tensor)
    device = traits.get("device")
    if device is not None:
        tensor = tensor.to(device)  # type: ignore[attr-defined]
    if traits.get("parameter"):
        return torch.nn.Parameter(tensor, requires_grad=bool(traits.get("grad")))
    return tensor.requires_grad_(True) if traits.get("grad") else tensor  # type: ignore[attr-defined]


def _is_dense(shape: Tuple[int, ...], stride: Tuple[int, ...]) -> bool:
    """Say whether a strided array covers its extent without holes or overlap."""
    expected = 1
    for length, step in sorted(zip(shape, stride), key=lambda pair: pair[1]):
        if length != 1:
            if step != expected:
                return False
            expected *= length
    return True
