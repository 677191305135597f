from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perdure.errors import UsageError
from perdure.model.project import Project
from perdure.model.settings import Settings, TargetSettings
from perdure.model.station import CLOUDS
from perdure.targets.registry import KINDS, open_target, target_names

PROJECT = Project(Path("/p"), "cats", "cats", {})


def test_local_is_there() -> None:
    assert open_target("local", PROJECT).name == "local"
    assert open_target("docker", PROJECT).name == "docker"  # no engine is asked yet


def test_a_mistyped_target_is_guessed() -> None:
    with pytest.raises(UsageError, match="no target `lcoal`") as caught:
        open_target("lcoal", PROJECT)
    assert caught.value.hint == "did you mean `local`?"
    with pytest.raises(UsageError) as caught:
        open_target("$(x)", PROJECT)
    assert caught.value.hint == "targets: docker, local"


def test_a_target_is_imported_on_use(tmp_path: Path) -> None:
    code = (
        "import sys, perdure.targets.registry\n"
        "print('perdure.targets.process' in sys.modules, 'subprocess' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "False"]


def test_a_target_of_ones_own() -> None:
    found = open_target("mine", PROJECT, targets={"mine": "perdure.targets.process:open_process"})
    assert found.name == "local"


@pytest.fixture
def ssh_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host gpubox lab-*\n  User me\nHost big.lab\n")


def hint(name: str, **targets: TargetSettings) -> str | None:
    with pytest.raises(UsageError, match="no target") as caught:
        open_target(name, PROJECT, Settings(targets=targets))
    return caught.value.hint


def test_a_host_that_only_ssh_knows_is_a_line_away(ssh_hosts: None) -> None:
    add = 'add `[targets.gpubox]` with `host = "gpubox"` to ~/.config/perdure/config.toml'
    assert hint("gpubx") == f"did you mean `gpubox`, which ssh knows? {add}"
    assert hint("gpubox") == f"ssh knows it; {add}"
    assert hint("gpubx", gpubox=TargetSettings("gpubox")) == "did you mean `gpubox`?"
    assert hint("zzz", gpu=TargetSettings("gpubox")) == "targets: docker, gpu, local"


def test_the_nearest_name_is_meant(ssh_hosts: None) -> None:
    assert hint("gpubo", gpu=TargetSettings("x")) == hint("gpubo")
    assert hint("gp", gpu=TargetSettings("x")) == "did you mean `gpu`?"


def test_without_an_ssh_configuration_the_targets_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert hint("zzz") == "targets: docker, local"


def test_a_named_target_is_read_from_the_settings_where_they_are_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, str]] = []

    def made(project: Project, settings: Settings, name: str) -> None:
        opened.append((name, settings.targets[name].host))

    monkeypatch.setattr("perdure.targets.process.open_process", made)
    monkeypatch.setattr(
        "perdure.targets.registry.KINDS", {"ssh": "perdure.targets.process:open_process"}
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "perdure").mkdir()
    (tmp_path / "perdure" / "config.toml").write_text('[targets.gpubox]\nhost = "me@gpubox"\n')
    open_target("gpubox", PROJECT)
    open_target("lab", PROJECT, Settings(targets={"lab": TargetSettings("lab1")}))
    assert opened == [("gpubox", "me@gpubox"), ("lab", "lab1")]
    assert set(KINDS) == {"ssh", "slurm", "kubernetes", *CLOUDS}


def test_every_target_has_a_name_for_completion() -> None:
    named = {"b": TargetSettings("b"), "a": TargetSettings("a")}
    assert target_names(Settings(targets=named)) == ("local", "docker", "a", "b")
