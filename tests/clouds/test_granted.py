"""What GCP and Azure have to allow is what setup says: with it all can be done, without it not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.clouds import azure_setup, gcp_provider, gcp_setup
from perdure.clouds.azure_provider import AzureProvider
from perdure.clouds.gcp_provider import GcpProvider
from perdure.clouds.provider import Group, Provider
from perdure.clouds.providers import open_provider
from perdure.errors import EnvironmentFailed
from tests.clouds import test_azure_requests, test_gcp_requests
from tests.clouds.azure_plane import AzurePlane
from tests.clouds.google_plane import GooglePlane
from tests.clouds.planes import USER, Plane

GROUPS = {"gcp": test_gcp_requests.GROUP, "azure": test_azure_requests.GROUP}
WANTED = {"gcp": test_gcp_requests.WANTED, "azure": test_azure_requests.WANTED}
SIZES = {"gcp": ("e2-standard-4",), "azure": ("Standard_D4s_v5",)}


@pytest.fixture(params=["gcp", "azure"])
def cloud(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Plane, Provider, Group]]:
    # The libraries look where they are once a process: tests/clouds/test_planes.py has them.
    for each in (AzureProvider, GcpProvider):
        monkeypatch.setattr(each, "_token", lambda self: USER)
    monkeypatch.setattr(gcp_provider, "_LOOK_S", 0.01)
    monkeypatch.setattr(GcpProvider, "_credentials", lambda self: None)
    kind = request.param
    plane = (GooglePlane if kind == "gcp" else AzurePlane)(tmp_path / "machines")
    for name, value in plane.user.items():
        monkeypatch.setenv(name, value)
    wanted = replace(WANTED[kind], types=SIZES[kind])
    yield plane, open_provider(kind, wanted, kind), GROUPS[kind]
    plane.close()


def look(provider: Provider, group: Group) -> list[str]:
    """Return what is no good, of what submitting and `perdure doctor` ask for first."""
    provider.identity()
    assert list(provider.gpus().values()) == [0]
    found = provider.examine(group.folder)
    return [each.name for each in found if each.verdict == "problem"]


def do_all(provider: Provider, group: Group) -> None:
    """Do what submitting, looking and clearing up ask a provider for."""
    provider.start(group)
    assert provider.groups(group.folder) == {group.name: (group.job, 1)}
    provider.templates(group.folder)
    assert provider.machines(group.folder) == {}
    provider.end_machines(["europe-west4-a/perdure-x"])
    provider.forget(group.name)
    assert provider.groups(group.folder) == {}


def test_whoever_has_what_is_printed_can_do_all(cloud: tuple[Plane, Provider, Group]) -> None:
    plane, provider, group = cloud
    assert look(provider, group) == []
    do_all(provider, group)
    printed = provider.preparation().setup_text()
    assert all(f"#   {permission}" in printed.splitlines() for _, permission in plane.may)


NETWORKS = ("192.0.2.0/24", "198.51.100.7/32")
RULES = {
    "gcp": (gcp_setup.opening_rule, "compute.firewalls.get"),
    "azure": (
        azure_setup.opening_rule,
        "Microsoft.Network/networkSecurityGroups/securityRules/read",
    ),
}


def test_doctor_sees_who_may_visit(cloud: tuple[Plane, Provider, Group]) -> None:
    plane, provider, group = cloud
    visited = replace(provider.wanted, ssh_from=NETWORKS)
    kind = "gcp" if isinstance(plane, GooglePlane) else "azure"
    name, permission = RULES[kind]

    def seen(**changes: tuple[str, ...]) -> tuple[str, str]:
        found = open_provider(kind, replace(visited, **changes), kind).examine(group.folder)  # type: ignore[arg-type]
        (said,) = [each for each in found if each.name == "ssh_from"]
        return said.verdict, said.told

    # Whoever may not see it is told so, and all else is looked at.
    verdict, told = seen()
    assert (verdict, permission in told) == ("warning", True)
    assert f"#   {permission}" in open_provider(kind, visited, kind).preparation().setup_text()
    plane.may.add(("project" if kind == "gcp" else "group", permission))
    assert seen() == ("problem", f"not let in yet: {', '.join(NETWORKS)}")
    if isinstance(plane, GooglePlane):
        plane.firewalls[name(visited)] = {"sourceRanges": [*NETWORKS]}
    elif isinstance(plane, AzurePlane):
        plane.rules[name(visited)] = {"properties": {"sourceAddressPrefixes": [*NETWORKS]}}
    assert seen() == ("ok", "192.0.2.0/24, 198.51.100.7/32, at port 2222")
    if isinstance(plane, AzurePlane):  # where there is one it is no list
        plane.rules[name(visited)] = {"properties": {"sourceAddressPrefix": NETWORKS[0]}}
        assert seen(ssh_from=NETWORKS[:1])[0] == "ok"
    assert seen(ssh_from=NETWORKS[:1])[0] == ("ok" if kind == "azure" else "warning")


@pytest.mark.parametrize(
    ("cloud", "lacking"),
    [
        ("gcp", ("project", "compute.globalOperations.get")),
        ("gcp", ("project", "compute.regionOperations.get")),
        ("azure", ("subscription", "Microsoft.Compute/skus/read")),
        ("azure", ("subscription", "Microsoft.Compute/locations/usages/read")),
    ],
    indirect=["cloud"],
)
def test_whoever_lacks_one_of_it_cannot(
    cloud: tuple[Plane, Provider, Group], lacking: tuple[str, str]
) -> None:
    plane, provider, group = cloud
    plane.may.remove(lacking)
    # A role in a resource group has no say in the subscription around it.
    plane.may.add(("group", lacking[1]))
    act = look if lacking[0] == "subscription" else do_all
    with pytest.raises(EnvironmentFailed, match=f"permission denied: Required '{lacking[1]}'"):
        act(provider, group)


def test_what_the_bucket_wants_is_told_apart() -> None:
    google = gcp_setup.preparation(WANTED["gcp"]).setup_text()
    (at,) = [n for n, line in enumerate(google.splitlines()) if "on the bucket gs://lab" in line]
    assert "#   storage.objects.create" in google.splitlines()[at:]
    azure = azure_setup.preparation(WANTED["azure"]).setup_text()
    assert "in the container labstorage/jobs, as `Storage Blob Data Contributor` has it" in azure
