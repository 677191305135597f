"""A provider asked by plain HTTP: requests as values, one client, its refusals in our words.

Whoever has no token yet imports the provider's own library for it; requests need none.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from perdure.errors import EnvironmentFailed, HostUnreachable, PerdureError, UsageError

Values = dict[str, Any]

_ANSWER_S = 30.0
# An answer that says to come again, and one that was lost on its way.
_AGAIN = (429, 500, 502, 503, 504)
_TRIES = 4
_PAUSE_S = 1.0
_SHOWN = 300
# Of a list that is told by zones and regions, which one an entry is of.
SCOPE = "scope"


class Exists(PerdureError):
    """It is there already."""


class Gone(PerdureError):
    """There is none."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request: `path` is below the provider's address, `body` is sent as JSON."""

    method: str
    path: str
    body: Values | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Return path and query, as they are sent. Pure."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


@dataclass(frozen=True, slots=True)
class Rest:
    """A provider's API at an address. `token` asks for one, `told` is what users call the target.

    Every call touches the network, for half a minute at most, and again where that may help.
    """

    base: str
    provider: str
    told: str
    token: Callable[[], str]
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)
    #: Headers that a provider wants beside the usual ones.
    more: Mapping[str, str] = field(default_factory=dict)

    def send(self, call: Call) -> Values:
        """Return what is answered.

        Raises:
            Exists, Gone: what is asked for is there already, or there is none.
            EnvironmentFailed: it may not be done, or a quota is reached.
            HostUnreachable: no answer.
            UsageError: it is refused for another reason.
        """
        data = None if call.body is None else json.dumps(call.body).encode()
        headers = {"Authorization": f"Bearer {self.token()}", "Content-Type": "application/json"}
        headers.update(self.more)
        url = f"{self.base}{call.url}"
        for left in range(_TRIES - 1, -1, -1):
            # The provider's own address, or where the user's variables lead.
            request = urllib.request.Request(url, data, headers, method=call.method)  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=_ANSWER_S) as reply:  # noqa: S310
                    return _table(reply.read())
            except urllib.error.HTTPError as error:
                if error.code not in _AGAIN or not left:
                    raise self._refused(call, error.code, error.read()) from None
            except OSError as error:
                if not left:
                    raise HostUnreachable(
                        f"{self.provider} does not answer: {_reason(error)}", hint="try again"
                    ) from None
            self.pause(_PAUSE_S * (_TRIES - left))
        raise AssertionError("the last try has an end")

    def all(self, call: Call, key: str) -> list[Values]:
        """Return what all pages of a list hold; of one by zones each with its `SCOPE`."""
        found: list[Values] = []
        for page in self.pages(call):
            items = page.get(key, [])
            if isinstance(items, dict):
                items = [{SCOPE: scope, **each} for scope, each in items.items()]
            found += items
        return found

    def pages(self, call: Call) -> Iterator[Values]:
        """Yield the pages of a list as they come."""
        query = dict(call.query)
        while True:
            page = self.send(Call(call.method, call.path, call.body, query))
            yield page
            if not (token := page.get("nextPageToken")):
                return
            query["pageToken"] = str(token)

    def made(self, call: Call) -> bool:
        """Return whether something was made, or deleted: it was not there, or it was."""
        try:
            self.send(call)
        except (Exists, Gone):
            return False
        return True

    def _refused(self, call: Call, status: int, body: bytes) -> PerdureError:
        said = message(body)
        return explained((self.provider, self.told), f"{call.method} {call.path}", status, said)


def explained(whose: tuple[str, str], what: str, status: int, said: str) -> PerdureError:
    """Return the error for an answer; `whose` is the provider and the target. Pure."""
    provider, target = whose
    if status == 409 and "exist" in said.lower():
        return Exists(said)
    if status in (404, 410):
        return Gone(said or f"there is no `{what}`")
    if "quota" in said.lower():
        return EnvironmentFailed(
            f"{provider} refuses: a quota is reached: {said}", hint=f"perdure doctor {target}"
        )
    if status == 401:
        return EnvironmentFailed(
            f"{provider} does not take the credentials: {said}", hint=f"perdure doctor {target}"
        )
    if status == 403:
        return EnvironmentFailed(
            f"{provider} does not let us do this: permission denied: {said}",
            hint=f"perdure cloud setup {target} --explain: the permissions that are needed",
        )
    if status in _AGAIN:
        return HostUnreachable(f"{provider} does not answer: HTTP {status}", hint="try again")
    return UsageError(f"{provider} refuses `{what}`: {said or status}")


def message(body: bytes) -> str:
    """Return what an answer says is wrong, on one line; "" where it says nothing. Pure."""
    try:
        error = json.loads(body)["error"]
        text = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        return ""
    return " ".join(str(text).split())[:_SHOWN]


def _table(data: bytes) -> Values:
    try:
        found = json.loads(data) if data.strip() else {}
    except ValueError:
        raise HostUnreachable("what answers is not the provider", hint="a proxy?") from None
    return found if isinstance(found, dict) else {"items": found}


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", error)).splitlines()[0] if str(error) else "silence"
