"""Manifests as text and as values: nothing is asked, and all that is written is right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from perdure.errors import UsageError
from perdure.hosts.pod_spec import PodSpec, desk, read_destination, require_person
from perdure.jobs import provenance
from perdure.model.job import (
    Code,
    Data,
    EnvironmentUsed,
    JobRecord,
    Limits,
    Machine,
    Resources,
)
from perdure.model.settings import KubernetesSettings
from perdure.model.yaml import as_yaml
from perdure.targets.kubernetes_manifest import Turn, job_name, manifest, notes_of, put

# 1.27 and 1.28 wrongly demand a field of a policy that is not ours; all are asked.
VERSIONS = [f"1.{minor}" for minor in range(25, 38)]
EVERYTHING = KubernetesSettings(
    "registry.example.org/cats@sha256:" + "0" * 64,
    "results",
    context="lab",
    namespace="cats",
    data="data",
    node_selector={"gpu": "a100", "example.org/zone": "b"},
    tolerations=("nvidia.com/gpu:NoSchedule", "team=vision", "spot=true:NoExecute"),
    priority_class="low",
    scheduler="runai-scheduler",
    queue="cats",
    service_account="trainer",
    pull_secret="registry",
    time_s=3600.0,
    lines=(
        "spec.template.spec.hostIPC: true",
        'spec.template.metadata.annotations."example.org/note": "a b"',
        'spec.template.spec.tolerations.-: {"key": "more", "operator": "Exists"}',
    ),
)
HOSTILE = ("a b", "'", '"', "$(PATH)", "$$", "a\nb", "\u00e9", "", "-x", "*", "yes", "1")


def spec_of(settings: KubernetesSettings) -> PodSpec:
    return PodSpec(
        "cats-0123abcd",
        settings.image,
        settings.results,
        1000,
        1001,
        context=settings.context,
        namespace=settings.namespace,
        data=settings.data,
        selector=json.dumps(dict(settings.node_selector)),
        service_account=settings.service_account,
        pull_secret=settings.pull_secret,
        scheduler=settings.scheduler,
        priority_class=settings.priority_class,
        notes=json.dumps(notes_of(settings)),
    )


def made(
    settings: KubernetesSettings = EVERYTHING, resources: Resources | None = None
) -> dict[str, Any]:
    job = record_of(resources)
    turn = Turn(job, "results/brave-otter", 3, ("python3", *HOSTILE), "/perdure/cats-0123abcd")
    return manifest(turn, settings, spec_of(settings))


def record_of(resources: Resources | None = None) -> JobRecord:
    return JobRecord(
        results=Path("/home/ada/cats/results"),
        job="brave-otter",
        task="train",
        arguments=(),
        submitted="2026-01-01T00:00:00+00:00",
        command=("python", "train.py"),
        seed=1,
        code=Code(None, False, "abc", 1, "abc"),
        environment=EnvironmentUsed(None, None, "", None),
        data=Data("", 0, 0),
        machine=Machine("", "", "", 0, 0.0, (), ""),
        versions=provenance.versions(),
        limits=Limits(30.0, 2),
        variables={"FOO": "$(HOME) 'x'\n"},
        resources=resources or Resources(gpus=2, cpus=1.5, memory_bytes=2**30),
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("settings", [EVERYTHING, KubernetesSettings("image", "results")])
def test_a_manifest_is_what_every_release_takes(version: str, settings: KubernetesSettings) -> None:
    kubernetes_validate.validate(made(settings), version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("part", [0, 3])
def test_so_is_that_of_each_of_several_nodes(version: str, part: int) -> None:
    job = record_of(Resources(nodes=4, gpus=8))
    turn = Turn(job, "results/brave-otter", 3, ("python3",), "/perdure/cats", part=part)
    found = manifest(turn, EVERYTHING, spec_of(EVERYTHING))
    kubernetes_validate.validate(found, version, strict=True)
    assert found["metadata"]["name"].endswith("-3-n3" if part else "-3")
    assert found["metadata"]["labels"]["perdure.dev/part"] == str(part)


@pytest.mark.parametrize("version", VERSIONS)
def test_so_is_that_of_the_pod_for_the_volumes(version: str) -> None:
    kubernetes_validate.validate(desk(spec_of(EVERYTHING).destination), version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_so_is_that_of_the_pod_for_a_service(version: str) -> None:
    spec = replace(spec_of(EVERYTHING), role="jupyter", gpus=2)
    made = desk(spec.destination)
    kubernetes_validate.validate(made, version, strict=True)
    assert made["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert read_destination(spec.destination) == spec
    # What a cluster asks of every pod it asks of this one, too.
    assert made["spec"]["schedulerName"] == "runai-scheduler"
    assert made["spec"]["priorityClassName"] == "low"
    assert made["metadata"]["annotations"] == {"example.org/note": "a b"}
    assert made["metadata"]["labels"]["perdure.dev/role"] == "jupyter"


def test_a_pod_without_wishes_is_the_one_that_it_was() -> None:
    plain = KubernetesSettings("i", "results")
    destination = spec_of(plain).destination
    assert "notes" not in destination
    assert desk(destination)["metadata"].keys() == {"name", "labels"}
    assert "schedulerName" not in desk(destination)["spec"]


def test_pods_do_not_run_as_root() -> None:
    spec = spec_of(EVERYTHING)
    require_person(spec)
    for wrong in (replace(spec, user_id=0), replace(spec, group_id=0)):
        with pytest.raises(UsageError, match="pods do not run as root"):
            require_person(wrong)


def test_a_wrong_key_would_be_found() -> None:
    wrong = made()
    wrong["spec"]["template"]["spec"]["priorityClas"] = "low"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_its_text_says_the_same() -> None:
    assert yaml.safe_load(as_yaml(made())) == made()


def test_the_same_job_has_the_same_text() -> None:
    assert as_yaml(made()) == as_yaml(made())


def test_nothing_of_a_command_is_taken_for_a_variable() -> None:
    container = made()["spec"]["template"]["spec"]["containers"][0]
    assert [word.replace("$$", "$") for word in container["command"]] == ["python3", *HOSTILE]
    assert "$$(PATH)" in container["command"]
    values = {each["name"]: each["value"] for each in container["env"]}
    assert values["FOO"] == "$$(HOME) 'x'\n"


def test_a_pod_has_no_rights_and_no_token() -> None:
    pod = made()["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (
        1000,
        1001,
    )
    assert pod["securityContext"]["fsGroup"] == 1001
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    shm = next(each for each in pod["volumes"] if each["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": str(2**29)}


def test_a_job_gets_what_it_asked_for_and_no_more() -> None:
    container = made()["spec"]["template"]["spec"]["containers"][0]
    got = {"cpu": "1.5", "memory": str(2**30), "nvidia.com/gpu": "2"}
    assert container["resources"] == {"requests": got, "limits": got}
    nothing = made(resources=Resources())["spec"]["template"]["spec"]["containers"][0]
    assert nothing["resources"] == {}


def test_a_word_that_is_no_text_is_refused() -> None:
    turn = Turn(record_of(), "results/brave-otter", 3, ("python3", "a\udcff"), "/perdure/cats")
    with pytest.raises(UsageError, match=r"`a\\xff` is not UTF-8"):
        manifest(turn, EVERYTHING, spec_of(EVERYTHING))


def test_a_users_lines_stand_in_their_place() -> None:
    pod = made()["spec"]["template"]
    assert pod["spec"]["hostIPC"] is True
    assert pod["metadata"]["annotations"]["example.org/note"] == "a b"
    assert pod["spec"]["tolerations"][-1] == {"key": "more", "operator": "Exists"}


@pytest.mark.parametrize(
    "line",
    [
        "spec.template.spec.containers.7.image: x",
        "spec.template.spec.restartPolicy.x.y: z",
        "kind.more: x",
        "no path",
        ": x",
    ],
)
def test_a_line_without_a_place_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        put(made(), line)


@pytest.mark.parametrize("place", ["results/UPPER_case.x", "results/-", "results/" + "a" * 200])
def test_the_name_of_a_job_is_one_that_kubernetes_takes(place: str) -> None:
    name = job_name("/perdure/x", place, 12)
    assert len(name) <= 63
    assert name.strip("-") == name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_a_destination_tells_all_of_a_pod() -> None:
    spec = spec_of(EVERYTHING)
    assert read_destination(spec.destination) == spec
