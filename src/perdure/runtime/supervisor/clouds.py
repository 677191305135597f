"""The notices of three clouds, asked of the metadata service of the machine, each in a thread.

AWS: "Spot Instance interruption notices" and "Use IMDSv2" in the EC2 user guide. Version 1 of that
service is never fallen back to. GCP: "Create and use preemptible VMs" and "View and query VM
metadata". Azure: "Scheduled Events for Linux VMs", version 2020-07-01.

Imported only where a cloud is watched: `http.client` costs more than the rest of the supervisor.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import http.client
import json
import threading
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

from perdure.runtime.supervisor.notice import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from perdure.runtime.supervisor.options import Options
    from perdure.runtime.supervisor.watch import Watch

LINK_LOCAL = "http://169.254.169.254"
_LARGEST_BODY = 1 << 20
_AFTER_FAILURE_S = 5.0
_LOST = (OSError, http.client.HTTPException, ValueError)


class Unexpected(ValueError):
    """The service answered something that its documentation does not have."""


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Request(NamedTuple):
    """An HTTP question; the time limit holds for each wait on the network."""

    path: str
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes | None = None
    timeout_s: float = 5.0


def ask(base: str, request: Request) -> Reply:
    """Return the answer of the service at `base`. Proxies are not asked: the service is local.

    Raises:
        OSError, HTTPException: there is no answer.
    """
    url = urlsplit(base)
    connection = http.client.HTTPConnection(
        url.hostname or "", url.port or 80, timeout=request.timeout_s
    )
    try:
        path = url.path.rstrip("/") + request.path
        connection.request(request.method, path, request.body, dict(request.headers))
        reply = connection.getresponse()
        return Reply(reply.status, dict(reply.headers), reply.read(_LARGEST_BODY))
    finally:
        connection.close()


class Aws:
    """The interruption notice of a spot instance, two minutes ahead at best."""

    name = "aws"
    every_s = 5.0
    _TTL_S = 21600

    def __init__(self, base: str | None = None) -> None:
        self._base = base or LINK_LOCAL
        self._token: str | None = None
        self._told: set[bytes] = set()

    def poll(self, watch: Watch) -> None:
        """Hand over what is new. Touches the network."""
        action = self._get("/latest/meta-data/spot/instance-action")
        if action is not None and action not in self._told:
            self._told.add(action)
            told = _table(action)
            watch.post(Notice(f"aws: {told.get('action')}", _iso(told.get("time"))))
        rebalance = self._get("/latest/meta-data/events/recommendations/rebalance")
        if rebalance is not None and rebalance not in self._told:
            # No interruption yet and perhaps none: worth a line, not a stop.
            self._told.add(rebalance)
            watch.warn("aws: rebalance recommendation: this instance may be interrupted soon")

    def _get(self, path: str) -> bytes | None:
        """Return what lies at `path`, None where there is nothing (404)."""
        reply = self._with_token(path)
        if reply.status == 401:
            self._token = None  # expired: another one, in place of it
            reply = self._with_token(path)
        if reply.status == 404:
            return None
        return _good(reply, path)

    def _with_token(self, path: str) -> Reply:
        if self._token is None:
            lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(self._TTL_S)}
            reply = ask(self._base, Request("/latest/api/token", lifetime, "PUT", b""))
            self._token = _good(reply, "/latest/api/token").decode("ascii").strip()
        return ask(self._base, Request(path, {"X-aws-ec2-metadata-token": self._token}))

    def approve(self) -> None:
        """Do nothing: AWS asks for no approval."""


class Gcp:
    """The preemption of a spot VM, told by a request that hangs until there is news."""

    name = "gcp"
    every_s = 1.0  # between two requests that hang
    _HANG_S = 60
    _PATH = "/computeMetadata/v1/instance/preempted"

    def __init__(self, base: str | None = None) -> None:
        self._base = base or LINK_LOCAL
        self._etag: str | None = None
        self._told = False

    def poll(self, watch: Watch) -> None:
        """Hand over what is new. Touches the network and may hang there for a minute."""
        wait = ""
        if self._etag is not None:
            etag = quote(self._etag, safe="")
            wait = f"?wait_for_change=true&timeout_sec={self._HANG_S}&last_etag={etag}"
        request = Request(
            self._PATH + wait, {"Metadata-Flavor": "Google"}, timeout_s=self._HANG_S + 15.0
        )
        reply = ask(self._base, request)
        body = _good(reply, self._PATH)
        headers = {name.lower(): value for name, value in reply.headers.items()}
        if headers.get("metadata-flavor") != "Google":
            raise Unexpected("the answer is not the metadata server's")
        self._etag = headers.get("etag")
        preempted = body.strip().upper() == b"TRUE"
        if preempted and not self._told:
            watch.post(Notice("gcp: preempted"))
        self._told = preempted

    def approve(self) -> None:
        """Do nothing: GCP asks for no approval."""


class Azure:
    """The scheduled events that end a VM, half a minute ahead at best."""

    name = "azure"
    every_s = 1.0
    _EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
    _NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
    # Freeze is a pause of seconds: the training sleeps through it.
    _ENDING = ("Preempt", "Terminate", "Reboot", "Redeploy")
    # The first call switches the service on, which takes up to two minutes.
    _FIRST_S = 130.0

    def __init__(self, base: str | None = None) -> None:
        self._base = base or LINK_LOCAL
        self._machine: str | None = None
        self._timeout_s = self._FIRST_S
        self._told: dict[str, None] = {}

    def poll(self, watch: Watch) -> None:
        """Hand over what is new. Touches the network."""
        document = _table(self._get(self._EVENTS, self._timeout_s))
        self._timeout_s = 10.0
        events = document.get("Events")
        for event in events if isinstance(events, list) else []:
            if isinstance(event, dict) and event.get("EventType") in self._ENDING:
                self._consider(event, watch)

    def _consider(self, event: Mapping[str, object], watch: Watch) -> None:
        name = str(event.get("EventId"))
        if name in self._told or not self._concerns_us(event.get("Resources")):
            return
        self._told[name] = None
        # A "Started" event has no NotBefore, and may be the first that is seen.
        kind = str(event.get("EventType")).lower()
        watch.post(Notice(f"azure: {kind}", _http_date(event.get("NotBefore"))))

    def _concerns_us(self, resources: object) -> bool:
        if self._machine is None:
            self._machine = self._get(self._NAME, 10.0).decode().strip().lower()
        names = resources if isinstance(resources, list) else []
        return self._machine in [str(name).lower() for name in names]

    def _get(self, path: str, timeout_s: float) -> bytes:
        reply = ask(self._base, Request(path, {"Metadata": "true"}, timeout_s=timeout_s))
        return _good(reply, path)

    def approve(self) -> None:
        """Let the platform begin with what was told, now rather than at its deadline."""
        if not self._told:
            return
        wanted = {"StartRequests": [{"EventId": name} for name in self._told]}
        headers = {"Metadata": "true", "Content-Type": "application/json"}
        request = Request(self._EVENTS, headers, "POST", json.dumps(wanted).encode())
        try:
            ask(self._base, request)
        except _LOST:  # then it happens at its deadline
            pass


Source = (Aws, Gcp, Azure)


def start(options: Options, watch: Watch) -> list[Callable[[], None]]:
    """Watch each cloud of the options in a thread of its own; return how to approve of each."""
    kinds = {kind.name: kind for kind in Source}
    approvals: list[Callable[[], None]] = []
    for name in options.watch:
        source = kinds[name](options.watch_url)
        threading.Thread(
            target=follow, args=(source, watch, threading.Event()), name=name, daemon=True
        ).start()
        approvals.append(source.approve)
    return approvals


def follow(source: Aws | Gcp | Azure, watch: Watch, stop: threading.Event) -> None:
    """Poll until `stop` is set. A service that does not answer is warned of once, until it does."""
    warned = False
    pause_s = 0.0
    while not stop.wait(pause_s):
        pause_s = source.every_s
        try:
            source.poll(watch)
            warned = False
        except _LOST as error:
            pause_s = max(pause_s, _AFTER_FAILURE_S)
            if not warned:
                watch.warn(f"{source.name}: cannot ask for notices: {error}")
            warned = True


def _good(reply: Reply, path: str) -> bytes:
    if reply.status != 200:
        raise Unexpected(f"HTTP {reply.status} for `{path}`")
    return reply.body


def _table(text: bytes) -> Mapping[str, object]:
    try:
        told = json.loads(text)
    except RecursionError:
        told = None
    if not isinstance(told, dict):
        raise Unexpected("the answer is no JSON object")
    return told


def _iso(text: object) -> float | None:
    """Return the unix seconds of a time such as 2017-09-18T08:22:00Z."""
    try:
        return dt.datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def _http_date(text: object) -> float | None:
    """Return the unix seconds of a time such as Mon, 19 Sep 2016 18:29:47 GMT."""
    try:
        return email.utils.parsedate_to_datetime(str(text)).timestamp()
    except (TypeError, ValueError):
        return None
