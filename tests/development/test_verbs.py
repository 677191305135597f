"""The verbs as an ordinary user types them, with an image that perdure builds; then without it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.images.secrets import Secrets, machine_secrets
from tests.development.person import PYPROJECT, Person
from tests.engines.engines import RealEngine
from tests.engines.user import OrdinaryUser

# The first image of an engine brings git from Debian, and Python's packages from their index.
pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]


@pytest.fixture
def person(modern_engine: RealEngine, as_user: OrdinaryUser) -> Iterator[Person]:
    found = Person(as_user, modern_engine)
    yield found
    modern_engine.docker("rm", "--force", "--volumes", found.container, check=False)
    found.docker("compose", "down", "--timeout=0")


def override(secrets: Secrets) -> str:
    """Return a compose file that gives a build this machine's certificates and mirrors."""
    described: dict[str, dict[str, str]] = {
        name: {"environment": f"PERDURE_SECRET_{name.upper()}"} for name in secrets.contents
    }
    described |= {name: {"file": str(file)} for name, file in secrets.files.items()}
    build = {"build": {"secrets": sorted(described)}}
    return json.dumps({"secrets": described, "services": {"dev": build, "train": build}})


def test_up_shell_change_and_down_as_an_ordinary_user(person: Person) -> None:
    shelled = person.perdure(
        "shell", "--", "python", "-c", "import cats, six; print(six.__version__)"
    )
    assert (shelled.code, shelled.out) == (0, "1.16.0\n"), shelled.err
    assert person.perdure("shell", "--", "sh", "-c", "echo x > src/made; exit 9").code == 9
    assert "up already" in person.perdure("up").err
    assert " up, from perdure/cats:dev-" in person.perdure("logs").out

    person.write(PYPROJECT.replace("1.16.0", "1.17.0"))
    refused = person.perdure("up")
    assert refused.code == 4
    assert "perdure lock" in refused.err
    # A shell is not refused: it says so, and uses what there is.
    old = person.perdure("shell", "--", "python", "-c", "import six; print(six.__version__)")
    assert (old.code, old.out) == (0, "1.16.0\n")
    assert "warning: the lock is older" in old.err
    assert person.perdure("lock").code == 0
    asked = person.perdure("shell", "--", "python", "-c", "import six; print(six.__version__)")
    assert asked.out == "1.16.0\n"
    assert "pip six 1.16.0 -> 1.17.0" in asked.err
    assert "warning: going on with the container as it is" in asked.err
    assert person.perdure("up", "--yes").code == 0
    new = person.perdure("shell", "--", "python", "-c", "import six; print(six.__version__)")
    assert (new.out, new.err) == ("1.17.0\n", "")

    refuses_to_lose_what_was_installed(person)
    assert "no development container" in person.perdure("down").err
    assert person.user.of_others(person.root) == []


def refuses_to_lose_what_was_installed(person: Person) -> None:
    """Install something by hand, and see that `down` asks before it is lost; then say yes."""
    made = "/opt/dev/lib/python3.11/site-packages/mine-1.0.dist-info"
    assert person.perdure("shell", "--", "mkdir", made).code == 0
    assert person.perdure("stop").code == 0
    refused = person.perdure("down")
    assert refused.code == 2
    assert "installed by hand (pip: mine 1.0)" in refused.err
    assert "perdure freeze" in refused.err
    assert person.perdure("down", "--yes").code == 0


def test_the_ejected_compose_file_brings_the_same_container_up(person: Person) -> None:
    assert person.perdure("up").code == 0
    image = person.docker("inspect", "--format", "{{.Config.Image}}", person.container).out
    assert person.perdure("eject", "compose").code == 0
    assert person.perdure("down").code == 0
    up = person.docker("compose", "up", "--detach", "--no-build")
    assert up.code == 0, up.err
    shown = person.docker("compose", "ps", "--format", "{{.Image}}").out
    assert shown == image
    program = "import cats, os, six; print(cats.NAME, six.__version__, os.getuid(), os.getcwd())"
    said = person.docker("compose", "exec", "-T", "dev", "python", "-c", program)
    assert said.out == f"cats 1.16.0 {person.user.user_id} /project/code\n", said.err
    assert person.user.of_others(person.root) == []


def test_the_ejected_files_build_themselves(person: Person) -> None:
    assert person.perdure("eject", "compose").code == 0
    file = person.root / "compose.yaml"
    text = file.read_text()
    # Names of its own: what perdure may have built already is not to be taken.
    mine = text.replace('image: "perdure/cats:', f'image: "perdure/cats-{os.getpid()}:')
    assert mine != text
    file.write_text(mine)
    secrets = machine_secrets("bookworm", {})
    (person.root / "compose.override.yaml").write_text(override(secrets))
    compose = ("compose", "--profile=*")
    built = person.docker(*compose, "build", env=secrets.environ())
    try:
        assert built.code == 0, built.err
        up = person.docker("compose", "up", "--detach", "--no-build", env=secrets.environ())
        assert up.code == 0, up.err
        said = person.docker(
            "compose", "exec", "-T", "dev", "python", "-c", "import six, cats, pip"
        )
        assert said.code == 0, said.err
        trained = person.docker("compose", "run", "--rm", "train", env=secrets.environ())
        assert trained.out == "trained with 1.16.0\n", trained.err
    finally:
        person.docker(*compose, "down", "--timeout=0", "--rmi=all", env=secrets.environ())
    assert not Path(person.root / "docker" / "uv").exists()
