"""A bucket as a folder: opened with the provider's usual credentials, its refusals in our words."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.errors import (
    EnvironmentFailed,
    HostUnreachable,
    MissingProgram,
    NoBucket,
    PerdureError,
    StorageError,
    UsageError,
)
from perdure.moving.address import Address

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CONNECT_S = 10
# A part of a few MiB on a slow line.
ANSWER_S = 300
RETRY_S = 60
RETRIES = 5
CLOCK_HINT = "is this machine's clock right? `date -u`, `timedatectl`"
_OPEN = "open it"
_CREDENTIALS = {
    "s3": "`aws configure`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS",
    "az": "`az login`, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "file": "look at who owns the folder",
}
# What Google's own libraries ask in its place: a server for tests, without credentials.
_GOOGLE_SERVER = "STORAGE_EMULATOR_HOST"
_AZURE = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_ID")


@dataclass(frozen=True, slots=True)
class Reaching:
    """How a bucket is reached where that is not the usual way: its region, how long it may take.

    Times are in seconds. `account` is Azure's storage account. `is_own`: this machine is one of the
    bucket's provider, whose own identity is meant; nobody is logged in there.
    """

    region: str | None = None
    account: str | None = None
    connect_s: int | None = None
    answer_s: int | None = None
    retry_s: int | None = None
    retries: int | None = None
    is_own: bool = False


_USUALLY = Reaching()


def open_bucket(address: Address, *, make: bool, reaching: Reaching = _USUALLY) -> ObjectStore:
    """Return the folder of a bucket. `make`: a folder of this machine is made where it is missing.

    Touches the disk; asks nobody over the network yet.

    Raises:
        MissingProgram: the library for buckets is not installed.
        UsageError: there is no such folder, or the settings for the provider are not usable.
    """
    try:
        import obstore.store as stores
    except ImportError as error:
        raise MissingProgram(
            "buckets need the library obstore, which is not installed",
            program="obstore",
            hint="pip install 'perdure[cli,buckets]'",
        ) from error
    if address.provider == "file":
        return _open_folder(address, make=make)
    settings, is_plain = _settings(address, reaching)
    url = f"{address.provider}://{address.bucket}/{address.folder}"
    with _in_our_words(address):
        opened: ObjectStore = stores.from_url(
            url,
            config=settings,  # type: ignore[call-overload]
            client_options={
                "connect_timeout": timedelta(seconds=_or(reaching.connect_s, CONNECT_S)),
                "timeout": timedelta(seconds=_or(reaching.answer_s, ANSWER_S)),
                # Only where the user's own address says so, as AWS's tools have it.
                "allow_http": is_plain,
            },
            retry_config={
                "max_retries": _or(reaching.retries, RETRIES),
                "retry_timeout": timedelta(seconds=_or(reaching.retry_s, RETRY_S)),
            },
        )
        return opened


@contextlib.contextmanager
def asking(address: Address, what: str) -> Iterator[None]:
    """Turn a bucket's refusal into one clear error; `what` was being done.

    Nothing of what the library says is passed on that could hold an address with a signature.
    """
    with _in_our_words(address, what):
        yield


def is_missing(error: Exception) -> bool:
    """Return whether an error says that there is no such object, in a bucket that is there."""
    return isinstance(error, FileNotFoundError) and not _is_no_bucket(str(error))


def _or(given: int | None, usual: int) -> int:
    return usual if given is None else given


def _open_folder(address: Address, *, make: bool) -> ObjectStore:
    from obstore.store import LocalStore

    folder = Path(address.folder)
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            raise UsageError(f"there is no folder `{folder}`", hint=f"mkdir -p '{folder}'")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot use `{folder}`: {reason}") from error
    return LocalStore(prefix=folder)


def _settings(address: Address, reaching: Reaching) -> tuple[dict[str, str], bool]:
    """Return settings of the library, and whether the user has it ask without encryption."""
    found, is_plain = _usual_settings(address, reaching)
    named = address.provider == "az" and reaching.account is not None
    return {**found, **({"account_name": str(reaching.account)} if named else {})}, is_plain


def _usual_settings(address: Address, reaching: Reaching) -> tuple[dict[str, str], bool]:
    if address.provider == "s3":
        from perdure.moving.aws_profile import read_profile

        found = read_profile(os.environ, Path.home())
        if reaching.region is not None:
            found = {**found, "region": reaching.region}
        return found, _is_plain(found.get("endpoint", ""))
    if address.provider == "gs":
        if not (server := os.environ.get(_GOOGLE_SERVER, "")):
            return {}, False
        server = server if "://" in server else f"http://{server}"
        return {"service_account_key": _nobody(server)}, _is_plain(server)
    if address.provider == "az" and not any(os.environ.get(name) for name in _AZURE):
        by_login = not reaching.is_own and shutil.which("az") is not None
        return ({"use_azure_cli": "true"} if by_login else {}), False
    return {}, _is_plain(os.environ.get("AZURE_STORAGE_ENDPOINT", ""))


def _is_plain(url: str) -> bool:
    return url.startswith("http://")


def _nobody(server: str) -> str:
    """Return the key of nobody, with which the library asks a server that is not Google's own."""
    empty = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    return json.dumps({"gcs_base_url": server.rstrip("/"), "disable_oauth": True, **empty})


@contextlib.contextmanager
def _in_our_words(address: Address, what: str = _OPEN) -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except PerdureError:
        raise
    except (BaseError, OSError, ValueError, NotImplementedError) as error:
        raise explained(address, what, error) from None


def explained(address: Address, what: str, error: Exception) -> PerdureError:
    """Return the error for what a bucket's library raised. Pure."""
    said = str(error)
    lowered = said.lower()
    if _is_no_bucket(said):
        ends = "`perdure reap --on TARGET` ends machines whose bucket is gone"
        return NoBucket(
            f"there is no bucket `{address.bucket}`",
            hint=f"make it with the provider's own tools; {ends}",
        )
    shut_out = _shut_out(address, what, error)
    if shut_out is not None:
        return shut_out
    if "no space left" in lowered or "quota exceeded" in lowered:
        return StorageError(f"no space left in `{address}`", hint="free some, and say it again")
    if "error sending request" in lowered or "timed out" in lowered or "dns error" in lowered:
        return HostUnreachable(
            f"`{address}` does not answer", hint="say it again: it goes on where it stopped"
        )
    if what == _OPEN and address.provider != "file":
        # Nobody was asked yet: a file of credentials is not there, or a key is none.
        return EnvironmentFailed(
            f"the credentials for `{address}` cannot be used", hint=_CREDENTIALS[address.provider]
        )
    return StorageError(f"cannot {what} in `{address}`: {_reason(error, said)}")


def _shut_out(address: Address, what: str, error: Exception) -> PerdureError | None:
    """Return the error of who is not let in, None where it is another one. Pure."""
    said = str(error)
    if _is_of_another_time(said):
        return EnvironmentFailed(
            f"`{address}` does not take the signature: it is of another time", hint=CLOCK_HINT
        )
    if _is_no_credential(said):
        return EnvironmentFailed(
            f"no credentials for `{address}` were found", hint=_CREDENTIALS[address.provider]
        )
    if isinstance(error, PermissionError) or _is_refusal(error, said):
        usual = _CREDENTIALS[address.provider]
        granted = "is the bucket yours? `perdure cloud setup TARGET --explain`: what a job needs"
        return StorageError(
            f"`{address}` does not let us {what}: permission denied",
            hint=usual if address.provider == "file" else f"{usual}; {granted}",
        )
    return None


def _is_no_bucket(said: str) -> bool:
    return re.search(r"(?i)NoSuchBucket|ContainerNotFound|bucket does not exist", said) is not None


def _is_of_another_time(said: str) -> bool:
    """Return whether a provider finds that the clock of who asks is wrong.

    S3's error codes, https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; what
    Azure and Google write beside theirs.
    """
    words = ("RequestTimeTooSkewed", "RequestExpired", "in a reasonable timeframe")
    azure = ("Request date header", "not valid in the specified time frame")
    return any(word in said for word in (*words, *azure))


def _is_no_credential(said: str) -> bool:
    return bool(
        "/latest/api/token" in said
        or "/latest/meta-data" in said
        or "/computeMetadata/" in said
        or re.search(r"(?i)missing.*(credential|account|key)|no.*credential", said[:400])
    )


def _is_refusal(error: Exception, said: str) -> bool:
    words = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403 Forbidden")
    return type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or any(
        word in said for word in (*words, "401 Unauthorized")
    )


def _reason(error: Exception, said: str) -> str:
    code = re.search(r"<Code>(\w+)</Code>", said) or re.search(r"status code: ([\w ]+)", said)
    if code:
        return code[1]
    if isinstance(error, OSError):
        system = re.search(r": ([^:]*) \(os error \d+\)", said)
        return system[1].lower() if system else (error.strerror or "it was refused").lower()
    return type(error).__name__
