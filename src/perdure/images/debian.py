"""The step that installs Debian packages: exactly the files of the lock, checked before anything.

Nothing is resolved here: the lock has every package that the base image lacks, and apt is given
their files alone. A file that a former build downloaded is taken from the engine's cache, so that
the mirror is not even asked.
"""

from __future__ import annotations

from perdure.images.shell import (
    APT_SECRETS,
    MACHINE,
    MACHINE_LINES,
    RUN,
    SCRATCH,
    SECRETS,
    bind,
    run,
    settle_system,
    started,
)
from perdure.model.image import AptPackage

#: What a step prints, for whoever reads its output, before it fails for one of these reasons.
GONE = "perdure-apt: gone"
DIFFERENT = "perdure-apt: different"

_OPTIONS = (
    f"if [ -s {SECRETS}/apt.conf ]; then export APT_CONFIG={SECRETS}/apt.conf; fi",
    "options='-q -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any'",
    (
        f'if [ -s {SECRETS}/apt.sources ]; then options="$options '
        f'-o Dir::Etc::sourcelist={SECRETS}/apt.sources -o Dir::Etc::sourceparts=-"; fi'
    ),
    (
        f'if [ -s {SECRETS}/apt.auth ]; then options="$options '
        f'-o Dir::Etc::netrc={SECRETS}/apt.auth"; fi'
    ),
    f'if [ -s {SECRETS}/ca ]; then options="$options -o Acquire::https::CaInfo={SECRETS}/ca"; fi',
)
_CHECK = f"sha256sum --check --quiet {RUN}/apt.sha256"
_FETCH = (
    f"if ! {_CHECK} >/dev/null 2>&1; then "
    "apt-get $options update; "
    f"apt-get $options download $(cat {RUN}/apt.txt) || {{ echo '{GONE}'; exit 100; }}; "
    f"{_CHECK} || {{ echo '{DIFFERENT}'; exit 100; }}; fi"
)
# Without any source: a package that is not in the lock is an error, and not fetched.
_INSTALL = (
    "DEBIAN_FRONTEND=noninteractive apt-get -q -o APT::Sandbox::User=root "
    "-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=- "
    "install --yes --no-install-recommends --allow-downgrades "
    f"$(sed 's|^[0-9a-f]*  |{RUN}/archives/|' {RUN}/apt.sha256) </dev/null"
)
_CLEAN = (
    (
        "rm -f /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old /var/lib/dpkg/lock* "
        "/etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid-"
    ),
    # An id that is drawn when it is missing: each build, and each container, would have another.
    "if [ -s /etc/machine-id ]; then : > /etc/machine-id; fi",
)


def install(stage: str, release: str) -> str:
    """Return the RUN that installs the packages of a stage from the files of its lock."""
    mounts = [
        SCRATCH,
        f"type=cache,id=perdure-apt-{release},target={RUN}/archives,sharing=locked",
        f"type=cache,id=perdure-apt-lists-{release},target=/var/lib/apt/lists,sharing=locked",
        *(f"type=tmpfs,target=/var/{each}" for each in ("cache/apt", "cache/debconf", "log")),
        bind(f"apt-{stage}.txt", "apt.txt"),
        bind(f"apt-{stage}.sha256", "apt.sha256"),
        *MACHINE,
        *APT_SECRETS,
    ]
    return run(
        mounts,
        [
            started(),
            *MACHINE_LINES,
            *_OPTIONS,
            f"cd {RUN}/archives",
            _FETCH,
            "cd /",
            _INSTALL,
            *_CLEAN,
            settle_system(),
        ],
    )


def wanted(packages: tuple[AptPackage, ...]) -> str:
    """Return the list of packages with their exact versions."""
    return "".join(f"{each.name}={each.version}\n" for each in packages)


def checksums(packages: tuple[AptPackage, ...]) -> str:
    """Return the list of their files as `sha256sum --check` reads it."""
    return "".join(f"{each.sha256}  {each.file}\n" for each in packages)
