"""A conda channel made here: a Python, a C library and packages for it, with their prefixes."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: What the packages have where the prefix will be: as long as conda's own builds make it.
PLACEHOLDER = "/placeholder".ljust(255, "_")
VERSION = ".".join(map(str, sys.version_info[:3]))
MINOR = ".".join(map(str, sys.version_info[:2]))
SUBDIR = "linux-64"

#: Of this Python's library, what no test imports.
_LEFT_OUT = ("__pycache__", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tests")
_LEFT_OUT_TOO = ("tkinter", "turtledemo", "unittest", "pydoc_data", "distutils")

Index = dict[str, object]


@dataclass(frozen=True, slots=True)
class Built:
    """The content of a package: files by their path, links, and the paths that hold the prefix."""

    files: Mapping[str, bytes]
    links: Mapping[str, str] = field(default_factory=dict)
    programs: frozenset[str] = frozenset()
    text: frozenset[str] = frozenset()
    binary: frozenset[str] = frozenset()
    link_json: Mapping[str, object] | None = None


class Channel:
    """A folder that is a conda channel."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index: dict[str, dict[str, Index]] = {SUBDIR: {}, "noarch": {}}

    def add(self, index: Index, built: Built) -> Path:
        """Put a package into the channel, and return its file."""
        file = f"{index['name']}-{index['version']}-{index['build']}.tar.bz2"
        content = _archive(index, built)
        path = self.folder / str(index["subdir"]) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digests: Index = {
            "md5": hashlib.md5(content).hexdigest(),
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
        }
        self.announce(file, {**index, **digests})
        return path

    def announce(self, file: str, index: Index) -> None:
        """Name a package in the channel's lists, whether or not it is there."""
        self._index[str(index["subdir"])][file] = index
        for subdir, packages in self._index.items():
            (self.folder / subdir).mkdir(parents=True, exist_ok=True)
            document = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}}
            (self.folder / subdir / "repodata.json").write_text(json.dumps(document))


def index_of(
    name: str, version: str, depends: tuple[str, ...] = (), *, build: str = "h1_0", noarch: str = ""
) -> Index:
    """Return what a channel's list says of a package."""
    index: Index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "subdir": "noarch" if noarch else SUBDIR,
        "depends": list(depends),
        "timestamp": 1_700_000_000_000,
    }
    return {**index, "noarch": noarch} if noarch else index


def make_channel(folder: Path, scratch: Path) -> Channel:
    """Return a channel with everything in it."""
    channel = Channel(folder)
    channel.add(
        index_of("python", VERSION, ("__glibc >=2.17",), build="h1_0_cpython"), python(scratch)
    )
    channel.add(index_of("libgreet", "1.2.0", ("__glibc >=2.17",)), library(scratch))
    channel.announce("libgreet-1.1.0-h1_0.tar.bz2", {**index_of("libgreet", "1.1.0"), **_NOWHERE})
    needs = (f"python >={MINOR}", "libgreet >=1.2")
    channel.add(index_of("greet", "0.3", needs, build="pyh1_0", noarch="python"), module())
    plain = (f"python >={MINOR}",)
    for version in ("1.26", "2.0"):
        index = index_of("numb", version, plain, build="pyh1_0", noarch="python")
        channel.add(index, module("numb", version, "", {}))
    cuda = index_of("only-with-cuda", "1.0", ("__cuda >=12",))
    channel.announce("only-with-cuda-1.0-h1_0.tar.bz2", {**cuda, **_NOWHERE})
    return channel


def python(scratch: Path) -> Built:
    """Return this Python as a package: its libraries found from where it lies, as conda has it."""
    base = Path(sys.base_prefix)
    files = {f"bin/python{MINOR}": _relative((base / f"bin/python{MINOR}").read_bytes(), base)}
    shared = sysconfig.get_config_var("INSTSONAME")
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        files[f"lib/{shared}"] = stripped(base / "lib" / str(shared), scratch)
    library = base / "lib" / f"python{MINOR}"
    for path in sorted(library.rglob("*")):
        parts = path.relative_to(library).parts
        left_out = {*parts} & {*_LEFT_OUT, *_LEFT_OUT_TOO} or parts[0].startswith("config-")
        if path.is_file() and not left_out:
            files[path.relative_to(base).as_posix()] = path.read_bytes()
    text = frozenset(name for name in files if Path(name).name.startswith("_sysconfigdata"))
    for name in text:
        files[name] = files[name].replace(str(base).encode(), PLACEHOLDER.encode())
    links = {"bin/python": f"python{MINOR}", "bin/python3": f"python{MINOR}"}
    return Built(files, links, frozenset((f"bin/python{MINOR}",)), text)


def stripped(file: Path, scratch: Path) -> bytes:
    """Return a library without what only a debugger reads: most of it."""
    copy = scratch / file.name
    subprocess.run(["strip", "--strip-debug", "-o", copy, file], check=True, timeout=120)
    return copy.read_bytes()


def library(scratch: Path) -> Built:
    """Return a C library that finds another one, and a folder, by the prefix it was built with."""
    word, greet = scratch / "libword.so", scratch / "libgreet.so"
    (scratch / "word.c").write_text('const char *word(void) { return "hello"; }\n')
    (scratch / "greet.c").write_text(
        "const char *word(void);\nconst char *greet(void) { return word(); }\n"
        f'const char *share(void) {{ return "{PLACEHOLDER}/share/greet"; }}\n'
    )
    gcc = ("gcc", "-shared", "-fPIC", "-O1")
    subprocess.run([*gcc, "-o", word, scratch / "word.c"], check=True, timeout=120)
    linked = (f"-L{scratch}", "-lword", f"-Wl,-rpath,{PLACEHOLDER}/lib")
    subprocess.run([*gcc, "-o", greet, scratch / "greet.c", *linked], check=True, timeout=120)
    script = f"#!{PLACEHOLDER}/bin/python\nprint('{PLACEHOLDER}')\n"
    files = {
        "lib/libword.so": word.read_bytes(),
        "lib/libgreet.so": greet.read_bytes(),
        "share/greet/words": b"hello\n",
        "bin/greet-config": script.encode(),
        # Run by nobody: a package's own scripts are not.
        "bin/.libgreet-post-link.sh": b"touch $PREFIX/ran\n",
    }
    programs = frozenset(("bin/greet-config",))
    return Built(files, {}, programs, programs, frozenset(("lib/libgreet.so",)))


_GREET = """\
import ctypes, sys
library = ctypes.CDLL(sys.base_prefix + "/lib/libgreet.so")
for function in (library.greet, library.share):
    function.restype = ctypes.c_char_p
def greet(): return library.greet().decode()
def share(): return library.share().decode()
def main(): print(greet())
"""


def module(
    name: str = "greet",
    version: str = "0.3",
    text: str = _GREET,
    commands: Mapping[str, str] | None = None,
) -> Built:
    """Return a noarch package with one module, and a command."""
    info = f"site-packages/{name}-{version}.dist-info"
    files = {
        f"site-packages/{name}/__init__.py": text.encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/INSTALLER": b"conda",
        f"{info}/RECORD": b"",
    }
    commands = {"greet": "greet:main"} if commands is None else commands
    points = [f"{command} = {target}" for command, target in commands.items()]
    noarch = {"type": "python", "entry_points": points}
    return Built(files, link_json={"noarch": noarch, "package_metadata_version": 1})


def _relative(program: bytes, base: Path) -> bytes:
    """Return the program with its library path told from where it lies, for the same length."""
    told = f"{base}/lib".encode() + b"\0"
    return program.replace(told, b"$ORIGIN/../lib".ljust(len(told), b"\0"))


def _archive(index: Index, built: Built) -> bytes:
    paths = [_path_entry(name, content, built) for name, content in sorted(built.files.items())]
    paths += [{"_path": name, "path_type": "softlink", "size_in_bytes": 0} for name in built.links]
    info = {"index": index, "paths": {"paths": paths, "paths_version": 1}}
    if built.link_json is not None:
        info["link"] = dict(built.link_json)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, document in info.items():
            _put(archive, f"info/{name}.json", json.dumps(document).encode())
        for name, content in built.files.items():
            _put(archive, name, content, 0o755 if name in built.programs else 0o644)
        for name, target in built.links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return bz2.compress(plain.getvalue(), 1)


def _path_entry(name: str, content: bytes, built: Built) -> Index:
    entry: Index = {
        "_path": name,
        "path_type": "hardlink",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
    mode = "text" if name in built.text else "binary" if name in built.binary else None
    return {**entry, "file_mode": mode, "prefix_placeholder": PLACEHOLDER} if mode else entry


def _put(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), mode, 1_700_000_000
    archive.addfile(member, io.BytesIO(content))


_NOWHERE: Index = {"md5": "0" * 32, "sha256": "0" * 64, "size": 1}
