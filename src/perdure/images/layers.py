"""The instructions of a Dockerfile, each with what it does and the declaration that it is for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from perdure.images import debian as debian_shell
from perdure.images.recipe import Recipe
from perdure.images.requirements import Group, groups, sources_of
from perdure.images.shell import (
    MACHINE,
    MACHINE_LINES,
    RUN,
    SAME_BYTES,
    SCRATCH,
    UV,
    UV_CACHE,
    UV_LINES,
    bind,
    run,
    run_declared,
    settle,
    settle_system,
    started,
)
from perdure.model.image import CondaPackage, PythonSource, Requirement, Stage, Tier

VENV = "/opt/venv"
DEV = "/opt/dev"
CONDA = "/opt/conda-env"
SUPERVISOR = "/opt/perdure"
PROJECT = "/project"

_FOLDERS = "code data notebooks results"
_PYTHON = f"{VENV}/bin/python"
_SHOWN = 3
# What another index of the machine's would add to the one that a package was locked from.
_ONLY = "env -u UV_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL"


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction as text, what it does in words, and the declaration that it is for."""

    text: str
    doing: str = ""
    origin: str = ""


def settings(recipe: Recipe) -> Instruction:
    """Return the variables of every stage: no secrets, nothing of this machine."""
    path = f"{VENV}/bin:{CONDA}/bin" if recipe.conda else f"{VENV}/bin"
    return Instruction(f"ENV VIRTUAL_ENV={VENV} PATH={path}:$PATH PYTHONUNBUFFERED=1")


def debian(recipe: Recipe, stage: str) -> list[Instruction]:
    """Return the step that installs the Debian packages of a stage, none where it has none."""
    packages = recipe.apt.get(stage, ())
    if not packages:
        return []
    named = _some([each.name for each in packages])
    origin = recipe.origins.get(stage, f"requirements/apt-{stage}.txt")
    doing = f"installing Debian packages for {stage} ({named})"
    return [Instruction(debian_shell.install(stage, recipe.base.release), doing, origin)]


def python(recipe: Recipe) -> Iterator[Instruction]:
    """Yield what makes the virtual environment, and brings its Python where the base has none."""
    words = [f"--python {recipe.python or 'python3'}", "--no-managed-python"]
    before: list[str] = []
    if recipe.conda:
        folder = conda_folder(recipe.conda)
        copy = [f"cp -a {RUN}/conda {CONDA}", f"chown -R 0:0 {CONDA}", settle("/opt")]
        yield Instruction(
            run([SCRATCH, bind(folder, "conda")], copy),
            f"copying the conda packages ({_some([each.name for each in recipe.conda])})",
            "environment.yml",
        )
        words = [f"--python {CONDA}/bin/python", "--system-site-packages"]
    elif recipe.python_source is PythonSource.UV:
        before = [f"{RUN}/uv python install --no-bin {recipe.python}"]
        words = [f"--python {recipe.python}", "--managed-python"]
    make = f"{RUN}/uv venv --no-python-downloads {' '.join(words)} {VENV}"
    yield Instruction(
        run(
            [SCRATCH, UV, UV_CACHE, *MACHINE],
            [*MACHINE_LINES, *UV_LINES, *before, make, settle("/opt")],
        ),
        f"making a virtual environment of Python {recipe.python}".rstrip(),
        "`python` under `[tool.perdure.environment]` in pyproject.toml",
    )


def conda_folder(packages: Sequence[CondaPackage]) -> str:
    """Return the folder of the context that has these packages: its name says which they are.

    An engine takes two files of one name, size and time for the same, and conda packages have had
    their times from elsewhere.
    """
    named = "\n".join(f"{each.url} {each.sha256}" for each in packages)
    return f"conda-{hashlib.sha256(named.encode()).hexdigest()[:16]}"


def sources(recipe: Recipe) -> tuple[Requirement, ...]:
    """Return the packages that have no wheel, so that one is built."""
    return tuple(each for each in recipe.packages() if not each.has_wheel)


def wheels(recipe: Recipe) -> Iterator[Instruction]:
    """Yield what builds wheels, those of each tier in a folder of their own."""
    lines = [*MACHINE_LINES, *UV_LINES]
    make = [
        f"{RUN}/uv venv --python {_PYTHON} /opt/build",
        f"{RUN}/uv pip install --python /opt/build/bin/python --require-hashes -r {RUN}/pip.txt",
    ]
    mounts = [SCRATCH, UV, UV_CACHE, *MACHINE]
    yield Instruction(run([*mounts, bind("pip.txt", "pip.txt")], [*lines, *make]), "fetching pip")
    for tier in Tier:
        built = sources_of(recipe.tiers.get(tier, ()))
        if built:
            yield _wheel(tier, built, mounts, lines)


def packages(recipe: Recipe, tier: Tier) -> Iterator[Instruction]:
    """Yield the step that installs a tier, none where the tier is empty.

    The project itself is in the light one, for what it says that it needs changes with that.
    """
    content = recipe.tiers.get(tier, ())
    itself = tier is Tier.LIGHT
    if not content and not itself:
        return
    built = sources_of(content)
    extra = [f"type=bind,from=wheels,source=/wheels/{tier.value},target={RUN}/built"]
    words = [
        f"{RUN}/uv pip install --python {_PYTHON} --no-deps --no-cache --no-index "
        f"--find-links {RUN}/built " + " ".join(map(_quoted, built))
    ]
    commands = [*_install(_PYTHON, groups(tier.value, content)), *(words if built else [])]
    commands += _installed(VENV) if itself else []
    mounts = [*_mounts(tier.value, content), *(extra if built else [])]
    named = f"the {tier.value} packages ({_some([each.name for each in content])})"
    done = [*([named] if content else []), *(["the project"] if itself else [])]
    yield Instruction(
        run(
            [*mounts, *([_INSTALLED] if itself else [])],
            [*MACHINE_LINES, *UV_LINES, *commands, settle(VENV)],
        ),
        f"installing {' and '.join(done)}",
        _dependencies(recipe),
    )


def steps(recipe: Recipe, stage: str) -> Iterator[Instruction]:
    """Yield the steps that the project declares for a stage, in their order."""
    for number, step in enumerate(recipe.steps, 1):
        if step.stage == stage:
            yield Instruction(
                run_declared([SCRATCH, *MACHINE], step.run),
                f"running the declared step {number} (`{' '.join(step.run.split())}`)",
                f"step {number} of `[[tool.perdure.environment.steps]]` in pyproject.toml",
            )


def user(recipe: Recipe) -> Iterator[Instruction]:
    """Yield the small layers of the user, their folders, and the supervisor of their jobs."""
    user_id, group_id = recipe.user.user_id, recipe.user.group_id
    commands = [
        f"groupadd --non-unique --gid {group_id} perdure",
        (
            f"useradd --non-unique --create-home --no-log-init --uid {user_id} --gid {group_id} "
            "--shell /bin/bash perdure"
        ),
        # The day on which the password was changed is the day of the build.
        r"sed -i 's/^\(perdure:[^:]*\):[0-9]*:/\1:0:/' /etc/shadow",
        "rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid-",
        *(f"mkdir -p {PROJECT}/{each}" for each in _FOLDERS.split()),
        f"chown -R {user_id}:{group_id} {PROJECT}",
        f"ln -sfn {PROJECT}/code /code",
        f"export {SAME_BYTES}",
        f"cp -r {RUN}/supervisor {SUPERVISOR}",
        f"{_PYTHON} -I -S -m compileall -q --invalidation-mode unchecked-hash {SUPERVISOR}",
    ]
    mounts = [SCRATCH, bind("supervisor", "supervisor"), "type=tmpfs,target=/var/log"]
    yield Instruction(
        run(mounts, [started(), *commands, settle_system()]), "adding the user and the supervisor"
    )
    yield Instruction(f"WORKDIR {PROJECT}/code", "entering the project's folder")


def enter(recipe: Recipe, stage: Stage) -> Iterator[Instruction]:
    """Yield what a container of this stage begins as and with; none of it makes a layer."""
    labels = {"perdure.stage": stage.value, "perdure.variant": recipe.variant or ""}
    yield Instruction("LABEL " + " ".join(f'{name}="{value}"' for name, value in labels.items()))
    yield Instruction(f"USER {recipe.user.user_id}:{recipe.user.group_id}")
    yield Instruction("ENTRYPOINT []")
    yield Instruction('CMD ["/bin/bash"]')


def development(recipe: Recipe) -> Iterator[Instruction]:
    """Yield the environment of the user's own: over the other one, with pip, uv and the group dev.

    The project is installed in it, editable: by the path of its sources.
    """
    owner = f"{recipe.user.user_id}:{recipe.user.group_id}"
    python = f"{DEV}/bin/python"
    commands = [
        f"{RUN}/uv venv --python {_PYTHON} {'--system-site-packages ' * bool(recipe.conda)}{DEV}",
        f"cp {RUN}/uv {DEV}/bin/uv",
        f"{RUN}/uv pip install --python {python} --require-hashes -r {RUN}/pip.txt",
        *_install(python, groups("dev", recipe.development)),
        f"below={_site(VENV)}",
        *_installed(DEV),
        """echo "import site; site.addsitedir('$below')" > "$site/_perdure_runtime.pth\"""",
        f"chown -R {owner} {DEV}",
        settle("/opt"),
    ]
    mounts = [*_mounts("dev", recipe.development), bind("pip.txt", "pip.txt"), _INSTALLED]
    yield Instruction(f"ENV VIRTUAL_ENV={DEV} PATH={DEV}/bin:$PATH")
    named = _some(["pip", "uv", *(each.name for each in recipe.development)])
    yield Instruction(
        run(mounts, [*MACHINE_LINES, *UV_LINES, *commands]),
        f"installing the development packages ({named})",
        "`dev` under `[dependency-groups]` in pyproject.toml",
    )


def code(recipe: Recipe) -> Instruction:
    """Return the instruction that brings the project's code."""
    owner = f"{recipe.user.user_id}:{recipe.user.group_id}"
    copy = [f"cp -a {RUN}/code {PROJECT}", f"chown -R {owner} {PROJECT}/code", settle(PROJECT)]
    return Instruction(run([SCRATCH, bind("code", "code")], copy), "copying the code")


_INSTALLED = bind("installed", "installed")
_QUOTED = "'purelib'"


def _site(prefix: str) -> str:
    """Return the words of a shell for the folder of an environment's packages."""
    code = f"import sysconfig; print(sysconfig.get_path({_QUOTED}))"
    return f'"$({prefix}/bin/python -c "{code}")"'


def _installed(prefix: str) -> list[str]:
    """Return the commands that install the project in an environment, editable.

    A command that was there, and may be a link, is replaced: nothing is written through it.
    """
    return [
        f"site={_site(prefix)}",
        f'cp -r {RUN}/installed/site/. "$site/"',
        (
            f'for each in {RUN}/installed/bin/*; do if [ -e "$each" ]; then '
            f'to="{prefix}/bin/${{each##*/}}"; rm -f "$to"; '
            f'{{ echo "#!{prefix}/bin/python"; cat "$each"; }} > "$to"; chmod 755 "$to"; fi; done'
        ),
    ]


def _mounts(name: str, content: Sequence[Requirement]) -> list[str]:
    """Return what the step of a tier sees: its own files, so that no other tier's change it."""
    found = [SCRATCH, UV, UV_CACHE, *MACHINE]
    found += [bind(group.file, group.file) for group in groups(name, content)]
    if any(each.file is not None and each.has_wheel for each in content):
        found.append(bind(f"wheels/{name}", "wheels"))
    return found


def _install(python: str, content: Sequence[Group]) -> Iterator[str]:
    words = f"{RUN}/uv pip install --python {python} --no-deps --require-hashes"
    for group in content:
        if group.index is None:
            yield f"{words} -r {RUN}/{group.file}"
        else:
            yield f"{_ONLY} {words} --default-index '{group.index}' -r {RUN}/{group.file}"


def _wheel(
    tier: Tier, built: Sequence[Requirement], mounts: Sequence[str], lines: Sequence[str]
) -> Instruction:
    name = f"sources-{tier.value}"
    content = groups(name, built)
    seen = [bind(group.file, group.file) for group in content]
    if any(each.file is not None for each in built):
        seen.append(bind(f"wheels/{name}", "wheels"))
    words = (
        "/opt/build/bin/python -m pip wheel --no-deps --require-hashes --no-cache-dir "
        f"--wheel-dir /wheels/{tier.value}"
    )
    commands = [
        f"{words} {f'--index-url {chr(39)}{group.index}{chr(39)} ' if group.index else ''}"
        f"-r {RUN}/{group.file}"
        for group in content
    ]
    named = _some([each.name for each in built])
    return Instruction(
        run([*mounts, *seen], [*lines, *commands]),
        f"building wheels ({named})",
        "`dependencies` in pyproject.toml, and `apt.build` for what they are built with",
    )


def _quoted(requirement: Requirement) -> str:
    """Return a package for a shell; its marker's quotes become the other kind."""
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    return "'" + f"{requirement.name}=={requirement.version}{marker}".replace("'", '"') + "'"


def _dependencies(recipe: Recipe) -> str:
    if recipe.variant is None:
        return "`dependencies` in pyproject.toml"
    return f"`dependencies` and the extra `{recipe.variant}` in pyproject.toml"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, ..." if len(names) > _SHOWN else shown
