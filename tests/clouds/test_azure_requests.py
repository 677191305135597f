"""What Azure is asked for: by the models of its own SDK, and by what it refuses beyond them."""

from __future__ import annotations

import copy
import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from azure.mgmt.compute import models

from perdure.clouds import azure_prices
from perdure.clouds import azure_requests as requests
from perdure.clouds.azure_provider import allows, is_refused
from perdure.clouds.provider import Group, Price
from perdure.clouds.rest import Call
from perdure.clouds.user_data import user_data
from perdure.model.settings import CloudSettings
from tests.clouds.test_aws_requests import CONFIG

Values = dict[str, Any]

WANTED = CloudSettings(
    "westeurope",
    "az://jobs/perdure",
    ("Standard_NC4as_T4_v3", "Standard_NC8as_T4_v3"),
    subscription="00000000-1111-2222-3333-444444444444",
    group="perdure",
    account="labstorage",
)
FOLDER = "az://jobs/perdure/cats-01"
DATA = user_data(replace(CONFIG, cloud="azure", address=FOLDER, storage="lab").text(), "azure")
GROUP = Group(requests.group_name(FOLDER, "otter", 1), "otter", FOLDER, 1, DATA, None)


def body_of(wanted: CloudSettings = WANTED) -> Values:
    return copy.deepcopy(requests.scale_set(wanted, GROUP).body or {})


def harmed(change: Callable[[Values], object]) -> list[str]:
    call, body = requests.scale_set(WANTED, GROUP), body_of()
    change(body)
    return requests.problems(Call(call.method, call.path, body, call.query))


@pytest.mark.parametrize("market", ["spot", "on-demand"])
def test_the_models_of_azures_sdk_take_it(market: str) -> None:
    for types in (WANTED.types, WANTED.types[:1]):
        wanted = replace(WANTED, market=market, types=types)
        body = body_of(wanted)
        assert unknown(models.VirtualMachineScaleSet, body) == []
        assert requests.problems(requests.scale_set(wanted, GROUP)) == []
    update = {"sku": {"name": "Mix", "capacity": 0}}
    assert unknown(models.VirtualMachineScaleSetUpdate, update) == []


def test_the_models_refuse_what_is_wrong() -> None:
    body = body_of()
    body["properties"]["virtualMachineProfile"]["spotRestorePolicy"] = {"enabled": True}
    body["properties"]["orchestrationMode"] = "Rigid"
    found = unknown(models.VirtualMachineScaleSet, body)
    assert "properties.virtualMachineProfile.spotRestorePolicy" in found
    assert "properties.orchestrationMode: Rigid" in found


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda body: body["sku"].update(capacity=2), "one machine"),
        (lambda body: body["sku"].update(name="Standard_NC4as_T4_v3"), "as a mix"),
        (lambda body: machine(body).update(evictionPolicy="Deallocate"), "kept"),
        (lambda body: machine(body).update(priority="Regular"), "evicted"),
        (lambda body: machine(body).update(spotRestorePolicy={}), "passed over"),
        (lambda body: machine(body)["osProfile"].update(customData="eHh4" * 22000), "user-data"),
        (lambda body: body["tags"].update({"a/b": "x"}), "no tag"),
    ],
)
def test_what_azure_refuses_beyond_them(change: Callable[[Values], object], word: str) -> None:
    found = harmed(change)
    assert len(found) == 1
    assert word in found[0]


def machine(body: Values) -> Values:
    found: Values = body["properties"]["virtualMachineProfile"]
    return found


def test_nobody_has_the_key_that_lets_somebody_in() -> None:
    key = requests.nobodys_key("a")
    assert key.startswith("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI")
    assert key == requests.nobodys_key("a") != requests.nobodys_key("b")


@pytest.mark.parametrize("gpus", [0, 1])
def test_images_have_a_python_that_the_program_takes(gpus: int) -> None:
    """That of Ubuntu 24.04 is 3.12, that of 22.04 is 3.10: packages.ubuntu.com."""
    image = requests.image_of(WANTED, gpus)
    assert "24_04" in image["offer"] or image["sku"] == "2404"


def test_a_size_that_one_zone_lacks_can_be_had() -> None:
    """As `ResourceSkuRestrictions` of the REST API reference has it, with Azure's own words."""
    assert is_refused({"restrictions": [{"type": "Zone"}, {"type": "Location"}]})
    assert not is_refused({"restrictions": [{"type": "Zone", "values": ["westeurope"]}]})
    assert not is_refused({"restrictions": []})
    assert not is_refused({})


def test_permissions_have_wildcards_and_exceptions() -> None:
    granted = [{"actions": ["Microsoft.Compute/*"], "notActions": ["*/delete"]}]
    assert allows(granted, "Microsoft.Compute/virtualMachines/write")
    assert not allows(granted, "Microsoft.Compute/virtualMachines/delete")
    assert not allows(granted, "Microsoft.Network/virtualNetworks/read")


def test_a_price_is_that_of_linux_spot_and_on_demand() -> None:
    def item(sku: str, price: float, product: str = "NCASv3 T4") -> Values:
        known = {"productName": product, "unitOfMeasure": "1 Hour"}
        return {"skuName": sku, "retailPrice": price, **known}

    items = [
        item("NC4as T4 v3", 0.6),
        item("NC4as T4 v3 Spot", 0.1),
        item("NC4as T4 v3 Low Priority", 0.12),
        item("NC4as T4 v3 Spot", 0.05, "NCASv3 T4 Windows"),
    ]
    assert azure_prices.price_of(items) == Price(0.1, 0.6)
    assert azure_prices.price_of([]) == Price(None, None)
    # Nobody listens there.
    assert azure_prices.prices(("x",), "westeurope", "http://127.0.0.1:9/prices") == {}


def unknown(model: Any, body: Values, at: str = "") -> list[str]:  # noqa: ANN401
    """Return what of a body a model does not have: its fields, and the words of enumerations."""
    fields = fields_of(model)
    found = []
    for key, value in body.items():
        here = f"{at}{key}"
        if key not in fields:
            found.append(here)
            continue
        kind = fields[key]
        for each in value if isinstance(value, list) else [value]:
            found += wrong(kind, each, here)
    return found


def wrong(kind: str, value: Any, here: str) -> list[str]:  # noqa: ANN401
    known = words_of(kind)
    if known and value not in known:
        return [f"{here}: {value}"]
    inner = model_in(kind)
    return (
        unknown(inner, value, f"{here}.") if inner is not None and isinstance(value, dict) else []
    )


def fields_of(model: Any) -> dict[str, str]:  # noqa: ANN401
    """Return the fields that a model of the SDK has in JSON, with what they hold as text."""
    found = {}
    for each in reversed(model.__mro__):
        for name, kind in vars(each).get("__annotations__", {}).items():
            field = vars(each).get(name)
            if type(field).__name__ == "_RestField":
                # A field whose name is the same in JSON has none of its own.
                found[field._rest_name_input or name] = str(kind)
    return found


def named_in(kind: str) -> Iterator[Any]:
    for name in re.findall(r"_models\.(\w+)", kind):
        yield getattr(models, name)


def words_of(kind: str) -> set[str]:
    return {
        each.value
        for found in named_in(kind)
        if isinstance(found, type) and issubclass(found, enum.Enum)
        for each in found
    }


def model_in(kind: str) -> Any:  # noqa: ANN401
    if "dict[" in kind:
        return None
    return next((each for each in named_in(kind) if not issubclass(each, enum.Enum)), None)
