"""The tables people write: `[tool.perdure]` in pyproject.toml, and a user's own settings.

Decoded in `decode` and `settings`, published as a JSON schema by `schema`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

FORMAT = 1

Name = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0, description="seconds")]
# What Linux can number. 0 is root, which no job runs as: `settings` says so in its own words.
UserNumber = Annotated[int, Meta(ge=0, le=4294967294)]
Packages = Name | list[Name]
Command = str | Annotated[list[str], Meta(min_length=1)]


class TaskTable(Struct, forbid_unknown_fields=True):
    """A task with more to say than its command."""

    command: Annotated[Command, Meta(description="a line as in a terminal, or a list of words")]
    grace_s: Annotated[
        Seconds, Meta(description="how long it may take to stop before it is killed")
    ] = 30.0
    retries: Annotated[
        int, Meta(ge=0, description="how often a crash is tried again without progress")
    ] = 2
    arguments: Annotated[
        Literal["flags", "hydra"],
        Meta(description="how a sweep's axes become arguments: `--lr 1e-3`, or `lr=1e-3`"),
    ] = "flags"
    seed_argument: Annotated[
        bool, Meta(description="whether a sweep's axis `seed` becomes an argument, too")
    ] = False


class AptTable(Struct, forbid_unknown_fields=True):
    """Debian packages by the stage that needs them: their names, or a file with one a line."""

    build: Packages | UnsetType = UNSET
    runtime: Packages | UnsetType = UNSET
    dev: Packages | UnsetType = UNSET


class StepTable(Struct, forbid_unknown_fields=True):
    """What no package manager has: a line for a shell, while an image is built."""

    run: Name
    stage: Literal["build", "runtime", "dev"] = "runtime"


class EnvironmentTable(Struct, forbid_unknown_fields=True):
    """What the code needs besides its dependencies."""

    variants: Annotated[
        list[Name], Meta(description="extras of which exactly one is installed, such as cpu, cuda")
    ] = []
    default_variant: Name | UnsetType = UNSET
    python: (
        Annotated[str, Meta(pattern=r"^3\.\d+(\.\d+)?$", description="a version such as 3.11")]
        | UnsetType
    ) = UNSET
    apt: AptTable | UnsetType = UNSET
    conda: Annotated[Name, Meta(description="an environment.yml")] | UnsetType = UNSET
    base: Annotated[Name, Meta(description="the image that all begins with")] | UnsetType = UNSET
    steps: Annotated[list[StepTable], Meta(description="in order, each after the packages")] = []


class TargetTable(Struct, forbid_unknown_fields=True):
    """Another host where jobs can run, reached by ssh; or a cluster, by its login node."""

    kind: (
        Annotated[
            Literal["ssh", "slurm", "kubernetes", "aws", "gcp", "azure", "sky"],
            Meta(description="default: ssh"),
        ]
        | UnsetType
    ) = UNSET
    host: (
        Annotated[
            Name,
            Meta(
                description="what `ssh` is given: gpubox or me@gpubox; of a Slurm its login node, "
                "default: this machine"
            ),
        ]
        | UnsetType
    ) = UNSET
    engine: (
        Annotated[
            Literal["docker", "process", "apptainer"],
            Meta(
                description="docker or process; default: docker if it answers there; clouds: "
                "docker if the environment has packages of Debian or conda; slurm: process or "
                "apptainer, default: process"
            ),
        ]
        | UnsetType
    ) = UNSET
    root: Annotated[Name, Meta(description="the folder of projects over there")] | UnsetType = UNSET
    sync: Literal["live", "none"] | UnsetType = UNSET
    images: (
        Annotated[
            Literal["build", "ship"],
            Meta(
                description="build images there, or ship them from here; default: build, but "
                "ship those that are here"
            ),
        ]
        | UnsetType
    ) = UNSET
    partition: Annotated[Name, Meta(description="slurm: the partition")] | UnsetType = UNSET
    account: (
        Annotated[Name, Meta(description="slurm: whom it is charged to; azure: of the storage")]
        | UnsetType
    ) = UNSET
    qos: Annotated[Name, Meta(description="slurm: the quality of service")] | UnsetType = UNSET
    time: (
        Annotated[
            Name,
            Meta(description="clusters: how long a job may run at a stretch, such as 8h"),
        ]
        | UnsetType
    ) = UNSET
    lines: (
        Annotated[
            list[Name],
            Meta(
                description="slurm: lines of the sbatch script, such as #SBATCH ...; kubernetes: "
                "PATH: VALUE in the manifest"
            ),
        ]
        | UnsetType
    ) = UNSET
    modules: (
        Annotated[list[Name], Meta(description="slurm: what `module load` is given")] | UnsetType
    ) = UNSET
    region: Annotated[Name, Meta(description="clouds: such as eu-central-1")] | UnsetType = UNSET
    bucket: (
        Annotated[Name, Meta(description="clouds: where jobs are kept: s3://BUCKET/FOLDER")]
        | UnsetType
    ) = UNSET
    types: (
        Annotated[
            list[Name],
            Meta(description="clouds: the machines that will do: g5.xlarge; sky: the GPUs: L4"),
        ]
        | UnsetType
    ) = UNSET
    market: (
        Annotated[Literal["spot", "on-demand"], Meta(description="clouds: default: spot")]
        | UnsetType
    ) = UNSET
    max_hours: (
        Annotated[
            float,
            Meta(gt=0, le=2880, description="clouds: a job is stopped after; default: 24"),
        ]
        | UnsetType
    ) = UNSET
    max_restarts: (
        Annotated[
            int, Meta(ge=0, description="clouds: machines in a row without progress; default: 5")
        ]
        | UnsetType
    ) = UNSET
    disk_gib: (
        Annotated[int, Meta(ge=8, description="clouds: the disk of a machine; default: 100")]
        | UnsetType
    ) = UNSET
    profile: (
        Annotated[Name, Meta(description="clouds: who machines are; default: perdure-instance")]
        | UnsetType
    ) = UNSET
    subnets: (
        Annotated[list[Name], Meta(description="clouds: default: of the default network")]
        | UnsetType
    ) = UNSET
    ssh_from: (
        Annotated[
            list[Name],
            Meta(description="clouds: from where `attach` is let in: 192.0.2.0/24; default: none"),
        ]
        | UnsetType
    ) = UNSET
    lease_s: (
        Annotated[
            float,
            Meta(ge=2, description="clouds: a silent machine has lost its job; default: 20"),
        ]
        | UnsetType
    ) = UNSET
    project: Annotated[Name, Meta(description="gcp: its id")] | UnsetType = UNSET
    infra: (
        Annotated[
            list[Name],
            Meta(description="sky: where machines may be: aws, gcp/us-west1; default: anywhere"),
        ]
        | UnsetType
    ) = UNSET
    subscription: Annotated[Name, Meta(description="azure: its id")] | UnsetType = UNSET
    group: Annotated[Name, Meta(description="azure: the resource group")] | UnsetType = UNSET
    context: (
        Annotated[Name, Meta(description="kubernetes: kubectl's context; default: its current one")]
        | UnsetType
    ) = UNSET
    namespace: (
        Annotated[Name, Meta(description="kubernetes: default: the context's own")] | UnsetType
    ) = UNSET
    image: (
        Annotated[Name, Meta(description="kubernetes: what jobs run in; clouds: what is booted")]
        | UnsetType
    ) = UNSET
    registry: (
        Annotated[
            Name,
            Meta(
                description="kubernetes: where the project's own image is pushed at each "
                "submission, in place of `image`: registry.example.org/team/cats"
            ),
        ]
        | UnsetType
    ) = UNSET
    results: (
        Annotated[Name, Meta(description="kubernetes: the volume claim for run folders")]
        | UnsetType
    ) = UNSET
    folder: (
        Annotated[
            Name,
            Meta(
                description="kubernetes, clouds: the project's folder there, where it is to be one "
                "that is there: cats-0a1b2c3d; default: one of this copy's own"
            ),
        ]
        | UnsetType
    ) = UNSET
    data: (
        Annotated[Name, Meta(description="kubernetes: the volume claim for the project's data")]
        | UnsetType
    ) = UNSET
    node_selector: (
        Annotated[dict[str, str], Meta(description="kubernetes: labels that a node must have")]
        | UnsetType
    ) = UNSET
    tolerations: (
        Annotated[list[Name], Meta(description="kubernetes: KEY[=VALUE][:EFFECT]")] | UnsetType
    ) = UNSET
    priority_class: Annotated[Name, Meta(description="kubernetes")] | UnsetType = UNSET
    scheduler: (
        Annotated[Name, Meta(description="kubernetes: such as runai-scheduler")] | UnsetType
    ) = UNSET
    queue: Annotated[Name, Meta(description="kubernetes: the local queue of Kueue")] | UnsetType = (
        UNSET
    )
    service_account: Annotated[Name, Meta(description="kubernetes")] | UnsetType = UNSET
    pull_secret: (
        Annotated[Name, Meta(description="kubernetes: the secret for the image's registry")]
        | UnsetType
    ) = UNSET
    gpu_resource: (
        Annotated[Name, Meta(description="kubernetes: default: nvidia.com/gpu")] | UnsetType
    ) = UNSET


class ProjectTable(Struct, forbid_unknown_fields=True):
    """`[tool.perdure]` in pyproject.toml."""

    format: Annotated[int, Meta(ge=1, description="the version of this table")]
    package: Annotated[str, Meta(description="the package that src/ holds")]
    tasks: dict[str, str | Annotated[list[str], Meta(min_length=1)] | TaskTable] = {}
    environment: EnvironmentTable | UnsetType = UNSET
    targets: Annotated[
        dict[str, TargetTable], Meta(description="hosts that the whole team reaches by these names")
    ] = {}
    pull: (
        Annotated[
            list[Name],
            Meta(description="files that come back from other hosts; default: **/*.ipynb"),
        ]
        | UnsetType
    ) = UNSET


class IndexTable(Struct, forbid_unknown_fields=True):
    """Where an index that a project names is to be found from here."""

    url: Annotated[Name, Meta(description="a URL or a folder")]
    format: Literal["flat", "simple"] | UnsetType = UNSET


class DockerTable(Struct, forbid_unknown_fields=True):
    """How containers are run on this machine."""

    program: Annotated[Name, Meta(description="docker, podman or a path")] | UnsetType = UNSET
    user_id: UserNumber | UnsetType = UNSET
    group_id: UserNumber | UnsetType = UNSET


class SettingsTable(Struct, forbid_unknown_fields=True):
    """A user's settings: config.toml, and .perdure/local.toml for one project."""

    format: Annotated[int, Meta(ge=1)] = 1
    indexes: dict[str, Name | IndexTable] = {}
    default_variant: Name | UnsetType = UNSET
    editor: Name | UnsetType = UNSET
    docker: DockerTable | UnsetType = UNSET
    targets: Annotated[dict[str, TargetTable], Meta(description="other hosts by name")] = {}
