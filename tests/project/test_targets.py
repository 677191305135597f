from __future__ import annotations

from pathlib import Path

import pytest

from perdure.errors import UsageError
from perdure.model.settings import SlurmSettings, TargetSettings
from perdure.project.decode import load_project
from perdure.project.settings import load_settings

PROJECT = '[project]\nname = "cats"\n[tool.perdure]\nformat = 1\npackage = "cats"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "cats"
    (root / ".perdure").mkdir(parents=True)
    (root / "pyproject.toml").write_text(PROJECT)
    return root


@pytest.fixture
def user(tmp_path: Path) -> Path:
    folder = tmp_path / "config" / "perdure"
    folder.mkdir(parents=True)
    return folder / "config.toml"


def targets(root: Path | None, user: Path) -> dict[str, TargetSettings]:
    environ = {"XDG_CONFIG_HOME": str(user.parents[1])}
    return dict(load_settings(root, environ=environ).targets)


def complaint(root: Path | None, user: Path) -> str:
    with pytest.raises(UsageError) as caught:
        targets(root, user)
    return caught.value.message


def test_a_host_is_all_that_a_target_needs(user: Path) -> None:
    user.write_text('[targets.gpubox]\nhost = "gpubox"\n')
    assert targets(None, user) == {"gpubox": TargetSettings("gpubox")}
    found = targets(None, user)["gpubox"]
    assert (found.kind, found.engine, found.root, found.sync) == ("ssh", None, "~/perdure", "live")


def test_everything_can_be_said(user: Path) -> None:
    user.write_text(
        '[targets."lab.2"]\nkind = "ssh"\nhost = "me@lab2.example.org"\nengine = "process"\n'
        'root = "/scratch//me/./perdure/"\nsync = "none"\n'
    )
    assert targets(None, user) == {
        "lab.2": TargetSettings(
            "me@lab2.example.org", "ssh", "process", "/scratch/me/perdure", "none"
        )
    }


def test_the_stronger_file_wins_key_by_key(root: Path, user: Path) -> None:
    with (root / "pyproject.toml").open("a") as file:
        file.write('[tool.perdure.targets.lab]\nhost = "lab"\nengine = "docker"\nroot = "/lab"\n')
        file.write('[tool.perdure.targets.team]\nhost = "team"\n')
    user.write_text(
        '[targets.lab]\nhost = "me@lab"\nsync = "none"\n[targets.mine]\nhost = "mine"\n'
    )
    (root / ".perdure" / "local.toml").write_text('[targets.lab]\nroot = "~/here"\n')
    assert targets(root, user) == {
        "lab": TargetSettings("me@lab", "ssh", "docker", "~/here", "none"),
        "team": TargetSettings("team"),
        "mine": TargetSettings("mine"),
    }
    # Outside of the project there are only the user's own.
    assert set(targets(None, user)) == {"lab", "mine"}
    assert load_project(root).name == "cats"


def test_a_target_without_a_host_is_told_where_it_stands(root: Path, user: Path) -> None:
    user.write_text('[targets.lab]\nsync = "none"\n')
    assert targets(None, user.with_name("none") / "x") == {}
    told = complaint(root, user)
    assert str(user) in told
    assert "targets.lab.host: is missing" in told
    with (root / "pyproject.toml").open("a") as file:
        file.write('[tool.perdure.targets.lab]\nhost = "lab"\n')
    assert targets(root, user)["lab"] == TargetSettings("lab", sync="none")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[targets.local]\nhost = "x"', "targets.local: `local` is a target of perdure's own"),
        ('[targets.docker]\nhost = "x"', "targets.docker: `docker` is a target of"),
        ('[targets."-x"]\nhost = "x"', "targets.-x: a target's name has letters"),
        ('[targets."a b"]\nhost = "x"', "targets.'a b': a target's name has letters"),
        ('[targets."$(x)"]\nhost = "x"', "targets.'$(x)': a target's name has letters"),
        ('[targets."a\\nb"]\nhost = "x"', "targets.'a\\nb': a target's name has letters"),
        ('[targets.a]\nhost = "-oProxyCommand=x"', "`-oProxyCommand=x` is nothing to give to"),
        ('[targets.a]\nhost = "me@-oProxyCommand=x"', "`me@-oProxyCommand=x` is nothing"),
        ('[targets.a]\nhost = ""', "targets.a.host: expected `str` of length >= 1"),
        ('[targets.a]\nhost = "a b"', "`a b` is nothing to give to `ssh`"),
        ('[targets.a]\nhost = "$(x)"', "targets.a.host: `$(x)` is nothing to give"),
        ("[targets.a]\nhost = 3", "targets.a.host: expected `str`"),
        ('[targets.a]\nhots = "a"', "targets.a.hots: unknown key; did you mean `host`?"),
        ('[targets.a]\nhost = "a"\nkind = "slrum"', "is not a choice here; did you mean `slurm`?"),
        ('[targets.a]\nkind = "slurm"\nparttion = "x"', "did you mean `partition`?"),
        ('[targets.a]\nkind = "slurm"\npartition = "a b"', "`a b` is no name that Slurm has"),
        ('[targets.a]\nkind = "slurm"\naccount = "-x"', "`-x` is no name that Slurm has"),
        ('[targets.a]\nkind = "slurm"\ntime = "soon"', "`soon` is no time limit: write `30m`"),
        ('[targets.a]\nkind = "slurm"\ntime = "59"', "`59` is no time limit"),
        ('[targets.a]\nkind = "slurm"\nmodules = ["a;b"]', "`a;b` is no name of a module"),
        ('[targets.a]\nkind = "slurm"\nlines = ["a\\nb"]', "is more than one line"),
        ('[targets.a]\nkind = "slurm"\nlines = "--x"', "targets.a.lines: expected `array`"),
        ('[targets.a]\nhost = "a"\nengine = "dokcer"', "did you mean `docker`?"),
        ('[targets.a]\nhost = "a"\nsync = "mutagen"', "targets.a.sync: `mutagen` is not a choice"),
        ('[targets.a]\nhost = "a"\nroot = "perdure"', "`perdure` begins neither with `/` nor"),
        ('[targets.a]\nhost = "a"\nroot = "~/../x"', "targets.a.root: `~/../x` has `..` in it"),
        ('[targets.a]\nhost = "a"\nroot = "/x\\ny"', "targets.a.root: has a control character"),
        ('targets = "gpubox"', "targets: expected `table`, got `str`"),
        ('[targets]\na = "gpubox"', "targets.a: expected"),
    ],
)
def test_mistakes_are_named_in_every_file(root: Path, user: Path, text: str, said: str) -> None:
    user.write_text(text + "\n")
    assert said in complaint(None, user)
    user.unlink()
    (root / "pyproject.toml").write_text(
        PROJECT + text.replace("targets", "tool.perdure.targets", 1)
    )
    if not text.startswith("targets"):
        said = said.replace("targets.a", "tool.perdure.targets.a")
        assert said in complaint(root, user)
        with pytest.raises(UsageError) as caught:
            load_project(root)
        assert said in caught.value.message


def test_a_cluster_is_this_machines_or_behind_a_login_node(user: Path) -> None:
    user.write_text(
        '[targets.here]\nkind = "slurm"\n[targets.lab]\nkind = "slurm"\nhost = "me@login"\n'
        'root = "/scratch/me"\npartition = "gpu,main"\naccount = "team"\nqos = "high"\n'
        'time = "1-12:00:00"\nlines = ["--nice", "ulimit -n 4096"]\nmodules = ["cuda/12.1"]\n'
    )
    lines = ("--nice", "ulimit -n 4096")
    slurm = SlurmSettings("gpu,main", "team", "high", 129600.0, lines, ("cuda/12.1",))
    assert targets(None, user) == {
        "here": TargetSettings("", "slurm", "slurm", slurm=SlurmSettings()),
        "lab": TargetSettings("me@login", "slurm", "slurm", "/scratch/me", slurm=slurm),
    }


def test_a_clusters_jobs_run_in_images_where_that_is_said(user: Path) -> None:
    user.write_text('[targets.lab]\nkind = "slurm"\nengine = "apptainer"\n')
    slurm = SlurmSettings(engine="apptainer")
    assert targets(None, user) == {"lab": TargetSettings("", "slurm", "slurm", slurm=slurm)}
    assert slurm.in_image
    user.write_text('[targets.lab]\nkind = "slurm"\nengine = "process"\n')
    found = targets(None, user)["lab"].slurm
    assert found is not None
    assert not found.in_image
    for kind in ("ssh", "gcp"):
        user.write_text(f'[targets.lab]\nkind = "{kind}"\nhost = "a"\nengine = "apptainer"\n')
        assert f'`apptainer` is none of `kind = "{kind}"`: `process` or `docker`' in complaint(
            None, user
        )


def test_keys_fit_the_kind_that_all_files_make_together(root: Path, user: Path) -> None:
    with (root / "pyproject.toml").open("a") as file:
        file.write('[tool.perdure.targets.lab]\nkind = "slurm"\nhost = "lab"\n')
    user.write_text('[targets.lab]\npartition = "gpu"\n')
    found = targets(root, user)["lab"]
    assert found.slurm == SlurmSettings("gpu")
    assert 'lab.partition: is a key of `kind = "slurm"` only' in complaint(None, user)
    user.write_text('[targets.lab]\nengine = "docker"\nimages = "ship"\n')
    told = complaint(root, user)
    assert (
        'targets.lab.engine: `docker` is none of `kind = "slurm"`: `process` or `apptainer`' in told
    )
    assert "targets.lab.images: is a key not of" in told


def test_a_table_of_the_team_that_is_none(root: Path, user: Path) -> None:
    (root / "pyproject.toml").write_text(PROJECT + "targets = 3\n")
    assert "tool.perdure.targets: expected a table, got `int`" in complaint(root, user)


def test_a_folder_without_a_project_has_no_team(tmp_path: Path, user: Path) -> None:
    assert targets(tmp_path, user) == {}
