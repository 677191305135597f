"""The user's own AWS credentials, from the files that AWS's tools keep them in.

https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html. What is in the variables,
or comes from a role of the machine, the library finds by itself.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

from perdure.errors import UsageError

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}
_ELSEWHERE = ("sso_session", "sso_start_url", "credential_process", "role_arn")
_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def read_profile(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return what a user's profile says, as settings of the library. Reads the disk.

    A variable goes before a file; empty where there are no files.

    Raises:
        UsageError: the profile says that the credentials come from elsewhere.
    """
    name = environ.get("AWS_PROFILE") or "default"
    said = _section(environ.get("AWS_CONFIG_FILE") or home / ".aws" / "config", name)
    shared = environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials"
    said |= _section(shared, name)
    found = {ours: said[theirs] for theirs, ours in _KEYS.items() if said.get(theirs)}
    if any(environ.get(each) for each in _REGIONS):
        found.pop("region", None)
    for variable in reversed(_ENDPOINTS):
        if url := environ.get(variable):
            found["endpoint"] = url
    if any(environ.get(each) for each in _VARIABLES):
        for key in ("access_key_id", "secret_access_key", "session_token"):
            found.pop(key, None)
    elif "access_key_id" not in found and any(said.get(each) for each in _ELSEWHERE):
        raise UsageError(
            f"the AWS profile `{name}` holds no keys of its own",
            hint='eval "$(aws configure export-credentials --format env)"',
        )
    return found


def _section(file: str | Path, name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        # Its text may hold keys: nothing of it is told.
        raise UsageError(f"`{file}` cannot be read", hint="aws configure") from None
    for heading in (name, f"profile {name}"):
        if parser.has_section(heading):
            return dict(parser[heading])
    return {}
