from __future__ import annotations

import re

import pytest

from perdure.services import requirement
from perdure.services.jupyter import kernel_spec
from perdure.services.program import NAMES, id_of, ports_of


def test_a_service_has_its_ports_to_itself_and_always_the_same() -> None:
    first = id_of("/home/ada/cats", "gpu1", "jupyter")
    assert ports_of(first) == ports_of(id_of("/home/ada/cats", "gpu1", "jupyter"))
    others = [
        id_of("/home/ada/cats", "gpu2", "jupyter"),
        id_of("/home/ada/cats", "gpu1", "files"),
        id_of("/home/ada/dogs", "gpu1", "jupyter"),
    ]
    assert len({first, *others}) == 4
    # Below those that Linux hands out by itself.
    assert all(1024 < port < 32768 for each in (first, *others) for port in ports_of(each))


@pytest.mark.parametrize("tool", [*NAMES, "kernel"])
def test_tools_are_pinned_with_hashes(tool: str) -> None:
    text = requirement.text_of(tool)
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    assert lines
    for line in lines:
        assert re.match(r"[a-z0-9._-]+==[^ ]+ ", line), line
    assert text.count("--hash=sha256:") >= len(lines)
    assert "://" not in text


def test_another_list_or_python_is_another_folder() -> None:
    names = {requirement.folder_name(tool) for tool in NAMES}
    names |= {requirement.folder_name("kernel", python) for python in ("3.9", "3.12")}
    assert len(names) == len(NAMES) + 2


def test_the_kernel_is_the_projects_python_with_the_working_tree() -> None:
    found = kernel_spec("/p", "/p/.perdure/environments/e", "/e/bin/python", "/beside", "cats")
    assert found["argv"][0] == "/e/bin/python"  # type: ignore[index]
    assert found["env"] == {
        "PYTHONPATH": "/p/src:/p",
        "PYTHONUNBUFFERED": "1",
        "PATH": "/p/.perdure/environments/e/bin:${PATH}",
        "VIRTUAL_ENV": "/p/.perdure/environments/e",
    }


def test_a_project_without_an_environment_has_a_kernel_too() -> None:
    found = kernel_spec("/p", None, "/usr/bin/python3", "", "cats")
    assert found["env"] == {"PYTHONPATH": "/p/src:/p", "PYTHONUNBUFFERED": "1"}
