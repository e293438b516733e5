"""What the tables of activations, losses and normalisations cannot say: refusals, and what training carries."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import DTypeError, GradgenError, GraphError, OptionError, ShapeError
from tests.cpu.running import unjitted

N, T = gg.size("N"), gg.size("T")
X = gg.input("x", (N, 4))
SERIES = gg.input("series", (N, 4, 5))
FRAMES = gg.input("frames", (T, 3, 4))
TARGETS = gg.input("targets", (3, 2), "int64")
LENGTHS = gg.input("lengths", (3,), "int64")
LABELS = gg.input("labels", (N,), "int64")
W = gg.input("w", (3,))
RNG = np.random.default_rng(5)

REFUSED: list[tuple[Callable[[], object], type[GradgenError], str]] = [
    # activations
    (lambda: nn.gelu(X, "erf"), OptionError, 'gelu has no approximation \'erf\': give "none" or "tanh".'),
    (
        lambda: nn.prelu(X, W),
        ShapeError,
        "prelu of x (N, 4) with w (3): there is one slope for all, or one for each channel along axis 1.",
    ),
    (
        lambda: nn.PReLU(0, name="act"),
        ShapeError,
        "act has 0 for its number of slopes: give 1 or more.",
    ),
    (lambda: nn.glu(SERIES), ShapeError, "axis 2 of series (N, 4, 5) cannot be split into 2 equal parts."),
    # losses
    (lambda: nn.mse_loss(X, X, "all"), OptionError, 'mse_loss has no reduction \'all\': give "mean", "sum" or "none".'),
    (
        lambda: nn.KLDivLoss("all")(X, X),
        OptionError,
        'kl_div has no reduction \'all\': give "mean", "sum", "none" or "batchmean".',
    ),
    (
        lambda: nn.huber_loss(X, W),
        ShapeError,
        "huber_loss of x (N, 4) with w (3): the shapes must be equal.",
    ),
    (lambda: nn.huber_loss(X, X, delta=0.0), OptionError, "huber_loss has the delta 0.0: give a positive one."),
    (lambda: nn.smooth_l1_loss(X, X, beta=-1.0), OptionError, "smooth_l1_loss has the beta -1.0: give 0 or more."),
    (
        lambda: nn.cross_entropy(X, LABELS, reduction="all"),
        OptionError,
        'cross_entropy has no reduction \'all\': give "mean", "sum" or "none".',
    ),
    (
        lambda: nn.cross_entropy(X, LABELS, label_smoothing=2.0),
        OptionError,
        "cross_entropy has the label_smoothing 2.0: give 0 to 1.",
    ),
    (
        lambda: nn.cross_entropy(X, X, ignore_index=1),
        GraphError,
        "cross_entropy of probabilities has no label to ignore: leave out ignore_index.",
    ),
    (
        lambda: nn.nll_loss(X, LABELS, W),
        ShapeError,
        "the weight of nll_loss has one factor for each of the 4 classes, not w (3).",
    ),
    (
        lambda: nn.nll_loss(X, X[:, 0]),
        DTypeError,
        "the labels of nll_loss are integers; the tensor of test_norm.py:LINE (N) is float32.",
    ),
    (lambda: nn.multi_margin_loss(X, LABELS, p=3), OptionError, "multi_margin_loss has the power 3: give 1 or 2."),
    (
        lambda: nn.classify(gg.input("u", ())),
        ShapeError,
        "classify takes scores along an axis of classes, not u ().",
    ),
    (
        lambda: nn.ctc_loss(X, TARGETS, LENGTHS, LENGTHS),
        ShapeError,
        "ctc_loss takes log-probabilities (T, N, C), not x (N, 4).",
    ),
    (
        lambda: nn.ctc_loss(FRAMES, LENGTHS, LENGTHS, LENGTHS),
        ShapeError,
        "ctc_loss of frames (T, 3, 4) with lengths (3): the targets must have the shape (N, S).",
    ),
    (
        lambda: nn.ctc_loss(FRAMES, TARGETS, W, LENGTHS),
        DTypeError,
        "targets and lengths of ctc_loss are integers; w (3) is float32.",
    ),
    (
        lambda: nn.ctc_loss(FRAMES, TARGETS, LABELS, LENGTHS),
        ShapeError,
        "ctc_loss of frames (T, 3, 4) with labels (N): give a length for each sequence.",
    ),
    # normalisations
    (
        lambda: nn.LayerNorm((2, 4), name="norm")(X),
        ShapeError,
        "norm takes the sizes (2, 4) along the last axes, and is given x (N, 4).",
    ),
    (
        lambda: nn.RMSNorm((), name="norm"),
        ShapeError,
        "norm has no sizes for its normalized_shape: give one or more.",
    ),
    (
        lambda: nn.LayerNorm((2, 0), name="norm"),
        ShapeError,
        "norm has 0 for its number of elements along an axis: give 1 or more.",
    ),
    (
        lambda: nn.GroupNorm(3, 4, name="norm"),
        ShapeError,
        "norm has 4 channels, which do not fall into 3 equal groups.",
    ),
    (
        lambda: nn.GroupNorm(2, 6, name="norm")(X),
        ShapeError,
        "norm takes 6 channels along axis 1, and is given x (N, 4).",
    ),
    (
        lambda: nn.group_norm(X, 3),
        ShapeError,
        "group_norm of x (N, 4): 4 channels do not fall into 3 equal groups.",
    ),
    (
        lambda: nn.BatchNorm1d(4, name="norm")(FRAMES[None]),
        ShapeError,
        "norm takes (N, C) or (N, C, L) with 4 channels, and is given the tensor of test_norm.py:LINE (1, T, 3, 4).",
    ),
    (
        lambda: nn.BatchNorm2d(True, name="norm"),
        ShapeError,
        "norm has True for its number of channels: give 1 or more.",
    ),
    (
        lambda: nn.batch_norm(X),
        GraphError,
        "without statistics of x (N, 4) itself, give running_mean and running_var.",
    ),
    (
        lambda: nn.batch_norm(X, weight=W, training=True),
        ShapeError,
        "batch_norm of x (N, 4) with w (3): give one number for each of the 4 channels.",
    ),
    (
        lambda: nn.instance_norm(W),
        ShapeError,
        "instance_norm takes (N, C, ...), with the channels along axis 1, not w (3).",
    ),
]


@pytest.mark.parametrize("k", range(len(REFUSED)))
def test_what_cannot_be_is_refused(k: int) -> None:
    declare, kind, wanted = REFUSED[k]
    with pytest.raises(kind) as caught:
        declare()
    place, _, found = str(caught.value).partition(": ")
    file, _, line = place.partition(":")
    assert file == "test_norm.py"
    assert found == wanted.replace("LINE", line)


def test_training_changes_running_statistics_and_evaluation_reads_them() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.norm, self.last = nn.BatchNorm1d(4), nn.Linear(4, 1)

        def forward(self, x: gg.Tensor) -> gg.Tensor:
            return self.last(self.norm(x))

    net = Net()
    loss = gg.mean(net(X) ** 2)
    updates = {**gg.optim.sgd(loss, lr=0.1), **nn.running_updates(net)}
    training = unjitted(gg.compile({"loss": loss}, updates=updates, dtype="float64", name="training"))
    evaluation = unjitted(gg.compile({"y": net.eval().norm(X)}, dtype="float64", name="evaluation"))
    state = training.init(seed=0)
    assert {k: v.tolist() for k, v in state.items() if "running" in k or "num" in k} == {
        "net_norm_running_mean": [0.0] * 4,
        "net_norm_running_var": [1.0] * 4,
        "net_norm_num_batches_tracked": 0,
    }
    mean, var = np.zeros(4), np.ones(4)
    for _ in range(3):
        x = RNG.normal(2.0, 3.0, size=(6, 4))
        training.step(state, x=x)
        mean, var = 0.9 * mean + 0.1 * x.mean(0), 0.9 * var + 0.1 * x.var(0, ddof=1)
    np.testing.assert_allclose(state["net_norm_running_mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(state["net_norm_running_var"], var, rtol=1e-12)
    assert state["net_norm_num_batches_tracked"] == 3
    x = RNG.normal(size=(2, 4))
    read = {k: v for k, v in state.items() if k.startswith("net_norm") and "num" not in k}
    wanted = (x - mean) / np.sqrt(var + 1e-5) * state["net_norm_weight"] + state["net_norm_bias"]
    np.testing.assert_allclose(evaluation(x=x, **read)["y"], wanted, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("rows", [N, 1])
def test_a_batch_of_one_row_leaves_the_running_variance_as_it_is(rows: Any, momentum: float | None) -> None:
    norm = nn.BatchNorm1d(4, momentum=momentum, name="norm")
    y = norm(gg.input("x", (rows, 4)))
    net = unjitted(gg.compile({"y": y}, updates=nn.running_updates(norm), dtype="float64", name="one_row"))
    state, means = net.init(seed=0), np.zeros(4)
    wanted = state["norm_running_var"] + 2.0
    state["norm_running_var"][...] = wanted
    batches = [RNG.normal(size=(count, 4)) for count in ((1, 1) if isinstance(rows, int) else (3, 1, 2))]
    for at, x in enumerate(batches, 1):
        share = 1 / at if momentum is None else momentum
        out = net.step(state, x=x)["y"]
        means = (1 - share) * means + share * x.mean(0)
        if len(x) > 1:
            wanted = (1 - share) * wanted + share * x.var(0, ddof=1)
        np.testing.assert_allclose(out, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(state["norm_running_mean"], means, rtol=1e-12)
        np.testing.assert_allclose(state["norm_running_var"], wanted, rtol=1e-12)
        assert state["norm_num_batches_tracked"] == at


@pytest.mark.parametrize("length", [gg.size("L"), 1])
def test_examples_of_one_place_leave_the_running_variance_as_it_is(length: Any) -> None:
    norm = nn.InstanceNorm1d(2, track_running_stats=True, name="norm")
    y = norm(gg.input("x", (N, 2, length)))
    net = unjitted(gg.compile({"y": y}, updates=nn.running_updates(norm), dtype="float64", name="one_place"))
    state, x = net.init(seed=0), RNG.normal(size=(3, 2, 1))
    net.step(state, x=x)
    np.testing.assert_allclose(state["norm_running_mean"], 0.1 * x.mean((0, 2)), rtol=1e-12)
    np.testing.assert_array_equal(state["norm_running_var"], np.ones(2))
    if not isinstance(length, int):
        x = RNG.normal(size=(3, 2, 5))
        net.step(state, x=x)
        wanted = 0.9 + 0.1 * x.var(2, ddof=1).mean(0)
        np.testing.assert_allclose(state["norm_running_var"], wanted, rtol=1e-12)


def test_the_state_dict_of_a_norm_has_pytorchs_names() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    names = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert list(nn.state_dict_names(net).values())[2:] == [f"1.{name}" for name in names]
    assert list(nn.state_dict_names(nn.BatchNorm1d(4, affine=False, track_running_stats=False))) == []
    assert [x.shape for x in nn.LayerNorm((2, 3), name="norm").parameters()] == [(2, 3), (2, 3)]


def test_running_updates_are_of_the_calls_that_outputs_depend_on() -> None:
    norm = nn.BatchNorm1d(4, name="norm")
    y, z = gg.input("y", (N, 4)), gg.input("z", (N, 4))
    first, second = norm(y), norm(z)
    assert norm(y) is first
    of_first, of_both = nn.running_updates(norm, first), nn.running_updates(norm)
    assert of_first.keys() == of_both.keys() == {norm.running_mean, norm.running_var, norm.num_batches_tracked}
    net = unjitted(
        gg.compile({"a": of_first[norm.num_batches_tracked], "b": of_both[norm.num_batches_tracked]}, name="n")
    )
    assert net(norm_num_batches_tracked=np.array(4)) == {"a": 5, "b": 6}
    assert nn.running_updates(norm, second)[norm.running_mean] is not of_first[norm.running_mean]
    assert nn.running_updates(nn.BatchNorm1d(4)) == {}


def test_running_updates_of_a_layer_inside_a_scan_are_refused() -> None:
    norm = nn.BatchNorm1d(4, name="norm")
    gg.scan(lambda carry, x: (carry + gg.sum(norm(x)), None), gg.zeros(()), gg.input("steps", (5, N, 4)))
    with pytest.raises(GraphError, match="norm is called inside a scan: its running statistics have no next values"):
        nn.running_updates(norm)


def test_a_target_that_does_not_fit_into_its_frames_has_an_infinite_loss() -> None:
    p = gg.input("p", (T, 1, 3))
    b, frames, lengths = gg.input("b", (1, 2), "int64"), gg.input("frames", (1,), "int64"), gg.input("n", (1,), "int64")
    net = unjitted(gg.compile({"loss": nn.ctc_loss(p, b, frames, lengths)}, wrt=[p], dtype="float64", name="ctc"))
    given = {"p": np.log(np.full((2, 1, 3), 1 / 3)), "b": np.array([[1, 1]]), "n": np.array([2])}
    out, gradients = net.value_and_grad(**given, frames=np.array([2]))
    assert out["loss"] == np.inf
    assert not np.isnan(gradients["d_p" if "d_p" in gradients else "p"]).any()
    out, _ = net.value_and_grad(**(given | {"b": np.array([[1, 2]])}), frames=np.array([2]))
    np.testing.assert_allclose(out["loss"], np.log(9) / 2)


def test_the_classifier_of_the_lecture() -> None:
    h = gg.input("h", (4,))
    net = unjitted(
        gg.compile({"chosen": nn.classify(h), "right": nn.accuracy(h, gg.input("b", (), "int64"))}, name="head")
    )
    out = net(h=np.array([0.1, -0.8, 1.4, 1.1], "float32"), b=2)
    assert (int(out["chosen"]), float(out["right"])) == (2, 1.0)  # class 3, counted from 1
