"""Where `--on` leads: a bucket by its URL, or the name of a target. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from perdure.errors import UsageError

SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
_HINT = "s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, az://CONTAINER/FOLDER or file:///FOLDER"


@dataclass(frozen=True, slots=True)
class Address:
    """A bucket: the provider (`s3`, `gs`, `az`, `file`), the bucket's name, the folder in it.

    For `file` there is no bucket, and the folder is absolute.
    """

    provider: str
    bucket: str
    folder: str

    def __str__(self) -> str:
        """Return it as it is written, without anything that could be secret."""
        if self.provider == "file":
            return f"file://{self.folder}"
        return f"{self.provider}://{self.bucket}" + (f"/{self.folder}" if self.folder else "")


def is_address(text: str) -> bool:
    """Return whether the text is a URL, and not the name of a target."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def parse_address(text: str) -> Address:
    """Return the bucket that a URL names.

    Raises:
        UsageError: it names none, or would carry a secret.
    """
    parts = urlsplit(text)
    scheme = parts.scheme.lower()
    if parts.query or "@" in parts.netloc:
        raise UsageError(
            f"a bucket's address takes neither a user nor a query: `{scheme}://...`",
            hint="credentials come from where the provider's own tools have them",
        )
    folder = unquote(parts.path)
    if scheme == "file":
        if parts.netloc or not folder.startswith("/") or folder.strip("/") == "":
            raise UsageError(f"`{text}` names no folder of this machine", hint="file:///FOLDER")
        return Address("file", "", folder.rstrip("/"))
    if scheme not in SCHEMES:
        raise UsageError(f"`{scheme}://` is no kind of bucket that is known", hint=_HINT)
    if not parts.netloc:
        raise UsageError(f"`{text}` names no bucket", hint=_HINT)
    names = [name for name in folder.split("/") if name]
    if {".", ".."} & set(names):
        raise UsageError(f"`{text}` goes up and down", hint="write the folder as it is")
    return Address(SCHEMES[scheme], parts.netloc, "/".join(names))
