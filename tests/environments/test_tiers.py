from pathlib import Path

import pytest

from perdure.environments.tiers import assign
from perdure.model.image import Requirement, Tier

ROOT = Path("/a project")


def packages(*names: str) -> list[Requirement]:
    return [Requirement(name, "1.0", ()) for name in names]


def test_at_first_weight_decides() -> None:
    found = assign(
        packages("numpy", "torch", "scipy"), {"numpy": 17_000_000, "scipy": 40_000_000}, None
    )
    assert dict(found) == {"numpy": Tier.MID, "scipy": Tier.HEAVY, "torch": Tier.HEAVY}
    assert list(found) == ["numpy", "scipy", "torch"]


@pytest.mark.parametrize(
    "name",
    [
        *("torch", "torchvision", "torchaudio", "triton", "nvidia-cudnn-cu13", "cuda-toolkit"),
        *("xla", "tensorflow", "tensorflow-cpu", "jax", "jaxlib", "jax-cuda13-plugin"),
    ],
)
def test_without_sizes_names_decide(name: str) -> None:
    assert assign(packages(name), {}, None)[name] is Tier.HEAVY


@pytest.mark.parametrize("name", ["torchmetrics", "numpy", "pytorch-lightning", "nvidia", "raylib"])
def test_a_name_that_only_sounds_heavy_is_not(name: str) -> None:
    assert assign(packages(name), {}, None)[name] is Tier.MID


def test_a_known_size_is_better_than_a_name() -> None:
    assert (
        assign(packages("cuda-toolkit"), {"cuda-toolkit": 2000}, None)["cuda-toolkit"] is Tier.MID
    )


def test_what_the_project_brings_along_changes_with_it() -> None:
    own = Requirement("own", "1.0", (), file=ROOT / "vendor/torch-1.0-py3-none-any.whl")
    other = Requirement("other", "1.0", (), file=Path("/elsewhere/other-1.0-py3-none-any.whl"))
    found = assign([own, other], {"own": 90_000_000, "other": 90_000_000}, None, ROOT)
    assert dict(found) == {"other": Tier.HEAVY, "own": Tier.LIGHT}


def test_from_lock_to_lock_nothing_moves_and_the_new_lands_on_top() -> None:
    before = {"torch": Tier.MID, "gone": Tier.HEAVY, "own": Tier.HEAVY}
    own = Requirement("own", "2.0", (), file=ROOT / "own.whl")
    found = assign([own, *packages("torch", "jax")], {"jax": 90_000_000}, before, ROOT)
    assert dict(found) == {"jax": Tier.LIGHT, "own": Tier.HEAVY, "torch": Tier.MID}


def test_what_went_and_came_back_is_new() -> None:
    without = assign(packages("numpy"), {}, {"numpy": Tier.MID, "torch": Tier.HEAVY})
    assert assign(packages("numpy", "torch"), {}, without)["torch"] is Tier.LIGHT


def test_an_empty_lock_before_has_no_layer_to_spare() -> None:
    assert assign(packages("torch"), {}, {})["torch"] is Tier.HEAVY
