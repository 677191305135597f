"""What can be tracked, and that it is put back in place."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDClassifier

from perdure.runtime import state
from perdure.runtime.arrays import Region
from perdure.runtime.faults import MismatchError, StateError
from perdure.runtime.staging import Staging
from perdure.runtime.tracked import Item, adapt


def saved(item: Item) -> object:
    """Return the item's state as it comes from a checkpoint: other memory, same bits."""
    encoded = state.encode(item.get(), item.name)
    staging = Staging()
    staging.fill(encoded.arrays)

    def fetch(name: str) -> Region:
        region = staging.region(name)
        return Region(bytearray(region.memory[region.offset :][: region.nbytes]), 0, region.nbytes)

    return state.decode(encoded.tree, fetch, item.get())


def test_a_module_is_put_back_and_its_ties_hold() -> None:
    first, second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    second.weight = first.weight
    model = torch.nn.Sequential(first, second)
    item = adapt("model", model)
    assert item.weights
    assert item.copies
    before = saved(item)
    wanted = first.weight.detach().clone()
    torch.nn.init.zeros_(first.weight)
    item.put(before)
    assert torch.equal(first.weight, wanted)
    assert second.weight is first.weight


def test_another_model_is_refused_with_all_names_and_shapes() -> None:
    before = saved(adapt("model", torch.nn.Sequential(torch.nn.Linear(3, 4))))
    other = adapt("model", torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 2)))
    with pytest.raises(MismatchError) as caught:
        other.put(before)
    text = str(caught.value)
    assert "`0.weight` is [5, 3] in the model, [4, 3] in the checkpoint" in text
    assert "`1.weight` is not in the checkpoint" in text
    assert "hint:" in text


def test_a_long_list_of_differences_is_cut() -> None:
    wide = adapt("model", torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(15))))
    with pytest.raises(MismatchError, match="and 10 more"):
        wide.put({})


def test_names_the_model_lacks_are_listed() -> None:
    with pytest.raises(MismatchError, match="`gone` is not in the model"):
        adapt("model", torch.nn.Linear(1, 1)).put({"gone": torch.zeros(1)})


def test_an_optimizer_comes_back_and_names_itself_when_it_cannot() -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    item = adapt("optimizer", optimizer)
    before = saved(item)
    optimizer.step()
    item.put(before)
    assert float(optimizer.state[model.weight]["step"]) == 1
    with pytest.raises(MismatchError, match="`optimizer` does not take"):
        item.put({"state": {}, "param_groups": []})


@pytest.mark.parametrize(
    ("make", "draw"),
    [
        (lambda: random.Random(3), lambda g: g.random()),
        (lambda: np.random.default_rng(3), lambda g: g.random()),
        (lambda: torch.Generator().manual_seed(3), lambda g: torch.rand(1, generator=g).item()),
    ],
)
def test_generators_of_ones_own_are_tracked(
    make: Callable[[], object], draw: Callable[[object], float]
) -> None:
    generator = make()
    draw(generator)
    item = adapt("generator", generator)
    before = saved(item)
    wanted = [draw(generator) for _ in range(3)]
    item.put(before)
    assert [draw(generator) for _ in range(3)] == wanted


def test_a_pair_of_functions_is_tracked() -> None:
    box = [1]
    item = adapt("box", (lambda: box[0], lambda value: box.__setitem__(0, value)))
    before = saved(item)
    box[0] = 5
    item.put(before)
    assert box == [1]


def test_a_tree_is_put_back_in_place() -> None:
    weights, bias = torch.zeros(2), np.zeros(2)
    nested = {"w": weights, "b": bias, "list": [1, {"n": 2}], "gone": 0}
    item = adapt("tree", nested)
    before = saved(item)
    inner = nested["list"]
    weights += 1
    bias += 1
    nested["list"][1]["n"] = 9  # type: ignore[index]
    nested["new"] = 1
    del nested["gone"]
    item.put(before)
    assert nested["w"] is weights
    assert nested["b"] is bias
    assert nested["list"] is inner
    assert weights.tolist() == [0, 0]
    assert bias.tolist() == [0, 0]
    assert nested["list"] == [1, {"n": 2}]
    assert list(nested) == ["w", "b", "list", "gone"]


def test_what_changed_its_kind_is_replaced() -> None:
    tree: dict[str, object] = {"a": np.zeros(2), "l": [1, 2]}
    adapt("tree", tree).put({"a": np.zeros(3), "l": [1, 2, 3], "n": np.float32(1)})
    assert tree["a"].shape == (3,)  # type: ignore[attr-defined]
    assert tree["l"] == [1, 2, 3]


def test_an_array_alone_is_tracked_but_only_in_place() -> None:
    table = np.arange(3.0)
    item = adapt("table", table)
    before = saved(item)
    table[:] = 7
    item.put(before)
    assert table.tolist() == [0, 1, 2]
    with pytest.raises(MismatchError, match="`table`"):
        item.put(np.zeros(4))
    frozen = np.zeros(1)
    frozen.flags.writeable = False
    with pytest.raises(MismatchError, match="`frozen`"):
        adapt("frozen", frozen).put(np.zeros(1))


def test_an_estimator_goes_on_where_it_was() -> None:
    data, labels = np.random.default_rng(0).random((40, 3)), np.arange(40) % 2
    straight = SGDClassifier(random_state=0)
    straight.partial_fit(data, labels, classes=[0, 1])
    before = saved(adapt("classifier", straight))
    straight.partial_fit(data, labels)
    resumed = SGDClassifier(random_state=0)
    adapt("classifier", resumed).put(before)
    resumed.partial_fit(data, labels)
    assert np.array_equal(straight.coef_, resumed.coef_)


@pytest.mark.parametrize("value", [3, "text", None, (1, 2), np.float32(1), object()])
def test_what_cannot_change_in_place_is_refused(value: object) -> None:
    with pytest.raises(StateError, match="`thing`"):
        adapt("thing", value)
