"""What newcomers do in calls, and the message that they get, word for word. Nothing here is compiled by Numba: checks
come before.

A table: the call, the class of the error, and the message. Those of declarations are in `tests/graph/test_messages.py`.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import gradgen as gg
from gradgen.errors import (
    BindingError,
    DTypeError,
    FileError,
    GradgenError,
    GraphError,
    OptionError,
    ShapeError,
)
from gradgen.network import Network
from tests.cpu.running import unjitted


class Foreign:
    """An array of another library, as far as NumPy needs to know."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.dtype = array, array.dtype

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


def compiled(outputs: Any, name: str, **options: Any) -> Network:
    return unjitted(gg.compile(outputs, name=name, **options))


@cache
def known() -> dict[str, Any]:
    """The names that the calls use."""
    B = gg.size("B")
    a, b, c = gg.input("a", (B, 4)), gg.input("b", (B,), "int64"), gg.input("c", ())
    W = gg.param("W", (3, 4))
    u = a @ W.T
    loss = gg.nn.cross_entropy(u, b) * c
    small = {"loss": loss, "scores": u}
    net = compiled(small, "small", updates=gg.optim.sgd(loss, lr=0.1))
    error = gg.mean(u * u)
    training = compiled({"error": error}, "training", updates=gg.optim.adam(error, lr=0.1))
    arrays = {
        "a": np.ones((5, 4), "float32"), "b": np.zeros(5, "int64"), "W": np.ones((3, 4), "float32"), "c": 1.0,
    }  # fmt: skip
    Z, pair = gg.size("Z"), gg.input("pair", (2,))
    i, j, k = gg.index("i", 3), gg.index("j", Z), gg.index("k", Z)
    rounds = gg.compute((i, j), gg.sum(pair[(k + 1) % 2], over=k))
    return {
        "gg": gg, "np": np, "sparse": sparse, "B": B, "declared": a, "Foreign": Foreign, "net": net,
        "plain": compiled({"scores": u}, "plain"),
        "strict": compiled({"scores": u}, "plain", strict=True),
        "double": compiled({"y": 2.0 * a}, "double"),
        "fixed": compiled({"y": 2.0 * a}, "fixed", sizes={B: 7}),
        "growing": gg.compile({"y": gg.param("P", (B, 4)) + a}, name="growing"),
        "two": compiled({"first": gg.sum(u), "second": gg.mean(u)}, "two"),
        "free": compiled({"total": gg.sum(a)}, "free"),
        "training": training,
        "state": training.init(),
        "slope": gg.compile({"slope": gg.jacobian(2 * a, a)}, name="slope"),
        "counting": gg.compile({"y": gg.arange(gg.size("Z"))}, name="counting"),
        "going_round": gg.compile({"y": gg.sum(rounds * rounds)}, name="going_round"),
        "crooked": lambda x: np.frombuffer(b"-" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
        "A": arrays["a"], "L": arrays["b"], "W": arrays["W"], "R": np.zeros(24, "float32"),
        "given": lambda **other: {**arrays, **other},
        "saved": net.forward(**arrays)[1],
        "nowhere": Path("no_such_folder"),
    }  # fmt: skip


WIDER = 'the model declares float32. Compile with gg.compile(..., dtype="float64"), or c'
MESSAGES: list[tuple[str, type[GradgenError], str]] = [
    # names
    ("net(A, L, W, 1.0)", BindingError, "small.forward takes arrays by name: a=..., b=..., c=..., W=...."),
    ("plain.forward(A, W)", BindingError, "plain.forward takes arrays by name: a=..., W=...."),
    ("net.value_and_grad(A)", BindingError, "small.value_and_grad takes arrays by name: a=..., b=..., c=..., W=...."),
    ("net.step(W, A, L)", BindingError, "small.step takes arrays by name: a=..., b=..., c=..., W=...."),
    ("net()", BindingError, "small.forward: a, b, c, W missing. Needed are a, b, c, W."),
    (
        "net(a=A, b=L, c=1.0, w=W)",
        BindingError,
        "small.forward: W missing; w (meant as W?) unknown. Needed are a, b, c, W.",
    ),
    ("net(**given(d=1))", BindingError, "small.forward: d unknown. Needed are a, b, c, W."),
    ("net(**given(loss=1))", BindingError, "small.forward: loss unknown. Needed are a, b, c, W."),
    ("plain(a=A)", BindingError, "plain.forward: W missing. Needed are a, W."),
    # arrays of another kind
    ("net(**given(W=None))", DTypeError, "W is no array of numbers (given: NoneType). Give a NumPy array of float32."),
    ('net(**given(a="x"))', DTypeError, "a is no array of numbers (given: str). Give a NumPy array of float32."),
    ("net(**given(a={}))", DTypeError, "a is no array of numbers (given: dict). Give a NumPy array of float32."),
    (
        "net(**given(a=[[1, 2], [3]]))",
        DTypeError,
        "a is a list whose parts have several lengths. Give a NumPy array of float32.",
    ),
    (
        'net(**given(a=[["x"] * 4]))',
        DTypeError,
        "a holds text, not numbers (given: list). If it spells numbers, convert it with np.array(..., 'float32').",
    ),
    (
        "net(**given(b=L.astype(str)))",
        DTypeError,
        (
            "b holds text, not numbers (given: an array of <U21). If it spells numbers, convert it with "
            "np.array(..., 'int64')."
        ),
    ),
    (
        "net(**given(a=A.astype(bytes)))",
        DTypeError,
        (
            f"a holds text, not numbers (given: an array of {np.zeros(1, 'float32').astype(bytes).dtype}). If it "
            "spells numbers, convert it with np.array(..., 'float32')."
        ),
    ),
    (
        "net(**given(a=declared))",
        DTypeError,
        "a is no array of numbers (given: Tensor). Give a NumPy array of float32.",
    ),
    (
        "net(**given(a=A.astype(object)))",
        DTypeError,
        (
            "a holds Python objects, not numbers (given: an array of object). If all of them are numbers, convert it "
            "with np.array(..., 'float32')."
        ),
    ),
    (
        "net(**given(a=Foreign(A.astype(object))))",
        DTypeError,
        (
            "a holds Python objects, not numbers (given: Foreign). If all of them are numbers, convert it with "
            "np.array(..., 'float32')."
        ),
    ),
    (
        "net(**given(a=sparse.csr_array(A)))",
        DTypeError,
        ("a is sparse (given: csr_array), and calls take arrays with all their elements. Convert it with .toarray()."),
    ),
    (
        "net(**given(a=A.astype(complex)))",
        DTypeError,
        "a is complex128; the model declares float32. Convert it with .astype('float32').",
    ),
    (
        "net(**given(a=A.astype(np.float64)))",
        DTypeError,
        f"a is float64; {WIDER}onvert it with .astype('float32').",
    ),
    (
        "net(**given(a=A.astype(np.int64) + 2**24 + 1))",
        DTypeError,
        "a is int64; the model declares float32. Convert it with .astype('float32').",
    ),
    (
        "net(**given(a=np.ma.masked_array(A, A > 0)))",
        DTypeError,
        "a is a masked array, and masks are not read. Give a.filled(...).",
    ),
    (
        "net(**given(a=Foreign(A.astype(np.float64))))",
        DTypeError,
        f"a is float64; {WIDER}onvert it to float32.",
    ),
    (
        "net(**given(b=L.astype(np.uint64) + 2**63))",
        DTypeError,
        "b is uint64; the model declares int64. Convert it with .astype('int64').",
    ),
    (
        "net(**given(b=L.astype(float)))",
        DTypeError,
        "b is float64; the model declares int64. Convert it with .astype('int64').",
    ),
    (
        "net(**given(b=[0, 1, 2.5, 1, 0]))",
        DTypeError,
        "b is float64; the model declares int64. Round or cast it yourself.",
    ),
    (
        "net(**given(b=[10**30] * 5))",
        DTypeError,
        "b is no array of numbers (given: list). Give a NumPy array of int64.",
    ),
    ("net(**given(c=1 + 2j))", DTypeError, "c is no array of numbers (given: complex). Give a NumPy array of float32."),
    ('net(**given(c="1"))', DTypeError, "c is no array of numbers (given: str). Give a NumPy array of float32."),
    ("net(**given(c=None))", DTypeError, "c is no array of numbers (given: NoneType). Give a NumPy array of float32."),
    ("net(**given(c=10**400))", DTypeError, "c is no array of numbers (given: int). Give a NumPy array of float32."),
    (
        "net(**given(c=np.array(1.0)))",
        DTypeError,
        f"c is float64; {WIDER}onvert it with .astype('float32').",
    ),
    # shapes
    ("net(**given(a=A[0]))", ShapeError, "a has 1 axes, shape (4,); the model declares (B, 4). Reshape the argument."),
    (
        "net(**given(a=A[None]))",
        ShapeError,
        "a has 3 axes, shape (1, 5, 4); the model declares (B, 4). Reshape the argument.",
    ),
    ("net(**given(a=A[:, :3]))", ShapeError, "a has shape (5, 3); the model declares (B, 4), here (5, 4)."),
    ("net(**given(b=L[:3]))", ShapeError, "b's axis 0 is 3, but the size B is 5 (a's axis 0). Give arrays that agree."),
    ("net(**given(W=W.T.copy()))", ShapeError, "W has shape (4, 3); the model declares (3, 4)."),
    ("net(**given(c=[1.0]))", ShapeError, "c has 1 axes, shape (1,); the model declares (). Reshape the argument."),
    (
        "net(**given(c=np.ones(1, np.float32)))",
        ShapeError,
        "c has 1 axes, shape (1,); the model declares (). Reshape the argument.",
    ),
    ("fixed(a=A)", ShapeError, "a has shape (5, 4); the model declares (7, 4)."),
    # layouts
    (
        "strict(a=np.asfortranarray(A), W=W)",
        BindingError,
        "a is not C-contiguous and would be copied, which strict=True refuses. Give np.ascontiguousarray(a).",
    ),
    (
        "strict.forward(a=A, W=W.T.copy().T)",
        BindingError,
        "W is not C-contiguous and would be copied, which strict=True refuses. Give np.ascontiguousarray(W).",
    ),
    (
        "strict.compiled_with(sizes={B: 5})(a=A[::-1], W=W)",
        BindingError,
        "a is not C-contiguous and would be copied, which strict=True refuses. Give np.ascontiguousarray(a).",
    ),
    (
        "strict(a=crooked(A), W=W)",
        BindingError,
        "a is not aligned and would be copied, which strict=True refuses. Give a.copy().",
    ),
    # labels
    (
        "net(**given(b=L + 3))",
        BindingError,
        ("b holds 3, outside 0..2 (it selects from axis 1 of u). An index out of range is not read."),
    ),
    (
        "net(**given(b=L - 1))",
        BindingError,
        ("b holds -1, outside 0..2 (it selects from axis 1 of u). An index out of range is not read."),
    ),
    # what a network does not have
    (
        "plain.value_and_grad(a=A, W=W)",
        GraphError,
        (
            "plain.value_and_grad: no output is a float scalar, only scores float32 (B, 3). Add one, such as a sum or "
            "a mean, or use backward."
        ),
    ),
    (
        "two.value_and_grad(a=A, W=W)",
        GraphError,
        'two.value_and_grad: first, second are float scalars: choose one with gg.compile(..., loss="first").',
    ),
    (
        "free.value_and_grad(a=A)",
        GraphError,
        ("free.value_and_grad: total depends on no float parameter: declare one with gg.param, or give wrt=[...]."),
    ),
    (
        "training(**state)",
        BindingError,
        "training.forward: a missing. Needed are a, W.",
    ),
    (
        "training(a=A, z=1, **state)",
        BindingError,
        "training.forward: z unknown. Needed are a, W.",
    ),
    (
        "plain.step({}, a=A)",
        GraphError,
        "this network has no updates: gg.compile(..., updates=gg.optim.sgd(loss, lr=0.1))",
    ),
    (
        "double.backward(double.forward(a=A)[1])",
        GraphError,
        "this network has no gradient: no output depends on a float parameter or on wrt",
    ),
    # steps
    ('net.step({"W": W}, a=A, b=L)', BindingError, "small.step: c missing. Needed are a, b, c, W."),
    ('net.step({"W": W}, **given())', BindingError, "small.step: W given twice, in the state and by name."),
    (
        "net.step(W, a=A, b=L, c=1.0)",
        BindingError,
        "small.step takes the state first, a dict of arrays by name, as net.init() makes it, not ndarray.",
    ),
    ('net.step({"W": W, "V": W}, a=A, b=L, c=1.0)', BindingError, "small.step: V unknown. Needed are a, b, c, W."),
    (
        'net.step({"W": W.tolist()}, a=A, b=L, c=1.0)',
        BindingError,
        "W is no NumPy array, and the step updates it in place. Give a NumPy array.",
    ),
    (
        'net.step({"W": Foreign(W)}, a=A, b=L, c=1.0)',
        BindingError,
        "W is no NumPy array, and the step updates it in place. Give a NumPy array.",
    ),
    (
        'net.step({"W": np.asfortranarray(W)}, a=A, b=L, c=1.0)',
        BindingError,
        "W is not C-contiguous, and the step updates it in place. Give np.ascontiguousarray(W).",
    ),
    (
        'net.step({"W": crooked(W)}, a=A, b=L, c=1.0)',
        BindingError,
        "W is not aligned, and the step updates it in place. Give W.copy().",
    ),
    (
        'net.step({"W": np.frombuffer(W.tobytes(), np.float32).reshape(3, 4)}, a=A, b=L, c=1.0)',
        BindingError,
        "W is read-only, and the step updates it in place. Give a writable array.",
    ),
    (
        'net.step({"W": W.astype(float)}, a=A, b=L, c=1.0)',
        DTypeError,
        f"W is float64; {WIDER}onvert it with .astype('float32').",
    ),
    (
        'net.step({"W": R[:12].reshape(3, 4)}, a=R[4:24].reshape(5, 4), b=L, c=1.0)',
        BindingError,
        "W and a share memory, and the step updates in place. Give a copy of one.",
    ),
    # backward
    (
        "net.backward(3, loss=1.0)",
        BindingError,
        (
            "small.backward takes what forward of the same network returns second: out, saved = "
            "net.forward(...); net.backward(saved, loss=1.0)."
        ),
    ),
    (
        "net.backward(net.forward(**given()), loss=1.0)",
        BindingError,
        (
            "small.backward takes what forward of the same network returns second: out, saved = "
            "net.forward(...); net.backward(saved, loss=1.0)."
        ),
    ),
    (
        "net.backward(plain.forward(a=A, W=W)[1], loss=1.0)",
        BindingError,
        (
            "small.backward takes what forward of the same network returns second: out, saved = "
            "net.forward(...); net.backward(saved, loss=1.0)."
        ),
    ),
    (
        "net.backward(saved, score=1.0)",
        BindingError,
        "backward: no float output is called score. Those are loss, scores.",
    ),
    ("net.backward(saved, W=1.0)", BindingError, "backward: no float output is called W. Those are loss, scores."),
    (
        "net.backward(saved)",
        BindingError,
        (
            "small.backward: without a cotangent every gradient is 0. Give one for loss or scores: "
            "net.backward(saved, loss=1.0)."
        ),
    ),
    (
        "growing.backward(growing.forward(a=A, P=np.ones_like(A))[1])",
        BindingError,
        ("growing.backward: without a cotangent every gradient is 0. Give one for y: net.backward(saved, y=...)."),
    ),
    (
        "net.backward(saved, scores=L.astype(str)[:, None])",
        DTypeError,
        (
            "the cotangent of scores holds text, not numbers (given: an array of <U21). If it spells numbers, convert "
            "it with np.array(..., 'float32')."
        ),
    ),
    (
        'net.backward(saved, loss="1")',
        DTypeError,
        "the cotangent of loss is no array of numbers (given: str). Give a NumPy array of float32.",
    ),
    (
        "net.backward(saved, loss=1j)",
        DTypeError,
        "the cotangent of loss is no array of numbers (given: complex). Give a NumPy array of float32.",
    ),
    ("net.backward(saved, loss=[1.0])", ShapeError, "the cotangent of loss has shape (1,), the output ()."),
    ("net.backward(saved, scores=1.0)", ShapeError, "the cotangent of scores has shape (), the output (5, 3)."),
    (
        "net.backward(saved, scores=np.ones((3, 5)))",
        ShapeError,
        "the cotangent of scores has shape (3, 5), the output (5, 3).",
    ),
    (
        "net.backward(saved, scores=np.ones((5, 3), complex))",
        DTypeError,
        "the cotangent of scores is no array of numbers (given: complex128). Give a NumPy array of float32.",
    ),
    # first values, sizes, files
    ('net.init(seed="a")', OptionError, "init has seed='a': give an integer that is not negative."),
    ("net.init(seed=-1)", OptionError, "init has seed=-1: give an integer that is not negative."),
    ("net.init(0.5)", OptionError, "init has seed=0.5: give an integer that is not negative."),
    ('net.compiled_with(dtype="float16")', OptionError, "dtype='float16': give 'float32' or 'float64'."),
    ('net.compiled_with(sizes={"Z": 3})', OptionError, "sizes: 'Z' is no size of the model, which has B."),
    (
        "growing.init()",
        ShapeError,
        (
            "growing.init: P has shape (B, 4), and B is known only at call time. Give it with "
            "gg.compile(..., sizes={'B': ...}), or make the array P yourself."
        ),
    ),
    (
        "counting()",
        ShapeError,
        (
            "the size Z is no axis of an argument, and what no output reads is no argument. Give it with "
            "gg.compile(..., sizes={'Z': ...})."
        ),
    ),
    (
        "slope()",
        ShapeError,
        (
            "the size B is no axis of an argument, and what no output reads is no argument. Give it with "
            "gg.compile(..., sizes={'B': ...})."
        ),
    ),
    ("slope(a=A)", BindingError, "slope.forward: a unknown. Needed are none."),
    (
        'going_round(pair=np.ones(2, "float32"))',
        ShapeError,
        (
            "the size Z is no axis of an argument, and what no output reads is no argument. Give it with "
            "gg.compile(..., sizes={'Z': ...})."
        ),
    ),
    (
        'net.save(nowhere / "small.py")',
        FileError,
        "no_such_folder/small.py cannot be written: No such file or directory.",
    ),
    ("net.save(nowhere.parent)", FileError, ". cannot be written: Is a directory."),
    (
        'gg.compile(gg.input("q", (2 * B,)) + 1)',
        GraphError,
        (
            "the size B is no axis of an argument of forward: declare one that has it, or give the size with "
            "gg.compile(..., sizes={'B': ...})."
        ),
    ),
]


@pytest.mark.parametrize(("call", "kind", "words"), MESSAGES, ids=[call for call, *_ in MESSAGES])
def test_the_message(call: str, kind: type[GradgenError], words: str) -> None:
    with pytest.raises(GradgenError) as caught:
        eval(call, known())
    assert type(caught.value) is kind
    assert str(caught.value).removeprefix("<string>:1: ") == words


@pytest.mark.parametrize(
    "call",
    [
        "net(**given(a=A.tolist()))",
        "net(**given(a=Foreign(A)))",
        "net(**given(b=[0, 1, 2, 1, 0]))",
        "net(**given(c=1))",
        "net(**given(c=np.float64(1)))",
        "net(**given(c=np.array(1, np.float32)))",
        "net(**given(a=np.ones((5, 4), np.dtype('float32').newbyteorder('='))))",
        "net(**given(W=np.frombuffer(W.tobytes(), np.float32).reshape(3, 4)))",
        "net.backward(saved, loss=np.float64(1), scores=np.ones((5, 3)))",
        "strict(a=A, W=W)",
        "strict(a=A.tolist(), W=W)",
        "strict(a=Foreign(A), W=np.frombuffer(W.tobytes(), np.float32).reshape(3, 4))",
    ],
)
def test_what_is_fine(call: str) -> None:
    found = eval(call, known())
    wanted = known()["net"](**known()["given"]())
    for name in set(found) & set(wanted):
        np.testing.assert_array_equal(found[name], wanted[name])


@pytest.mark.parametrize("name", ["self", "saved", "state", "arguments", "out", "p", "w", "njit", "ü", "compute_y"])
def test_names_that_calls_and_generated_code_use_themselves(name: str) -> None:
    x, w = gg.input("x", (3,)), gg.param(name, (3,))
    y = gg.sum(gg.tanh(x * w))
    net = compiled({"y": y}, "odd", updates=gg.optim.sgd(y, lr=0.1))
    arrays = {"x": np.ones(3, "float32"), name: np.ones(3, "float32")}
    outputs, gradients = net.value_and_grad(**arrays)
    np.testing.assert_allclose(outputs["y"], 3 * np.tanh(1), rtol=1e-6)
    np.testing.assert_allclose(gradients[name], 1 - np.tanh(1) ** 2, rtol=1e-6)
    assert net.step({name: arrays[name]}, x=arrays["x"])["y"] == outputs["y"]
    assert (arrays[name] < 1).all()
    turned = compiled({name: gg.tanh(x * gg.param("v", (3,)))}, "turned")
    _, saved = turned.forward(x=np.ones(3, "float32"), v=np.ones(3, "float32"))
    ones = np.ones(3, "float32")
    np.testing.assert_allclose(turned.backward(saved, **{name: ones})["v"], 1 - np.tanh(1) ** 2, rtol=1e-6)


def test_an_output_may_have_the_name_of_the_cotangent_of_another() -> None:
    """The cotangent steps aside to d_y_2, and so must the array of what is computed once and returned as d_y."""
    x, v = gg.param("x", (3,)), gg.param("v", (3,))
    y = gg.sum(gg.log(1 + gg.exp(x)))
    net = compiled({"total": y * 1.0 + gg.sum(v), "y": y, "d_y": gg.grad(y, x)}, "aside", loss="total")
    arrays = {"x": np.zeros(3, "float32"), "v": np.ones(3, "float32")}
    outputs, saved = net.forward(**arrays)
    np.testing.assert_allclose(outputs["d_y"], 0.5)
    np.testing.assert_allclose(net.backward(saved, y=2.0, d_y=np.ones(3))["x"], 1.25)


def test_sizes_may_have_letters_of_any_alphabet() -> None:
    size = gg.size("größe")
    net = compiled({"y": gg.sum(gg.input("x", (size,))) / size}, "letters")
    assert net(x=np.full(5, 3, "float32"))["y"] == 3
