"""The user's usual credentials for GCP, by Google's own library."""

from __future__ import annotations

from typing import Any

from perdure.errors import EnvironmentFailed, HostUnreachable, MissingProgram
from perdure.moving.bucket import CLOCK_HINT

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_HINT = "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS"


def credentials() -> Any:  # noqa: ANN401 - the library has no types that count here
    """Return what `gcloud` or the environment has. Touches the disk, and the network perhaps.

    Raises:
        MissingProgram: the library is not installed.
        EnvironmentFailed: there are none.
    """
    try:
        import google.auth
        import google.auth.exceptions as failures
        from google.auth.transport.requests import Request
    except ImportError as error:
        raise MissingProgram(
            "GCP needs the library google-auth, which is not installed",
            program="google-auth",
            hint="pip install 'perdure[cli,gcp]'",
        ) from error
    try:
        found, _ = google.auth.default(scopes=_SCOPES, request=Request())
    except (failures.DefaultCredentialsError, failures.MutualTLSChannelError, OSError):
        raise EnvironmentFailed("no credentials for GCP were found", hint=_HINT) from None
    return found


def refreshed(found: Any) -> str:  # noqa: ANN401 - as above
    """Return a token that is valid, asked for anew where it has to be. Touches the network.

    Raises:
        EnvironmentFailed: the credentials are not taken.
        HostUnreachable: no answer.
    """
    import google.auth.exceptions as failures
    from google.auth.transport.requests import Request

    if not found.valid:
        try:
            found.refresh(Request())
        except failures.TransportError as error:
            raise HostUnreachable("Google does not answer", hint="try again") from error
        except failures.GoogleAuthError as error:
            # A key's token is of another time, as Google's token server puts it.
            late = "reasonable timeframe" in str(error)
            raise EnvironmentFailed(
                f"the credentials for GCP are not taken: {type(error).__name__}",
                hint=CLOCK_HINT if late else _HINT,
            ) from None
    return str(found.token)
