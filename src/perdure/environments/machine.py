"""The machine's own package settings, said in uv's variables: what pip was told, uv is told too.

Sources: pip's documentation, "Configuration"; uv's reference, "Environment variables". Values may
hold passwords: they are for an environment, never for an argument or a message.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SECTIONS = ("global", "install")
_PREFIX = "PIP_"
_TRUE = frozenset(("1", "true", "yes", "on", "y", "t"))
_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/'\"`]+@")


def machine_settings(environ: Mapping[str, str], pip_files: Sequence[str] = ()) -> dict[str, str]:
    """Return the variables to add for uv, from the texts of pip's files, the stronger ones last.

    What the user has told uv, or the system's own variables for it, wins and is not in the answer.
    """
    pip = pip_options(environ, pip_files)
    found = {
        **_indexes(pip, environ),
        "UV_FIND_LINKS": ",".join(_existing(pip.get("find-links", "").split())),
        "UV_INSECURE_HOST": " ".join(pip.get("trusted-host", "").split()),
        "UV_HTTP_TIMEOUT": _whole(pip.get("timeout") or pip.get("default-timeout", "")),
        "UV_NO_INDEX": "1" if pip.get("no-index", "").lower() in _TRUE else "",
        "SSL_CERT_FILE": pip.get("cert", ""),
        "SSL_CLIENT_CERT": pip.get("client-cert", ""),
        **_proxies(pip, environ),
    }
    return {name: value for name, value in found.items() if value and not environ.get(name)}


def pip_options(environ: Mapping[str, str], pip_files: Sequence[str]) -> dict[str, str]:
    """Return pip's options by their long names: its files in order, then its variables."""
    options: dict[str, str] = {}
    for text in pip_files:
        options |= _file_options(text)
    for name, value in environ.items():
        if name.startswith(_PREFIX) and value:
            options[name.removeprefix(_PREFIX).lower().replace("_", "-")] = value
    return options


def pip_files(environ: Mapping[str, str], platform: str = sys.platform) -> tuple[Path, ...]:
    """Return where pip looks for its files, the stronger ones last: global, user, site, named."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return ()
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    places = [Path(folder) / "pip" for folder in reversed(shared.split(":")) if folder]
    places.append(Path("/etc"))
    if platform == "darwin":
        places.insert(0, Path("/Library/Application Support/pip"))
    if home is not None:
        places += _user_places(home, environ, platform)
    places += [Path(environ[name]) for name in ("VIRTUAL_ENV",) if environ.get(name)]
    files = [*(place / "pip.conf" for place in places), Path(sys.prefix) / "pip.conf"]
    return tuple(dict.fromkeys([*files, Path(named)] if named else files))


def read_files(files: Iterable[Path]) -> list[str]:
    """Return the texts of those files that are there and can be read."""
    texts = []
    for file in files:
        try:
            texts.append(file.read_bytes().decode("utf-8", "replace"))
        except OSError:
            # Not there, or not for us: pip goes on without it as well.
            continue
    return texts


def find_links(environ: Mapping[str, str], pip_files: Sequence[str]) -> tuple[Path, ...]:
    """Return the folders of this machine in which pip, or uv, looks for wheels."""
    pip = pip_options(environ, pip_files)
    places = re.split(r"[\s,]+", environ.get("UV_FIND_LINKS", "") or pip.get("find-links", ""))
    folders = (local_folder(place) for place in places if place)
    return tuple(folder for folder in folders if folder is not None and folder.is_dir())


def local_folder(place: str) -> Path | None:
    """Return the folder that a path or a `file:` URL names, None for what is elsewhere."""
    if place.startswith("file:"):
        return Path(unquote(urlsplit(place).path))
    return None if "://" in place else Path(place).expanduser()


def masked(text: str) -> str:
    """Return the text with the users and passwords of its URLs taken out."""
    return _CREDENTIALS.sub(r"\g<scheme>***@", text)


def _user_places(home: Path, environ: Mapping[str, str], platform: str) -> list[Path]:
    configured = environ.get("XDG_CONFIG_HOME") or str(home / ".config")
    places = [home / ".pip", Path(configured) / "pip"]
    if platform == "darwin":
        places.append(home / "Library" / "Application Support" / "pip")
    return places


def _file_options(text: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        # pip itself says what is wrong with it.
        return {}
    return {
        name.replace("_", "-"): value
        for section in _SECTIONS
        if parser.has_section(section)
        for name, value in parser.items(section)
    }


def _indexes(pip: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the indexes, merged as pip merges them.

    Of two indexes with the same version uv takes the first; its default index is always the last.
    So a main index that is named goes first: a lock had better name it than a place beside it.
    """
    told = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
    if any(environ.get(name) for name in told):
        return {}
    main = pip.get("index-url", "") or pip.get("pypi-url", "")
    extra = _existing(pip.get("extra-index-url", "").split())
    if not extra:
        return {"UV_DEFAULT_INDEX": main}
    first, last = ([main, *extra[:-1]], extra[-1]) if main else (extra, "")
    return {
        "UV_INDEX": " ".join(first),
        "UV_DEFAULT_INDEX": last,
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def _existing(places: Iterable[str]) -> list[str]:
    """Return the places without folders that are not there: uv fails on them, pip does not."""
    kept = []
    for place in places:
        folder = local_folder(place)
        if folder is None or folder.exists():
            kept.append(place)
    return kept


def _proxies(pip: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    told = any(environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"))
    proxy = "" if told else pip.get("proxy", "")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}


def _whole(seconds: str) -> str:
    try:
        return str(int(float(seconds)))
    except (OverflowError, ValueError):
        return ""
