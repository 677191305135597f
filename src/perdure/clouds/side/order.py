"""What a machine is to do: where the job's folder is, and what a turn of it takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Config:
    """What a machine is told in its user-data: no secrets.

    `address` is the project's folder in the bucket. `cloud` is whose machine it is; `group` the
    provider's name for the group that it is in; `kit` names perdure's own modules.
    """

    cloud: str
    region: str
    group: str
    address: str
    job: str
    kit: str

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
    same checkpoint.
    """

    turn: int
    job: dict[str, Any]
    commands: dict[str, str]
    asked: int
    deadline: float | None
    restarts: int
    files: tuple[str, ...]
    engine: str = "process"

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
    return Order(**{name: values[name] for name in Order.__slots__})
