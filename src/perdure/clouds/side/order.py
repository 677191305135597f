"""What a machine is to do: where the job's folder is, and what a turn of it takes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.lease import TTL_S

FORMAT = 1
# Beyond a job's own deadline: by then it has saved, and asked for no machine itself.
BEYOND_S = 900


@dataclass(frozen=True, slots=True)
class Config:
    """What a machine is told in its user-data: no secrets.

    `address` is the project's folder in the bucket. `cloud` is whose machine it is; `group` the
    provider's name for the group that it is in; `kit` names perdure's own modules. `owner` is what
    the group belongs to: GCP's project, Azure's subscription and resource group; `storage` is the
    bucket's account where the provider has such. `until` is when no machine begins any more (unix
    seconds), None where it is not known yet.
    """

    cloud: str
    region: str
    group: str
    address: str
    job: str
    kit: str
    owner: str = ""
    storage: str = ""
    until: float | None = None

    @property
    def where(self) -> str:
        """Return the region, and behind a slash the storage account where there is one."""
        return f"{self.region}/{self.storage}" if self.storage else self.region

    @property
    def is_own(self) -> bool:
        """Return whether machines are the provider's own, and not brought with logins of a user."""
        return self.cloud != "sky"

    @staticmethod
    def read(text: str) -> Config:
        """Return what was written by `text`."""
        return Config(**json.loads(text))

    def text(self) -> str:
        """Return it as it is written: the same bytes for the same values. Pure."""
        return json.dumps({name: getattr(self, name) for name in Config.__slots__}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Order:
    """One submission of a job. `job` are its values, `commands` the project's own, as Python.

    `turn` numbers submissions; what was asked up to `asked` was asked before. `deadline` is when it
    is to stop for good (unix seconds), `restarts` how many machines in a row may begin from the
    same checkpoint, `lease_s` for how long a machine may be silent before another one goes on.
    `prices` has of each type of machine what an hour cost then: as `market` spot, and on demand.
    `door`: who asks for it in the bucket is let in to the machine.
    """

    turn: int
    job: dict[str, Any]
    commands: dict[str, str]
    asked: int
    deadline: float | None
    restarts: int
    files: tuple[str, ...]
    engine: str = "process"
    lease_s: float = TTL_S
    market: str = "spot"
    prices: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    door: bool = False

    def text(self) -> str:
        """Return it as it is written. Pure."""
        values = {name: getattr(self, name) for name in Order.__slots__}
        return json.dumps({"format": FORMAT, **values, "files": list(self.files)})


def read_order(bucket: Bucket, job: str) -> Order | None:
    """Return what is to be done for a job, None where it was never submitted."""
    found = bucket.get(keys.job(job, keys.START))
    return None if found is None else of_text(found.data.decode())


def of_text(text: str) -> Order:
    """Return what `Order.text` wrote. Pure."""
    values = json.loads(text)
    values["files"] = tuple(values["files"])
    # An older perdure did not know of all of them.
    return Order(**{name: values[name] for name in Order.__slots__ if name in values})
