import pytest

from perdure.environments.wanted import Kind, declared_name, read_wanted
from perdure.errors import UsageError


@pytest.mark.parametrize(
    ("word", "name", "text", "bounded"),
    [
        ("six", "six", "six", "six>=1.17.0"),
        (" Six ", "six", "Six", "Six>=1.17.0"),
        ("six>=1.15", "six", "six>=1.15", "six>=1.15"),
        ("six >= 1.15, <2", "six", "six >= 1.15, <2", "six >= 1.15, <2"),
        ("six==1.*", "six", "six==1.*", "six==1.*"),
        ("scikit_learn", "scikit-learn", "scikit_learn", "scikit_learn>=1.17.0"),
        ("uvicorn[standard]", "uvicorn", "uvicorn[standard]", "uvicorn[standard]>=1.17.0"),
        (
            "six; sys_platform == 'linux'",
            "six",
            "six; sys_platform == 'linux'",
            "six>=1.17.0 ; sys_platform == 'linux'",
        ),
    ],
)
def test_what_pip_would_take(word: str, name: str, text: str, bounded: str) -> None:
    wanted = read_wanted(Kind.PIP, word)
    assert (wanted.key, wanted.text) == (name, text)
    assert wanted.at_least("1.17.0+house") == bounded


@pytest.mark.parametrize(
    ("word", "source"),
    [
        ("x @ git+https://x.invalid/me/x.git", {"git": "https://x.invalid/me/x.git"}),
        (
            "x@git+https://x.invalid/me/x@v1#subdirectory=py",
            {"git": "https://x.invalid/me/x", "rev": "v1", "subdirectory": "py"},
        ),
        (
            "x @ git+ssh://git@x.invalid/me/x@0a1b",
            {"git": "ssh://git@x.invalid/me/x", "rev": "0a1b"},
        ),
        ("x @ git+ssh://git@x.invalid/me/x", {"git": "ssh://git@x.invalid/me/x"}),
        (
            "x @ https://x.invalid/x-1-py3-none-any.whl",
            {"url": "https://x.invalid/x-1-py3-none-any.whl"},
        ),
    ],
)
def test_a_url_is_a_source_and_not_part_of_the_declaration(
    word: str, source: dict[str, str]
) -> None:
    wanted = read_wanted(Kind.PIP, word)
    assert (wanted.name, wanted.text, dict(wanted.source)) == ("x", "x", source)
    assert wanted.at_least("1") == "x"


@pytest.mark.parametrize(
    ("kind", "word", "said"),
    [
        (Kind.PIP, "", "cannot be read"),
        (Kind.PIP, "six>>1", "`six>>1` cannot be read"),
        (Kind.PIP, "six=1.15", "cannot be read"),
        (Kind.PIP, "six 1.15", "cannot be read"),
        (Kind.PIP, "-six", "cannot be read"),
        (Kind.PIP, "$(touch x)", "cannot be read"),
        (Kind.PIP, "six\nfive", "cannot be read"),
        (Kind.PIP, "./vendor/x-1-py3-none-any.whl", "cannot be read"),
        (Kind.PIP, "x @ file:///x-1-py3-none-any.whl", "neither a repository nor a file"),
        (Kind.PIP, "x @ https://me:secret@x.invalid/x.whl", "for all to read"),
        (Kind.PIP, "x @ git+https://me:secret@x.invalid/x", "for all to read"),
        (Kind.PIP, "json", "a module of Python itself"),
        (Kind.PIP, "code", "a module of Python itself"),
        (Kind.APT, "", "cannot be a Debian package"),
        (Kind.APT, "Git", "did you mean `git`"),
        (Kind.APT, "git;reboot", "cannot be a Debian package"),
        (Kind.APT, "git less", "more than one word"),
        (Kind.CONDA, "num#py", "cannot be read"),
        (Kind.CONDA, "numpy: 1", "cannot be read"),
    ],
)
def test_what_no_package_can_be(kind: Kind, word: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("$", r"\$")) as caught:
        read_wanted(kind, word)
    assert caught.value.hint
    assert "secret" not in caught.value.message


def test_debian_and_conda_have_names_of_their_own() -> None:
    assert read_wanted(Kind.APT, "libgl1").key == "libgl1"
    pinned = read_wanted(Kind.APT, "git=1:2.39.5-0+deb12u2")
    assert (pinned.name, pinned.open) == ("git", False)
    assert declared_name(Kind.APT, "git=1:2.39.5-0+deb12u2") == "git"
    channel = read_wanted(Kind.CONDA, "conda-forge::NumPy>=1.2,<2")
    assert (channel.key, channel.open) == ("numpy", False)
    assert declared_name(Kind.CONDA, "numpy=1.26=py311_0") == "numpy"


def test_names_of_declarations() -> None:
    assert declared_name(Kind.PIP, "Scikit_Learn[a,b] >=1 ; python_version>'3'") == "scikit-learn"
    assert declared_name(Kind.PIP, "x @ https://x.invalid/x.whl") == "x"
    assert declared_name(Kind.PIP, "???") is None
