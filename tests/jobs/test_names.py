from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perdure.errors import ConflictError, UsageError
from perdure.jobs import names

ROOT = Path(__file__).parents[2]


def test_the_words_are_many_and_can_be_said() -> None:
    for words in (names.ADJECTIVES, names.NOUNS):
        assert len(set(words)) == len(words) == 64
        assert all(word.isalpha() and word.islower() and len(word) <= 8 for word in words)


def test_a_name_comes_with_its_folder(tmp_path: Path) -> None:
    name = names.claim(tmp_path / "results")
    assert (tmp_path / "results" / name).is_dir()
    names.check(name)


def test_a_number_follows_where_all_words_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "ADJECTIVES", ("brave",))
    monkeypatch.setattr(names, "NOUNS", ("otter",))
    claimed = [names.claim(tmp_path) for _ in range(3)]
    assert claimed == ["brave-otter", "brave-otter-2", "brave-otter-3"]


def test_processes_that_claim_at_once_share_no_folder(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from perdure.jobs import names\n"
        "names.ADJECTIVES, names.NOUNS = ('brave',), ('otter', 'heron')\n"
        "sys.stdin.readline()\n"
        "for _ in range(40): print(names.claim(Path(sys.argv[1])))\n"
    )
    argv = [sys.executable, "-c", program, str(tmp_path)]
    racers = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    claimed = [line for racer in racers for line in racer.communicate("\n")[0].split()]
    assert len(claimed) == len(set(claimed)) == 240
    assert {path.name for path in tmp_path.iterdir()} == set(claimed)


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", "A", "a b", "a/b", "..", "a.b", "\u00e9", "a\n", "$(x)", "a" * 49, "@last"],
)
def test_what_cannot_name_a_job_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a job"):
        names.claim(tmp_path, wanted=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "1", "lr-1e-3", "a" * 48])
def test_a_name_of_ones_own(tmp_path: Path, name: str) -> None:
    assert names.claim(tmp_path, wanted=name) == name
    with pytest.raises(ConflictError) as caught:
        names.claim(tmp_path, wanted=name)
    assert caught.value.hint == f"perdure show {name}"
