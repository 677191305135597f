from pathlib import Path

import pytest

from perdure.errors import NewerFormatError, UsageError
from perdure.project.settings import Docker, Index, IndexFormat, load_settings, settings_files


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_without_files_there_are_no_settings(home: Path) -> None:
    settings = load_settings(environ={"HOME": str(home)})
    assert not settings.indexes
    assert settings.default_variant is None
    assert settings.files == ()


def test_the_projects_own_settings_win(home: Path, tmp_path: Path) -> None:
    user = write(
        home / ".config/perdure/config.toml",
        'default_variant = "cpu"\neditor = "vi"\n[indexes]\n'
        'a = "https://one.example/simple"\nb = "https://two.example/simple"\n',
    )
    local = write(
        tmp_path / ".perdure/local.toml",
        'default_variant = "cuda"\n[indexes.b]\nurl = "https://three.example"\nformat = "flat"\n',
    )
    settings = load_settings(tmp_path, environ={"HOME": str(home)})
    assert settings.default_variant == "cuda"
    assert settings.editor == "vi"
    assert settings.files == (user, local)
    assert settings.indexes["a"] == Index("a", "https://one.example/simple", IndexFormat.SIMPLE)
    assert settings.indexes["b"] == Index("b", "https://three.example", IndexFormat.FLAT)


def test_xdg_says_where_unless_it_is_relative(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "x"), "HOME": "/home/me"}
    assert settings_files(None, environ) == (tmp_path / "x/perdure/config.toml",)
    environ["XDG_CONFIG_HOME"] = "relative"
    assert settings_files(None, environ) == (Path("/home/me/.config/perdure/config.toml"),)


def test_an_index_may_be_a_folder_of_wheels(home: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "my wheels"
    wheels.mkdir()
    (wheels / "torch-1-py3-none-any.whl").touch()
    file = home / ".config/perdure/config.toml"
    write(file, f'[indexes]\nabsolute = "{wheels}"\nurl = "{wheels.as_uri()}"\nhere = "near"\n')
    (file.parent / "near" / "torch").mkdir(parents=True)
    (file.parent / "near" / "torch" / "index.html").touch()
    indexes = load_settings(environ={"HOME": str(home)}).indexes
    assert indexes["absolute"] == Index("absolute", wheels.as_uri(), IndexFormat.FLAT)
    assert indexes["url"].format is IndexFormat.FLAT
    assert indexes["here"] == Index("here", (file.parent / "near").as_uri(), IndexFormat.SIMPLE)


def test_all_problems_of_a_file_are_told(home: Path) -> None:
    write(
        home / ".config/perdure/config.toml",
        'defalt_variant = "cpu"\neditor = 3\n[indexes]\na = 1\nb = {format = "round"}\n',
    )
    with pytest.raises(UsageError) as caught:
        load_settings(environ={"HOME": str(home)})
    message = caught.value.message
    assert "defalt_variant: unknown key; did you mean `default_variant`?" in message
    assert "editor: expected `str`" in message
    assert "indexes.a: expected" in message
    assert "indexes.b.format: `round` is not a choice here; known: `flat`, `simple`" in message
    assert "indexes.b.url: is missing" in message


def test_a_folder_that_is_not_there_is_told(home: Path) -> None:
    write(home / ".config/perdure/config.toml", '[indexes]\n"py torch" = "/nowhere/at all"\n')
    with pytest.raises(UsageError, match="there is no folder `/nowhere/at all`") as caught:
        load_settings(environ={"HOME": str(home)})
    assert "indexes.'py torch'" in caught.value.message


def test_newer_settings_are_not_guessed_at(home: Path) -> None:
    write(home / ".config/perdure/config.toml", "format = 7\n")
    with pytest.raises(NewerFormatError):
        load_settings(environ={"HOME": str(home)})


def test_how_containers_are_run_is_the_users_own(tmp_path: Path) -> None:
    home, root = tmp_path / "home", tmp_path / "project"
    write(
        home / ".config/perdure/config.toml",
        '[docker]\nprogram = "podman"\nuser_id = 1000\ngroup_id = 1000\n',
    )
    write(root / ".perdure/local.toml", "[docker]\ngroup_id = 100\n")
    assert load_settings(environ={"HOME": str(home)}).docker == Docker("podman", 1000, 1000)
    # A project's own settings win key by key, and leave the others.
    assert load_settings(root, environ={"HOME": str(home)}).docker == Docker("podman", 1000, 100)
    write(root / ".perdure/local.toml", 'editor = "vi"\n')
    assert load_settings(root, environ={"HOME": str(home)}).docker == Docker("podman", 1000, 1000)


def test_root_is_nobody_to_run_containers_as(tmp_path: Path) -> None:
    file = tmp_path / "perdure/config.toml"
    write(file, "[docker]\nuser_id = 0\ngroup_id = 0\n")
    with pytest.raises(UsageError) as caught:
        load_settings(environ={"XDG_CONFIG_HOME": str(tmp_path)})
    assert caught.value.message.startswith("2 problems in")
    assert "docker.user_id: is 0, which is root" in caught.value.message
    write(file, '[docker]\nprogramm = "docker"\nuser_id = -1\ngroup_id = "me"\n')
    with pytest.raises(UsageError) as caught:
        load_settings(environ={"XDG_CONFIG_HOME": str(tmp_path)})
    assert "docker.programm: unknown key; did you mean `program`?" in caught.value.message
    assert "docker.user_id: expected `int` >= 0" in caught.value.message
    assert "docker.group_id: expected `int`" in caught.value.message
