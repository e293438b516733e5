"""Arrays by PyTorch's names and by those of the program, each made of the other; what does not fit is named."""

import inspect
import re

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import BindingError


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        self.fc1, self.norm, self.fc2 = nn.Linear(width, 3), nn.BatchNorm1d(3), nn.Linear(3, width)

    def forward(self, x: gg.Tensor) -> gg.Tensor:
        return x + self.fc2(nn.relu(self.norm(self.fc1(x))))


THEIRS = {
    "fc1.weight": (3, 4), "fc1.bias": (3,), "norm.weight": (3,), "norm.bias": (3,), "norm.running_mean": (3,),
    "norm.running_var": (3,), "norm.num_batches_tracked": (), "fc2.weight": (4, 3), "fc2.bias": (4,),
}  # fmt: skip


def drawn(shapes: dict[str, tuple[int, ...]], front: str = "") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {front + name: rng.standard_normal(shape) for name, shape in shapes.items()}


def test_there_and_back() -> None:
    block = Block(4)
    theirs = drawn(THEIRS)
    ours = nn.load_state_dict(block, theirs)
    assert list(ours) == [f"block_{name.replace('.', '_')}" for name in THEIRS]
    assert nn.state_dict(block, {**ours, "other": np.zeros(2)}) == theirs


def test_layers_in_a_dict_or_a_list_have_its_keys_in_front() -> None:
    first, second = Block(4), nn.Linear(2, 1)
    both = {**drawn(THEIRS, "first."), **drawn({"second.weight": (1, 2), "second.bias": (1,)})}
    assert len(nn.load_state_dict({"first": first, "second": second}, both)) == len(both)
    assert list(nn.state_dict_names([second, nn.ReLU()]).values()) == ["0.weight", "0.bias"]


def test_a_layer_that_stands_twice_is_stored_twice_as_in_pytorch() -> None:
    shared = nn.Linear(2, 2)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    theirs = nn.state_dict(net, {str(x.name): np.ones(x.shape) for _, x in nn.named_parameters(net)})
    assert list(theirs) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(nn.load_state_dict(net, theirs)) == 2
    assert [name for name, _ in nn.named_parameters(net)] == ["0.weight", "0.bias"]


def test_what_does_not_fit_is_named_at_once() -> None:
    block, theirs = Block(4), drawn(THEIRS)
    theirs["fc1.weight"] = theirs["fc1.weight"].T
    theirs["fc3.weight"] = theirs.pop("fc2.weight")
    with pytest.raises(BindingError) as raised:
        nn.load_state_dict(block, theirs)
    line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    assert str(raised.value) == (
        f"test_state_dicts.py:{line}: the state_dict does not fit the layers: lacks fc2.weight; has unknown "
        "fc3.weight; fc1.weight has the shape (4, 3) for (3, 4)."
    )
    theirs["fc1.weight"] = theirs["fc1.weight"].T
    assert len(nn.load_state_dict(block, theirs, strict=False)) == len(THEIRS) - 1
    with pytest.raises(BindingError, match=re.escape("what is given does not fit the layers: lacks block_fc2_weight.")):
        nn.state_dict(block, nn.load_state_dict(block, theirs, strict=False))
