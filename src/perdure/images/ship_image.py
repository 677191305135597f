"""What an engine says of its images, as far as shipping one needs it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perdure.errors import EnvironmentFailed, UsageError
from perdure.hosts.engine import Engine

ASK_S = 120.0

# Asked about so many images at once: an argument list has its limits.
_BATCH = 100
_CLEARING = "not found"
_PATIENCE_S = (0.2, 1.0, 3.0, 6.0)
_CONFIG = (
    "Env",
    "Cmd",
    "Entrypoint",
    "WorkingDir",
    "User",
    "Labels",
    "Volumes",
    "ExposedPorts",
)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image as an engine has it: `layers` are the digests of their contents, oldest first.

    `meaning` is what a container of it would be started with; with the layers it is the same on
    every engine, where ids are not. `size` is in bytes, as the engine counts.
    """

    id: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]
    meaning: str
    environ: tuple[str, ...]
    platform: tuple[str, str]
    size: int

    def is_same(self, other: ImageRecord) -> bool:
        """Return whether both are one image, whatever their engines call it."""
        return self.layers == other.layers and self.meaning == other.meaning


def record_of(document: Mapping[str, object]) -> ImageRecord:
    """Return the record of an image that `docker image inspect` describes."""
    config = _table(document, "Config")
    meaning = {key: config.get(key) or None for key in _CONFIG}
    system, machine = str(document.get("Os", "")), str(document.get("Architecture", ""))
    told = [meaning, document.get("Created"), system, machine]
    size = document.get("Size")
    return ImageRecord(
        id=str(document.get("Id", "")),
        tags=_texts(document.get("RepoTags")),
        layers=_texts(_table(document, "RootFS").get("Layers")),
        meaning=json.dumps(told, sort_keys=True),
        environ=_texts(config.get("Env")),
        platform=(system, machine),
        size=size if isinstance(size, int) else 0,
    )


def find_image(engine: Engine, reference: str) -> ImageRecord | None:
    """Return the image of that name or id, None where the engine has none. Asks the engine.

    Raises:
        EngineUnreachable: it does not answer.
    """
    return next(iter(_inspect(engine, [reference])), None)


def read_image(engine: Engine, reference: str) -> ImageRecord:
    """Return the image of that name or id. Asks the engine.

    Raises:
        UsageError: the engine has no such image; the hint names the nearest that it has.
        EngineUnreachable: it does not answer.
    """
    found = find_image(engine, reference)
    if found is None:
        raise UsageError(
            f"there is no image `{reference}` on this engine", hint=_nearest(engine, reference)
        )
    return found


def list_images(engine: Engine) -> tuple[ImageRecord, ...]:
    """Return every image that the engine has. Asks the engine.

    Raises:
        EnvironmentFailed: it does not list them.
        EngineUnreachable: it does not answer.
    """
    words = ["image", "ls", "--all", "--quiet", "--no-trunc"]
    done = engine.run(words, timeout_s=ASK_S)
    for pause_s in _PATIENCE_S:
        # The containerd store lists none while it clears away what broke off.
        if done.returncode == 0 or _CLEARING not in done.complaint:
            break
        time.sleep(pause_s)
        done = engine.run(words, timeout_s=ASK_S)
    if done.returncode != 0:
        raise EnvironmentFailed(f"the engine does not list its images: {done.complaint}")
    return _inspect(engine, dict.fromkeys(done.text.split()))


def held_layers(layers: Sequence[str], images: Iterable[ImageRecord]) -> int:
    """Return how many of the layers, from the first on, some image begins with. Pure.

    A layer is held only with all those below it: an engine stores it as a change to them.
    """
    most = 0
    for image in images:
        pairs = enumerate(zip(layers, image.layers, strict=False))
        different = (index for index, (wanted, there) in pairs if wanted != there)
        most = max(most, next(different, min(len(layers), len(image.layers))))
    return most


def _inspect(engine: Engine, references: Iterable[str]) -> tuple[ImageRecord, ...]:
    asked, found = list(references), []
    for start in range(0, len(asked), _BATCH):
        words = ["image", "inspect", *asked[start : start + _BATCH]]
        # One that went away meanwhile fails the command, and the others are described still.
        described = json.loads(engine.run(words, timeout_s=ASK_S).text or "[]")
        found += [record_of(document) for document in described]
    return tuple(found)


def _nearest(engine: Engine, reference: str) -> str:
    from difflib import get_close_matches

    tags = [tag for image in list_images(engine) for tag in image.tags]
    near = get_close_matches(reference, tags, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else "`docker image ls` lists those that it has"


def _table(document: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list) else ()
