"""A user's own facts: what is true of them and their machine, and never of the project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType


class IndexFormat(Enum):
    """How a package index lists its files: a page for each package, or one folder or page."""

    SIMPLE = "simple"
    FLAT = "flat"


@dataclass(frozen=True, slots=True)
class Index:
    """Where the packages of a project's index are to be taken from instead.

    `url` may carry a user and a password: it is for uv's environment, never for a message.
    """

    name: str
    url: str
    format: IndexFormat


@dataclass(frozen=True, slots=True)
class Docker:
    """How containers are run: which client, as whom, on which engine. None: as it is found.

    `endpoint` is such as `unix:///run/docker.sock`; it goes over what the environment names.
    """

    program: str | None = None
    user_id: int | None = None
    group_id: int | None = None
    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class SlurmSettings:
    """What Slurm is told of every job of a target. None: the cluster's own default.

    `time_s` is the limit of one run of a job, in seconds. `lines` stand in the script as they are;
    `modules` are loaded in it. `engine` is "apptainer" where jobs run in the project's image, and
    "process" where they run in the locked environment, as they do without it.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time_s: float | None = None
    lines: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    engine: str | None = None

    @property
    def in_image(self) -> bool:
        """Return whether new jobs run in the project's image."""
        return self.engine == "apptainer"


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """What a cloud is asked for, for every job of a target. None: as it is found.

    `bucket` is a folder's address, `types` are the kinds of machine that will do, `market` is
    "spot" or "on-demand". After `max_hours` a job is stopped, whatever it is at; after
    `max_restarts` machines in a row without progress it has failed. `image` is what machines boot
    (an AMI's id, or the name of the parameter that has it); `profile` is who they are: an instance
    profile, a service account, a managed identity. After `lease_s` of silence a machine has lost
    its job. GCP has `project`; Azure `subscription`, resource `group` and storage `account`.
    `engine` is "docker" or "process"; None: docker if the environment needs an image. SkyPilot has
    `infra`, the clouds and regions that will do; its `types` are of GPUs. `folder` is the
    project's in the bucket; None: one of its own. `ssh_from` are the networks from which machines
    let in whoever may write the bucket (`192.0.2.0/24`); (): none, and nothing listens.
    """

    region: str = ""
    bucket: str = ""
    types: tuple[str, ...] = ()
    market: str = "spot"
    max_hours: float = 24.0
    max_restarts: int = 5
    disk_gib: int = 100
    image: str | None = None
    profile: str = "perdure-instance"
    subnets: tuple[str, ...] = ()
    lease_s: float = 20.0
    project: str = ""
    subscription: str = ""
    group: str = ""
    account: str = ""
    engine: str | None = None
    infra: tuple[str, ...] = ()
    folder: str | None = None
    ssh_from: tuple[str, ...] = ()

    @property
    def opened_to(self) -> tuple[str, ...]:
        """Return the networks that rules of ours let in: subnets of the user's have their own."""
        return () if self.subnets else self.ssh_from

    @property
    def where(self) -> str:
        """Return the region, and behind a slash the storage account where there is one."""
        return f"{self.region}/{self.account}" if self.account else self.region


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """What a cluster is told of every job of a target. None: the cluster's own default.

    `results` and `data` are volume claims, `image` is what jobs run in. `node_selector` are labels
    that a node must have, `tolerations` are `KEY[=VALUE][:EFFECT]`. `queue` is Kueue's, `scheduler`
    one beside the cluster's own. `time_s` is the limit of one attempt, in seconds; `gpu_resource`
    what GPUs are called there. `registry` is where the project's own image is pushed, in place of
    `image`, which is "" then. `lines` are `PATH: VALUE`, and go over what stands in the manifest.
    `folder` is the project's on the volume; None: one of its own.
    """

    image: str
    results: str
    context: str | None = None
    namespace: str | None = None
    data: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    tolerations: tuple[str, ...] = ()
    priority_class: str | None = None
    scheduler: str | None = None
    queue: str | None = None
    service_account: str | None = None
    pull_secret: str | None = None
    gpu_resource: str = "nvidia.com/gpu"
    time_s: float | None = None
    lines: tuple[str, ...] = ()
    registry: str | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """Another host where jobs can run. `host` is what `ssh` is given; "": it is this machine.

    `kind` is "ssh", or "slurm", "kubernetes" or "aws", which have settings of their own; a Slurm
    may be this machine's, a Kubernetes and a cloud have no host.
    `engine` is "docker", "process" or, of these kinds, their name; None: docker if it answers.
    `root` is the folder that projects lie in over there. `sync` is "live", or "none" for those who
    bring their own. `images` says where images come from: "build" them there, "ship" them from
    here; None: they are built there, but for those that are here already.
    """

    host: str
    kind: str = "ssh"
    engine: str | None = None
    root: str = "~/perdure"
    sync: str = "live"
    images: str | None = None
    slurm: SlurmSettings | None = None
    cloud: CloudSettings | None = None
    kubernetes: KubernetesSettings | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The user's settings, the project's local ones over the ones for all projects.

    `targets` has the team's, too, which are the weakest.
    """

    indexes: Mapping[str, Index] = field(default_factory=lambda: MappingProxyType({}))
    default_variant: str | None = None
    editor: str | None = None
    docker: Docker = Docker()
    targets: Mapping[str, TargetSettings] = field(default_factory=lambda: MappingProxyType({}))
    files: tuple[Path, ...] = ()
