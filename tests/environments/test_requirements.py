from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments import requirements
from perdure.environments.lock import ensure_lock
from perdure.environments.requirements import Target, export, read_export
from perdure.errors import EnvironmentFailed
from perdure.model.image import Requirement
from perdure.model.project import Project
from perdure.model.settings import Index, IndexFormat, Settings
from tests.environments.conftest import MakeWheel, declare

TARGET = Target(Path("/a project"), "linux/amd64", 11)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = (tmp_path / "yard").as_uri()
    return Settings(indexes={"yard": Index("yard", folder, IndexFormat.FLAT)})


def read(packages: str) -> tuple[Requirement, ...]:
    return read_export(packages, TARGET)


def test_one_variant_is_exported_with_its_files(
    project: Project, settings: Settings, tmp_path: Path, wheels: Path
) -> None:
    ensure_lock(project, settings)
    cpu, cuda = (export(project, settings, variant) for variant in ("cpu", "cuda"))
    assert [(each.name, each.version) for each in cpu] == [("brought", "1.0"), ("toy", "1.0+house")]
    assert cuda[1].version == "1.0+yard"
    brought, toy = cpu
    assert brought.file == project.root / "vendor/brought-1.0-py3-none-any.whl"
    assert toy.file == wheels / "toy-1.0+house-py3-none-any.whl"
    assert cuda[1].file == tmp_path / "yard" / "toy-1.0+yard-py3-none-any.whl"
    for each in (*cpu, *cuda):
        assert each.has_wheel
        assert each.index is None
        assert [len(digest) for digest in each.hashes] == [len("sha256:") + 64]


def test_without_a_word_the_default_variant_is_exported(
    project: Project, settings: Settings
) -> None:
    ensure_lock(project, settings)
    assert export(project, settings, None) == export(project, settings, "cpu")
    chosen = replace(settings, default_variant="cuda")
    assert export(project, chosen, None) == export(project, settings, "cuda")
    with pytest.raises(EnvironmentFailed, match="no variant `cud`"):
        export(project, settings, "cud")


def test_a_second_export_of_a_lock_runs_nothing(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_lock(project, settings)
    before = export(project, settings, "cpu")

    def called(*_: object, **__: object) -> str:
        raise AssertionError("uv was called")

    monkeypatch.setattr(requirements, "run_uv", called)
    assert export(project, settings, "cpu") == before
    with pytest.raises(AssertionError):
        export(project, settings, "cuda")


def test_an_export_that_was_torn_is_made_again(project: Project, settings: Settings) -> None:
    ensure_lock(project, settings)
    before = export(project, settings, "cpu")
    (kept,) = (project.state / "exports").iterdir()
    kept.write_text('[{"name": ')
    assert export(project, settings, "cpu") == before


def test_old_exports_are_not_kept_for_ever(project: Project, settings: Settings) -> None:
    ensure_lock(project, settings)
    folder = project.state / "exports"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.json").write_text("")
    export(project, settings, "cpu")
    assert len(list(folder.iterdir())) == 16


def test_groups_are_exported_only_when_asked_for(
    plain: Project, make_wheel: MakeWheel, wheels: Path
) -> None:
    make_wheel(wheels, "tool")
    declare(plain, '["toy"]')
    with (plain.root / "pyproject.toml").open("a") as file:
        file.write('[dependency-groups]\ndev = ["tool"]\n')
    ensure_lock(plain, Settings())
    assert [each.name for each in export(plain, Settings(), "cpu")] == ["toy"]
    both = export(plain, Settings(), "cpu", groups=("dev",))
    assert [each.name for each in both] == ["tool", "toy"]
    assert export(plain, Settings(), "cpu", groups=("none-of-its-own",)) == both[1:]


def test_a_file_that_is_gone_is_told(project: Project, settings: Settings, wheels: Path) -> None:
    ensure_lock(project, settings)
    export(project, settings, "cpu")
    (wheels / "toy-1.0+house-py3-none-any.whl").unlink()
    with pytest.raises(EnvironmentFailed, match="not on this machine") as caught:
        export(project, settings, "cpu")
    assert "perdure lock --again" in (caught.value.hint or "")


def test_there_is_nothing_to_export_without_a_lock(project: Project, settings: Settings) -> None:
    with pytest.raises(EnvironmentFailed, match=r"no `uv\.lock`"):
        export(project, settings, "cpu")


def test_a_package_of_an_index_has_all_its_digests_and_no_password() -> None:
    (found,) = read("""
[[packages]]
name = "numpy"
version = "2.0"
marker = "sys_platform == 'linux'"
index = "https://me:secret@example.invalid/simple"
sdist = { url = "https://example.invalid/numpy-2.0.tar.gz", hashes = { sha256 = "b" } }
[[packages.wheels]]
url = "https://example.invalid/numpy-2.0-cp311-cp311-manylinux_2_28_x86_64.whl"
hashes = { sha256 = "a" }
[[packages.wheels]]
url = "https://example.invalid/numpy-2.0-cp311-cp311-win_amd64.whl"
hashes = { sha256 = "c" }
""")
    assert found == Requirement(
        "numpy",
        "2.0",
        ("sha256:a", "sha256:b", "sha256:c"),
        marker="sys_platform == 'linux'",
        index="https://example.invalid/simple",
    )


def test_uvs_own_index_is_no_other_index() -> None:
    (found,) = read("""
[[packages]]
name = "six"
version = "1"
index = "https://pypi.org/simple/"
wheels = [{ url = "https://files.invalid/six-1-py3-none-any.whl", hashes = { sha256 = "a" } }]
""")
    assert found.index is None


@pytest.mark.parametrize(
    "files",
    [
        'sdist = { url = "https://example.invalid/old-1.tar.gz", hashes = { sha256 = "a" } }',
        'wheels = [{ url = "https://example.invalid/old-1-cp312-cp312-linux_x86_64.whl" }]',
        'wheels = [{ url = "https://example.invalid/old-1-cp311-cp311-win_amd64.whl" }]',
        'archive = { path = "vendor/old-1.tar.gz", hashes = { sha256 = "a" } }',
        'archive = { url = "https://example.invalid/old-1.zip", hashes = { sha256 = "a" } }',
    ],
)
def test_a_package_without_a_wheel_for_the_image_is_known(files: str) -> None:
    (found,) = read(f'[[packages]]\nname = "old"\nversion = "1"\n{files}\n')
    assert not found.has_wheel


def test_a_package_of_a_place_of_its_own_keeps_it() -> None:
    (found,) = read("""
[[packages]]
name = "far"
version = "1"
[packages.archive]
url = "https://me:secret@example.invalid/a%20b/far-1-py3-none-any.whl"
hashes = { sha256 = "a" }
""")
    assert found.url == "https://example.invalid/a%20b/far-1-py3-none-any.whl"
    assert found.has_wheel
    assert found.index is None
    assert found.file is None


def test_of_several_wheels_of_this_machine_the_one_that_fits_is_taken() -> None:
    (found,) = read("""
[[packages]]
name = "near"
version = "1"
index = "file:///wheels%20here"
wheels = [
  { url = "file:///wheels%20here/near-1-cp312-cp312-linux_x86_64.whl", hashes = { sha256 = "a" } },
  { url = "file:///wheels%20here/near-1-cp311-cp311-linux_x86_64.whl", hashes = { sha256 = "b" } },
]
""")
    assert found.file == Path("/wheels here/near-1-cp311-cp311-linux_x86_64.whl")
    assert found.hashes == ("sha256:b",)
    assert found.has_wheel


def test_what_an_image_cannot_hold_is_named_all_at_once() -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        read("""
[[packages]]
name = "cloned"
vcs = { type = "git", url = "https://me:secret@example.invalid/cloned.git", commit-id = "0" }
[[packages]]
name = "beside"
directory = { path = "../beside", editable = true }
""")
    assert caught.value.message == (
        "an image holds wheels with a digest, which these have not: "
        "`cloned` from the repository `https://example.invalid/cloned.git`, "
        "`beside` from the folder `../beside`"
    )
    assert "uv build --wheel" in (caught.value.hint or "")
