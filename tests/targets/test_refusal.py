from __future__ import annotations

import pytest

from perdure.errors import EnvironmentFailed, PerdureError, StorageError, UsageError
from perdure.model.job import Resources
from perdure.targets.refusal import refusal, refuse_a_clusters


@pytest.mark.parametrize(
    ("code", "said", "kind", "words"),
    [
        (125, "docker: Error: could not select device driver", EnvironmentFailed, "no GPU"),
        (125, "docker: Error: write /x: no space left on device", StorageError, "no space"),
        (125, "docker: Error: No such image: sha256:ab", EnvironmentFailed, "refused to start"),
        (5, "perdure: cannot lock the run folder", StorageError, r"exit code 5"),
        (2, "can't open file", PerdureError, r"exit code 2"),
    ],
)
def test_what_was_said_decides(code: int, said: str, kind: type[PerdureError], words: str) -> None:
    found = refusal("calm-fox", code, said)
    assert type(found) is kind
    assert words in found.message
    assert found.hint


def test_the_engines_own_words_are_one_line_of_the_message() -> None:
    said = (
        "docker: Error response from daemon: Range of CPUs is from 0.01 to 2.00.\n\n"
        "Run 'docker run --help' for more information\n"
    )
    found = refusal("calm-fox", 125, said)
    assert found.message.endswith("`calm-fox`: Range of CPUs is from 0.01 to 2.00.")
    assert refusal("calm-fox", 125, "").message.endswith("it does not say why")


def test_nothing_said_is_no_hint() -> None:
    assert refusal("calm-fox", 1, "").hint is None


@pytest.mark.parametrize(
    ("resources", "word"), [(Resources(time_s=60.0), "--time"), (Resources(nodes=2), "--nodes")]
)
def test_what_only_a_cluster_has_is_told_to_be_left_out(resources: Resources, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        refuse_a_clusters(resources)
    assert caught.value.hint == f"leave out {word}: it is for clusters"
    refuse_a_clusters(Resources(gpus=1, memory_bytes=1 << 30))
