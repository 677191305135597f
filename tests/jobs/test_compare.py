from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.jobs.compare import Aspect, Difference, same_result, why
from perdure.jobs.folder import CODE_LIST, ENVIRONMENT_LOCK
from perdure.jobs.launch import JobRequest, rerun, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from tests.jobs.projects import commit_all, finished, submitted

LOCK = """\
version = 1
[[package]]
name = "numpy"
version = "2.4.6"
[[package]]
name = "torch"
version = "2.13.0"
[[package]]
name = "torch"
version = "2.13.0+cpu"
"""

REAL = """\
import random, sys
import perdure
run = perdure.start()
state = {"weight": 0.0}
run.track(state=state)
for epoch in run.epochs(2):
    for batch in run.loader(list(range(8)), batch_size=4, shuffle=True):
        state["weight"] += random.random() * sum(batch) + float(sys.argv[1])
        run.log(loss=float(sys.argv[2]))
"""


def named(differences: object, aspect: Aspect) -> list[str]:
    return [item.name for item in differences.of(aspect)]  # type: ignore[attr-defined]


def with_lock(record: JobRecord, digest: str, text: str | None) -> JobRecord:
    if text is not None:
        (record.folder / ENVIRONMENT_LOCK).write_text(text)
    return replace(record, environment=replace(record.environment, lock=digest, prefix="/e"))


def test_nothing_differs_between_a_job_and_its_rerun(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    assert why(record, rerun(workspace, record)).none
    assert why(record, record).none


def test_the_files_that_differ_are_named(workspace: Workspace) -> None:
    root = workspace.project.root
    (root / "gone.py").write_text("")
    before = submitted(workspace, "1")
    (root / "gone.py").unlink()
    (root / "new.py").write_text("")
    (root / "train.py").write_text("edited")
    after = submitted(workspace, "1")
    found = why(before, after)
    assert named(found, Aspect.CODE) == ["gone.py", "new.py", "train.py"]
    assert {item.aspect for item in found.items} == {Aspect.CODE}
    assert found.of(Aspect.CODE)[1].before == ""


def test_a_mode_is_a_difference_of_code(workspace: Workspace) -> None:
    before = submitted(workspace, "1")
    (workspace.project.root / "train.py").chmod(0o755)
    assert named(why(before, submitted(workspace, "1")), Aspect.CODE) == ["train.py"]


def test_without_lists_of_files_the_commits_and_patches_are_compared(workspace: Workspace) -> None:
    root = workspace.project.root
    commit_all(root)
    before = submitted(workspace, "1")
    (root / "train.py").write_text("edited\n")
    after = submitted(workspace, "1")
    for record in (before, after):
        (record.folder / CODE_LIST).unlink()
    assert named(why(before, after), Aspect.CODE) == ["contents", "uncommitted changes"]
    other = replace(after, code=replace(after.code, commit="0" * 40))
    assert "commit" in named(why(before, other), Aspect.CODE)


def test_packages_are_named_with_both_versions(workspace: Workspace) -> None:
    before, after = submitted(workspace, "1"), submitted(workspace, "1")
    newer = LOCK.replace("2.4.6", "2.5.0").replace('"2.13.0+cpu"', '"2.14.0+cpu"')
    found = why(with_lock(before, "a", LOCK), with_lock(after, "b", newer))
    assert found.items == (
        Difference(Aspect.ENVIRONMENT, "numpy", "2.4.6", "2.5.0"),
        Difference(Aspect.ENVIRONMENT, "torch", "2.13.0, 2.13.0+cpu", "2.13.0, 2.14.0+cpu"),
    )


@pytest.mark.parametrize("text", [None, "[broken", LOCK])
def test_a_lock_that_tells_nothing_is_compared_as_a_whole(
    workspace: Workspace, text: str | None
) -> None:
    before, after = submitted(workspace, "1"), submitted(workspace, "1")
    found = why(with_lock(before, "a", LOCK), with_lock(after, "b", text))
    assert found.items == (Difference(Aspect.ENVIRONMENT, "lock", "a", "b"),)


def test_python_variant_arguments_seed_variables_and_machine(workspace: Workspace) -> None:
    before = submitted(workspace, "--lr", "1 e")
    after = replace(
        before,
        environment=replace(before.environment, python="3.12.1", variant="cuda"),
        arguments=("--lr", "2"),
        command=(sys.executable, "other.py"),
        seed=2,
        variables={"OMP_NUM_THREADS": "1"},
        machine=replace(before.machine, gpus=("H100",), host="there"),
    )
    found = why(before, after)
    assert [(item.aspect.value, item.name) for item in found.items] == [
        ("environment", "python"),
        ("environment", "variant"),
        ("arguments", "arguments"),
        ("arguments", "command"),
        ("arguments", "OMP_NUM_THREADS"),
        ("seed", "seed"),
        ("machine", "gpus"),
        ("machine", "host"),
    ]
    assert found.of(Aspect.ARGUMENTS)[0].before == "--lr '1 e'"


def test_data_is_named_by_its_top_level(workspace: Workspace) -> None:
    data = workspace.project.data
    (data / "digits").mkdir(parents=True)
    (data / "digits" / "a").write_text("1")
    (data / "words").write_text("1")
    before = submitted(workspace, "1")
    (data / "digits" / "a").write_text("22")
    after = submitted(workspace, "1")
    assert named(why(before, after), Aspect.DATA) == ["digits"]
    nameless = replace(after, data=replace(after.data, entries=before.data.entries))
    assert named(why(before, nameless), Aspect.DATA) == ["data"]


def test_a_partial_fingerprint_is_said(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    partial = replace(record, data=replace(record.data, digest="0:partial"))
    assert why(partial, partial).unknown == (Aspect.DATA,)
    assert why(record, record).unknown == ()


def trained(workspace: Workspace, *arguments: str) -> JobRecord:
    (workspace.project.root / "train.py").write_text(REAL)
    source = Path(__file__).parents[2] / "src"
    request = JobRequest(
        "train", arguments, seed=3, retries=0, environment={"PYTHONPATH": str(source)}
    )
    record = submit(workspace, request)
    assert finished(workspace, record).state.value == "SUCCEEDED", record.folder
    return record


def test_results_are_the_same_or_differ_in_something(workspace: Workspace) -> None:
    record = trained(workspace, "0", "1")
    again = rerun(workspace, record)
    finished(workspace, again)
    same = same_result(record, again)
    assert (same.same, same.reason, same.rows) == (True, "", 4)
    assert same.weights
    values = same_result(record, trained(workspace, "5", "1"))
    assert not values.same
    assert values.reason == "tracked values other than tensors, or random numbers"
    metrics = same_result(record, trained(workspace, "0", "2"))
    assert metrics.reason == "metrics: first at step 0"


def test_weights_that_differ_are_named(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.runtime import result
    from perdure.runtime.result import Result

    results = {
        "a": Result(3, True, "1" * 32, 0, "m", {"model.0": "x", "model.1": "y"}, "t"),
        "b": Result(3, True, "2" * 32, 0, "m", {"model.0": "x", "model.1": "z"}, "t"),
        "c": Result(4, True, "1" * 32, 0, "m", {}, "t"),
    }
    monkeypatch.setattr(result, "read_result", lambda run_dir: results[Path(run_dir).name])
    a, b, c = (submitted(workspace, "1", name=name) for name in "abc")
    assert same_result(a, b).reason == "weights: first `model.1`"
    assert same_result(a, c).reason == "step 3 against 4"


def test_what_saved_nothing_cannot_be_compared(workspace: Workspace) -> None:
    record = submitted(workspace, "1")
    assert (
        same_result(record, record).reason == f"`{record.job}` saved nothing that could be compared"
    )
