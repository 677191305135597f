"""What a node says of what runs images there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perdure.model.settings import SlurmSettings
from perdure.targets.slurm_apptainer import loading, look, said, trouble
from tests.cli.command import perdure
from tests.engines.engines import RealEngine

GOOD = "program=/usr/bin/apptainer\nversion=apptainer version 1.4.5\nnode=node1\nfuse=yes\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"{GOOD}namespaces=100\n", None),
        ("program=\nnode=node1\nfuse=yes\n", "neither `apptainer` nor `singularity` is on"),
        (f"{GOOD}namespaces=0\n", "`node1` lets nobody make user namespaces"),
        (f"{GOOD}namespaces=0\nsetuid=/usr/libexec/starter-suid\n", None),
        (GOOD.replace("fuse=yes\n", ""), "/dev/fuse of `node1` is closed to you"),
        ("", "is on the PATH of `a node`"),
    ],
)
def test_what_keeps_a_node_from_running_images(text: str, what: str | None) -> None:
    found = trouble(said(text))
    assert (found is None) == (what is None)
    assert what is None or (found is not None and what in found[0] and found[1])


def test_modules_are_loaded_before_a_command() -> None:
    assert loading(()) == ()
    words = loading(("apptainer/1.4", "gcc"))
    assert words[:2] == ("bash", "-lc")
    assert words[2].startswith("module load apptainer/1.4 || exit 4; module load gcc || exit 4; ")


@pytest.mark.long
def test_a_real_node_says_what_it_has(apptainer: Path) -> None:
    seen = look(SlurmSettings(engine="apptainer"))
    assert re.fullmatch(r"apptainer version 1\.\d+\.\d+", seen["version"])
    assert seen["node"].startswith("node")
    assert trouble(seen) is None


PYPROJECT = """\
[project]
name = "cats"
[tool.perdure]
format = 1
package = "cats"
[tool.perdure.targets.lab]
kind = "slurm"
engine = "apptainer"
"""


@pytest.mark.long
def test_the_doctor_looks_at_a_node_and_at_what_makes_images(
    apptainer: Path, modern_engine: RealEngine, tmp_path: Path
) -> None:
    project = tmp_path / "my cats"
    project.mkdir()
    (project / "pyproject.toml").write_text(PYPROJECT)
    done = perdure("doctor", "lab", cwd=project)
    assert done.code == 0, done.out + done.err
    assert re.search(
        r"^apptainer +ok +apptainer version 1\.[\d.]+ on `node\d`", done.out, re.MULTILINE
    )
    assert re.search(r"^engine here +ok +docker 26", done.out, re.MULTILINE)
    assert re.search(r"^mksquashfs here +ok ", done.out, re.MULTILINE)
    (apptainer / "apptainer").unlink()
    done = perdure("doctor", "lab", cwd=project)
    assert done.code != 0
    assert "neither `apptainer` nor `singularity` is on the PATH of `node" in done.out
    assert "belongs into `modules` of the target" in done.out
