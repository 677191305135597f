"""What GCP is asked for: by its own discovery document, and by what it refuses beyond that."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import googleapiclient
import jsonschema
import pytest

from perdure.clouds import gcp_requests as requests
from perdure.clouds.gcp_provider import metrics
from perdure.clouds.provider import Group
from perdure.clouds.rest import Call
from perdure.clouds.user_data import user_data
from perdure.model.settings import CloudSettings
from tests.clouds.test_aws_requests import CONFIG

Values = dict[str, Any]

DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache/documents/compute.v1.json"
WANTED = CloudSettings(
    "europe-west4",
    "gs://lab/perdure",
    ("g2-standard-4", "g2-standard-8"),
    project="my-project",
)
FOLDER = "gs://lab/perdure/cats-01"
DATA = user_data(replace(CONFIG, cloud="gcp", address=FOLDER).text(), "gcp")
GROUP = Group(requests.group_name(FOLDER, "otter", 1), "otter", FOLDER, 1, DATA, None)
KINDS = ("InstanceTemplate", "InstanceGroupManager")


@pytest.fixture(scope="module")
def document() -> Values:
    found: Values = json.loads(DOCUMENT.read_text())
    return found


def strict(schema: Values) -> Values:
    """Return a schema of the document as JSON Schema has it: without what it does not name."""
    found = dict(schema)
    if "$ref" in found:
        return {"$ref": f"#/definitions/{found['$ref']}"}
    if "properties" in found:
        found["properties"] = {name: strict(each) for name, each in found["properties"].items()}
        found["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = strict(found[key])
    found.pop("required", None)
    found.pop("id", None)
    return found


def errors(document: Values, kind: str, body: Values) -> list[str]:
    definitions = {name: strict(each) for name, each in document["schemas"].items()}
    schema = {"$ref": f"#/definitions/{kind}", "definitions": definitions}
    validator = jsonschema.Draft4Validator(schema)
    return [each.message for each in validator.iter_errors(body)]


@pytest.mark.parametrize("market", ["spot", "on-demand"])
def test_the_discovery_document_takes_it(document: Values, market: str) -> None:
    for types in (WANTED.types, WANTED.types[:1]):
        wanted = replace(WANTED, market=market, types=types)
        for kind, call in zip(KINDS, requests.starting(wanted, GROUP), strict=True):
            assert errors(document, kind, call.body or {}) == []
            assert requests.problems(call) == []


def test_methods_and_paths_are_those_of_the_document(document: Values) -> None:
    calls = {
        "instanceTemplates.insert": requests.template(WANTED, GROUP),
        "regionInstanceGroupManagers.insert": requests.manager(WANTED, GROUP),
        "regionInstanceGroupManagers.resize": requests.resize(WANTED, GROUP.name, 0),
        "firewalls.get": requests.rule(WANTED, "a-rule"),
    }
    for name, call in calls.items():
        resource, _, verb = name.partition(".")
        method = document["resources"][resource]["methods"][verb]
        known = {"project": "my-project", "region": "europe-west4"}
        path = method["path"].format(**known, instanceGroupManager=GROUP.name, firewall="a-rule")
        assert (method["httpMethod"], path) == (call.method, call.path)
        assert set(call.query) <= method["parameters"].keys()
    assert "sourceRanges" in document["schemas"]["Firewall"]["properties"]


def test_the_document_refuses_what_is_wrong(document: Values) -> None:
    body = copy.deepcopy(requests.template(WANTED, GROUP).body)
    assert body is not None
    body["properties"]["scheduling"]["provisioningModel"] = "CHEAP"
    body["properties"]["machinetype"] = "x"
    found = " ".join(errors(document, KINDS[0], body))
    assert "CHEAP" in found
    assert "machinetype" in found


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda body: body["scheduling"].update(automaticRestart=True), "nor moves"),
        (lambda body: body["scheduling"].update(instanceTerminationAction="STOP"), "kept"),
        (lambda body: body["scheduling"]["maxRunDuration"].update(seconds="9"), "30 s"),
        (
            lambda body: body["scheduling"]["preemptionNoticeDuration"].update(seconds="121"),
            "notice",
        ),
        (lambda body: body["metadata"]["items"][0].update(value="x" * 300_000), "user-data"),
        (lambda body: body["labels"].update(perdure="gs://no/label"), "no label"),
    ],
)
def test_what_gcp_refuses_beyond_it(change: Callable[[Values], object], word: str) -> None:
    call = requests.template(WANTED, GROUP)
    body = copy.deepcopy(call.body or {})
    change(body["properties"])
    found = requests.problems(Call(call.method, call.path, body))
    assert len(found) == 1
    assert word in found[0]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda body: body.update(targetSize=2), "one machine"),
        (lambda body: body.update(name="Perdure"), "no name"),
        (lambda body: body["distributionPolicy"].update(targetShape="EVEN"), "another shape"),
        (
            lambda body: body["updatePolicy"].update(instanceRedistributionType="PROACTIVE"),
            "exclude",
        ),
    ],
)
def test_groups_that_gcp_refuses(change: Callable[[Values], object], word: str) -> None:
    call = requests.manager(WANTED, GROUP)
    body = copy.deepcopy(call.body or {})
    change(body)
    assert word in " ".join(requests.problems(Call(call.method, call.path, body)))


def test_names_tell_jobs_apart_and_are_names() -> None:
    odd = "A Job: with ümläuts and 'quotes' " * 8
    jobs = ("x", "X", "x y", "x-y", "ü", odd)
    named = {requests.group_name(FOLDER, job, turn) for job in jobs for turn in (1, 2)}
    assert len(named) == 12
    for name in named:
        body = {**(requests.manager(WANTED, GROUP).body or {}), "name": name}
        assert requests.problems(Call("POST", "x", body)) == []


def test_who_a_group_is_of_is_in_its_description() -> None:
    told = requests.told(FOLDER, "otter")
    assert requests.whose(told) == (FOLDER, "otter")
    assert requests.whose("somebody's own") == ("", "")
    assert requests.whose(None) == ("", "")


def test_it_is_explained_without_a_token() -> None:
    text = requests.words(requests.template(WANTED, GROUP), "https://compute.googleapis.com/")
    assert text.startswith("curl -sS -X POST")
    assert "gcloud auth print-access-token" in text


def test_the_quotas_that_count_are_those_of_processors_and_gpus() -> None:
    types = {
        "g2": {"accelerators": [{"guestAcceleratorType": "nvidia-l4"}]},
        "a2": {"accelerators": [{"guestAcceleratorType": "nvidia-a100-80gb"}]},
        "n1": {"accelerators": [{"guestAcceleratorType": "nvidia-tesla-t4"}]},
        "e2": {},
    }
    gpus = ["NVIDIA_A100_80GB_GPUS", "NVIDIA_L4_GPUS", "NVIDIA_T4_GPUS"]
    compute = json.loads(DOCUMENT.read_text())
    named = compute["schemas"]["Quota"]["properties"]["metric"]["enum"]
    assert {*gpus, *(f"PREEMPTIBLE_{each}" for each in gpus)} <= {*named}
    known = {each: {"limit": 1.0} for each in ("CPUS", *gpus)}
    assert metrics("spot", types, known) == ["CPUS", *gpus]
    # Not granted as long as it is 0.
    known["PREEMPTIBLE_CPUS"], known["PREEMPTIBLE_NVIDIA_L4_GPUS"] = {"limit": 0}, {"limit": 1}
    found = metrics("spot", types, known)
    assert found == ["CPUS", gpus[0], "PREEMPTIBLE_NVIDIA_L4_GPUS", gpus[2]]
    assert metrics("on-demand", {"e2": {}}, known) == ["CPUS"]
