"""What tensors and networks show at a prompt and in a notebook, word for word."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import gradgen as gg
from gradgen.errors import GraphError, OptionError
from gradgen.graph.nodes import Compute, Node, all_inputs
from gradgen.inspect import formulas
from gradgen.nn import cross_entropy

N = gg.size("N")
x, k = gg.input("x", (N, 8)), gg.input("k", (N,), dtype="int64")
W1, b1, W2 = gg.param("W1", (4, 8)), gg.param("b1", (4,)), gg.param("W2", (3, 4))
n, i, j = gg.indices("n i j")
h = gg.relu(gg.compute((n, j), gg.sum(W1[j, i] * x[n, i], over=i) + b1[j]))
scores = h @ W2.T
loss = cross_entropy(scores, k)
FILE = Path(__file__).name


def test_a_tensor_is_its_formula_and_what_it_is_made_of() -> None:
    assert str(loss) == (
        "<Tensor loss: float32 ()>\n"
        "  loss = (sum_n -log(exp(scores[n, k[n]]) / (sum_j exp(scores[n, j])))) / N\n"
        "  scores[n, i] = sum_j h[n, j] * W2[i, j]\n"
        "  h[n, j] = relu((sum_i W1[j, i] * x[n, i]) + b1[j])\n"
        "  of inputs x (N, 8), k int64 (N); parameters W1 (4, 8), b1 (4), W2 (3, 4)"
    )
    assert str(x) == "<Tensor x: float32 (N, 8)>"
    assert str(x * x).splitlines()[:2] == ["<Tensor unnamed: float32 (N, 8)>", "  product[i, j] = x[i, j] * x[i, j]"]


def test_a_gradient_shows_what_it_comes_from() -> None:
    assert repr(gg.grad(loss, W1)) == "<Tensor d_W1: float32 (4, 8), d_W1[n, i] = sum_j d_h_total[j, n] * x[j, i]>"
    assert str(gg.grad(loss, W1)) == (
        "<Tensor d_W1: float32 (4, 8)>\n"
        "  d_W1[n, i] = sum_j d_h_total[j, n] * x[j, i]\n"
        "  d_h_total[n, j] = 0 if h[n, j] <= 0 else (sum_i d_scores[n, i] * W2[i, j])\n"
        "  d_scores[n, i] = d_scores_sum[n, i] + product * d_loss_exp[n, i]\n"
        "  d_loss_exp[n, i] = exp(scores[n, i] - (logsumexp_j scores[n, j]))\n"
        "  scores[n, i] = sum_j h[n, j] * W2[i, j]\n"
        "  d_scores_sum[n, k[n]] += -product\n"
        "  ... and 2 more: gg.show(d_W1)\n"
        "  of inputs x (N, 8), k int64 (N); parameters W1 (4, 8), b1 (4), W2 (3, 4)"
    )


def shared() -> tuple[gg.Tensor, gg.Tensor]:
    """Two losses; the first line made what both are computed from."""
    a, w, y, z = gg.input("a", (N,)), gg.param("w", ()), gg.input("y", (N,)), gg.input("z", (N,))
    train = gg.mean((a * w - y) ** 2)
    valid = gg.mean((a * w - z) ** 2)
    assert (train.name, valid.name) == ("train", "valid")
    return train, valid


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "collected"])
def test_a_name_stays_with_what_the_variable_is_bound_to(kept: bool) -> None:
    train, valid = shared()
    if not kept:
        del train
    product = next(node for node in all_inputs(all_inputs(valid.node)[0]) if isinstance(node, Compute))
    for _ in range(3):
        product = next((node for node in all_inputs(product) if isinstance(node, Compute)), product)
    assert gg.Tensor(product).name is None
    squared = gg.sum(gg.square(gg.sin(gg.Tensor(product))))
    assert str(squared).splitlines()[1:3] == [
        "  squared = sum_i square(sin(train_product[i]))",
        "  train_product[i] = a[i] * w",
    ]
    assert r"\mathrm{train\_product}_{i} &= a_{i} \, w" in squared._repr_latex_()
    assert "  train_product[i] = a[i] * w" in gg.show(squared)


def test_adjoints_are_called_as_what_they_are_of() -> None:
    a, w = gg.input("a", (N,)), gg.param("w", ())
    train = gg.mean((a * w) ** 2)
    loss = gg.mean(gg.log(gg.cosh(a * w)))
    d_w = gg.grad(loss, w)
    assert (train.name, loss.name, d_w.name) == ("train", "loss", "d_w")
    assert str(d_w).splitlines()[1:-1] == [
        "  d_w = sum_n d_train_product[n] * a[n]",
        "  d_train_product[i] = d_loss_cosh[i] * sinh(train_product[i])",
        "  d_loss_cosh[i] = 1 / N * (1 / cosh(train_product[i]))",
        "  train_product[i] = a[i] * w",
    ]
    adjoint = gg.compile({"loss": loss}, name="log_cosh").show("adjoint")
    assert "d_train_product[i] = d_loss_cosh[i] * sinh(train_product[i])" in adjoint
    assert "train[i]" not in adjoint
    assert " loss[i]" not in adjoint


def test_a_line_that_assigns_no_tensor_gives_no_tensor_its_name() -> None:
    a, w = gg.input("a", (2,)), gg.param("w", ())
    net = gg.compile(gg.sum(gg.sin(a * w)))
    assert gg.sum(gg.sin(a * w)).name is None
    report = gg.check_grad(gg.sum(gg.sin(a * w)), {"a": [1.0, 2.0], "w": 1.0})
    assert "The gradient of the loss agrees" in str(report)
    g = gg.grad(gg.sum(gg.cos(a * w)), w)
    assert gg.sum(gg.cos(a * w)).name is None
    assert (g.name, net.outputs["y"].shape) == ("d_w", ())


def test_what_an_optimiser_shares_has_no_name_of_a_parameter() -> None:
    v, w = gg.param("v", ()), gg.param("w", ())
    loss = (v * w - 1) ** 2
    updates = gg.optim.adam(loss)
    lines = str(updates[w]).splitlines()
    assert lines[1].startswith("  w_next = w - step_length_float32 * ")
    assert not [line for line in lines if "v_next" in line]


def test_two_statements_of_one_line() -> None:
    a = gg.input("a", (2,))
    first = gg.sin(a) + 1; second = gg.sin(a) + 2  # fmt: skip  # noqa: E702
    assert (first.name, second.name) == ("first", "second")
    assert repr(second) == "<Tensor second: float32 (2), second[i] = sin(a[i]) + 2>"


# ---------------------------------------------------------------- constants


def test_constants_are_told_apart() -> None:
    v = gg.input("v", (3,))
    y = v * [1, 2, 3] + [4, 5, 6]
    assert str(y) == (
        "<Tensor y: float32 (3)>\n"
        "  y[i] = v[i] * constant[i] + constant_2[i]\n"
        "  of inputs v (3); constants constant (3), constant_2 (3)"
    )
    assert y._repr_latex_() == r"$$y_{i} = v_{i} \, \mathrm{constant}_{i} + \mathrm{constant\_2}_{i}$$"
    page = y._repr_html_()
    assert page.count("<tr><td>constant</td>") == page.count("<tr><td>constant_2</td>") == 1
    assert gg.show(y).splitlines()[1:3] == ["constant constant (3) float32", "constant constant_2 (3) float32"]
    assert "y[i] = v[i] * constant[i] + constant_2[i]" in str(gg.compile({"y": y}, name="two").source)


def test_equal_constants_are_one_and_named_ones_keep_their_names() -> None:
    v, own = gg.input("v", (3,)), gg.constant([7.0, 8.0, 9.0], name="constant")
    y = v * [1, 2, 3] + own * [1, 2, 3]
    assert str(y).splitlines()[1:] == [
        "  y[i] = v[i] * constant_2[i] + constant[i] * constant_2[i]",
        "  of inputs v (3); constants constant (3), constant_2 (3)",
    ]


def test_a_name_that_a_leaf_has_stays_the_leaf_s() -> None:
    y = gg.input("y", (2,))
    other = (y + 1).node
    y = gg.input("y", (2,)) + 1
    assert repr(y) == "<Tensor y: float32 (2), y_2[i] = y[i] + 1>"
    assert str(y) == "<Tensor y: float32 (2)>\n  y_2[i] = y[i] + 1\n  of inputs y (2)"
    assert other is not y.node


def test_inside_the_body_of_a_scan() -> None:
    seen: list[str] = []

    def step(level: gg.Tensor, row: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        risen = level + row
        seen.extend([repr(level), repr(risen), str(risen), risen._repr_latex_()])
        return risen, risen

    gg.scan(step, gg.zeros((8,)), x)
    assert seen == [
        "<Tensor unnamed: float32 (8)>",
        "<Tensor risen: float32 (8), risen[i] = carry[i] + x[t, i]>",
        "<Tensor risen: float32 (8)>\n  risen[i] = carry[i] + x[t, i]\n  of inputs x (N, 8)",
        r"$$\mathrm{risen}_{i} = \mathrm{carry}_{i} + x_{t,i}$$",
    ]


def test_repr_is_one_line_whoever_asks() -> None:
    line = "<Tensor loss: float32 (), loss = (sum_n -log(exp(scores[n, k[n]]) / (sum_j exp(scores[n, j])))) / N>"
    assert repr(loss) == line
    assert repr(x) == "<Tensor x: float32 (N, 8)>"
    assert str([loss, {"x": x}]) == f"[{line}, {{'x': <Tensor x: float32 (N, 8)>}}]"
    assert eval("repr(loss)", {"loss": loss, "__name__": "gradgen.graph"}) == line
    with pytest.raises(GraphError, match=re.escape(f"{{'loss': {line}}} is no tensor")):
        gg.grad({"loss": loss}, W1)  # type: ignore[arg-type]


def test_ipython_shows_what_print_shows_and_lists_one_line_each() -> None:
    pretty = pytest.importorskip("IPython.lib.pretty", reason="IPython is not installed").pretty
    assert pretty(loss) == str(loss)
    assert pretty([loss, x], max_width=200) == f"[{loss!r}, {x!r}]"
    assert pretty({"loss": loss}, max_width=200) == f"{{'loss': {loss!r}}}"


def deep(layers: int) -> gg.Tensor:
    y, V = x, gg.param("V", (8, 8))
    for _ in range(layers):
        y = gg.tanh(y @ V)
    return y


def test_large_graphs_are_shown_by_what_is_near() -> None:
    y = deep(300)
    assert repr(y) == "<Tensor y: float32 (N, 8), y[i, j] = tanh(sum_k y_8[i, k] * V[k, j])>"
    lines = str(y).splitlines()
    assert lines[0] == "<Tensor y: float32 (N, 8)>"
    assert lines[7] == "  ... and more: gg.show(y)"
    assert lines[8:] == ["  of parameters V (8, 8); ..."]
    assert y._repr_latex_().splitlines()[1] == r"\vdots & \\"


@pytest.mark.parametrize("how", [repr, str, lambda x: x._repr_latex_(), lambda x: x._repr_html_()])
def test_showing_takes_no_longer_for_a_larger_graph(
    how: Callable[[gg.Tensor], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted by the nodes whose inputs are asked for."""
    asked: list[Node] = []

    def counted(node: Node) -> tuple[Node, ...]:
        asked.append(node)
        return all_inputs(node)

    small, large = deep(200), deep(400)
    monkeypatch.setattr(formulas, "all_inputs", counted)
    counts = []
    for y in (small, large):
        asked.clear()
        how(y)
        counts.append(len(asked))
    assert counts[0] == counts[1] < 1000


def test_scans_with_equal_carries_are_told_apart_where_the_graph_is_cut() -> None:
    def level(h: gg.Tensor, row: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        h = gg.tanh(h + row)
        return h, h

    def rate(r: gg.Tensor, row: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        r = r * row
        return r, r

    _, levels = gg.scan(level, gg.zeros((8,)), deep(200))
    _, rates = gg.scan(rate, gg.ones((8,)), levels)
    lines = str(rates).splitlines()
    assert "  r[i] = r_carry[i] * levels[t, i]" in lines
    assert "  r_carry: constant in the first step, then r of the step before" in lines
    assert not [line for line in lines if "h_carry" in line]


def test_a_long_formula_is_cut() -> None:
    y = sum((gg.exp(x[n, c]) for c in range(8)), start=gg.exp(x[n, 0]) * 1.5)
    long = gg.compute(n, y)
    assert max(map(len, str(long).splitlines())) <= 120
    assert (len(repr(long)), repr(long)[-5:]) == (120, " ...>")


def test_a_tensor_as_latex_and_as_html() -> None:
    assert h._repr_latex_() == (
        r"$$h_{n,j} = \max\left(\sum_{i} \mathit{W1}_{j,i} \, x_{n,i} + \mathit{b1}_{j}, 0\right)$$"
    )
    assert (h < 1)._repr_html_() == (
        "<div><b>unnamed</b>: bool (N, 4)\n"
        "$$\\begin{aligned}\n"
        r"h_{n,j} &amp;= \max\left(\sum_{i} \mathit{W1}_{j,i} \, x_{n,i} + \mathit{b1}_{j}, 0\right) \\"
        "\n"
        r"\mathrm{lt}_{n,j} &amp;= h_{n,j} &lt; 1"
        "\n\\end{aligned}$$\n"
        "<table>\n"
        "<tr><th>name</th><th>role</th><th>dtype</th><th>shape</th></tr>\n"
        "<tr><td>x</td><td>input</td><td>float32</td><td>(N, 8)</td></tr>\n"
        "<tr><td>W1</td><td>parameter</td><td>float32</td><td>(4, 8)</td></tr>\n"
        "<tr><td>b1</td><td>parameter</td><td>float32</td><td>(4)</td></tr>\n"
        "</table></div>"
    )
    assert x._repr_latex_() == "$$x$$"
    assert x._repr_html_() == "<div><b>x</b>: float32 (N, 8), input</div>"


def test_many_formulas_are_the_last_ones() -> None:
    y = x
    for _ in range(20):
        y = gg.tanh(y)
    lines = y._repr_latex_().splitlines()
    assert (lines[1], len(lines)) == (r"\vdots & \\", 1 + 1 + 12 + 1)


def test_show_gives_every_formula_with_its_line() -> None:
    shown = gg.show(scores)
    assert repr(shown) == str(shown)
    assert sorted(shown.splitlines()[:4]) == [
        "input x (N, 8) float32", "param W1 (4, 8) float32", "param W2 (3, 4) float32", "param b1 (4) float32",
    ]  # fmt: skip
    assert shown.splitlines()[-1] == f"{FILE}:22  scores[n, i] = sum_j h[n, j] * scores_part[j, i]"
    assert gg.show({"a": (h, [scores])}).splitlines()[-1] == shown.splitlines()[-1]


@pytest.mark.parametrize("given", [3, [], None, "x"])
def test_show_refuses_what_is_no_tensor(given: object) -> None:
    with pytest.raises(GraphError) as caught:
        gg.show(given)
    told = str(caught.value).split(": ", 1)[1]
    assert told == f"gg.show takes tensors or a network, not {given!r}."


def test_what_is_long_has_a_line_of_its_own() -> None:
    """Inside of a sum it would be printed without its parts, and 11,000 letters long."""
    dropped = gg.nn.Dropout(0.1, name="drop")(gg.input("a", (8, 8)))
    kept = gg.sum(gg.nn.Dropout(0.1, name="drop_2")(dropped) @ gg.param("V", (8, 8)))
    lines = str(kept).splitlines()
    assert lines[1] == (
        "  kept = sum_{i, j} (sum_k dropped[i, k] * (1.1111111111111112 if drop_2_keep_bitwise_xor[i, k] >= 429496730 "
        "else 0) ..."
    )
    assert [line.split(" = ")[0] for line in lines[2:5]] == [
        "  drop_2_keep_bitwise_xor[i, j]", "  dropped[i, j]", "  drop_keep_bitwise_xor[i, j]",
    ]  # fmt: skip
    written = formulas.as_written({"kept": kept.node})
    assert max(len(text) for node in written.formulas for _, text in written.lines(node)) < 1500


def test_a_tensor_is_printed_without_the_passes_behind_the_graph() -> None:
    """They take longer to import than a formula to print."""
    text = """
import sys
import gradgen as gg
x = gg.input("x", (3,))
str(gg.sin(x)), gg.show(x + 1)
print(*sorted(name for name in sys.modules if name.startswith(("gradgen.passes.l", "gradgen.pipeline"))))
"""
    told = {"PYTHONPATH": str(Path(gg.__file__).parents[1])}
    found = subprocess.run([sys.executable, "-c", text], env=told, capture_output=True, check=True, text=True).stdout
    assert found.split() == ["gradgen.passes.lower", "gradgen.passes.lower.naming"]


# ---------------------------------------------------------------- networks


@pytest.fixture(scope="module")
def net() -> gg.Network:
    return gg.compile({"loss": loss, "scores": scores}, name="small")


def test_a_network_at_a_prompt(net: gg.Network) -> None:
    assert repr(net) == (
        "<Network small: float32, for the CPU>\n"
        "  inputs      x       float32  (N, 8)\n"
        "              k       int64    (N)\n"
        "  parameters  W1      float32  (4, 8)\n"
        "              b1      float32  (4)\n"
        "              W2      float32  (3, 4)\n"
        "  outputs     loss    float32  ()\n"
        "              scores  float32  (N, 3)\n"
        "  sizes       N, known when it is called\n"
        "  calls       net(...), forward, backward, value_and_grad"
    )


def test_a_network_with_many_arrays(net: gg.Network) -> None:
    layers = [gg.param(f"w{k}", (8, 8)) for k in range(12)]
    y = x
    for w in layers:
        y = y @ w
    many = gg.compile({"y": y}, name="many", sizes={"N": 5})
    assert repr(many).splitlines()[1:] == [
        "  inputs      x   float32  (5, 8)",
        *(f"  {'parameters' if k == 0 else '':10}  w{k}  float32  (8, 8)" for k in range(7)),
        "              ... and 5 more, 768 numbers in all",
        "  outputs     y   float32  (5, 8)",
        "  sizes       N = 5",
        "  calls       net(...), forward, backward",
    ]


def test_what_a_network_takes_and_returns_by_name(net: gg.Network) -> None:
    assert dict(net.inputs) == {"x": (("N", 8), "float32"), "k": (("N",), "int64")}
    assert net.inputs["x"].shape == ("N", 8)
    assert net.inputs["x"].dtype == "float32"
    assert dict(net.parameters) == {"W1": ((4, 8), "float32"), "b1": ((4,), "float32"), "W2": ((3, 4), "float32")}
    assert dict(net.states) == {}
    assert dict(net.outputs) == {"loss": ((), "float32"), "scores": (("N", 3), "float32")}
    assert dict(net.sizes) == {"N": None}
    known = net.compiled_with(dtype="float64", sizes={"N": 5})
    assert (known.inputs["x"], known.sizes["N"]) == (((5, 8), "float64"), 5)
    with pytest.raises(TypeError):
        net.sizes["N"] = 5  # type: ignore[index]


def test_a_network_in_a_notebook(net: gg.Network) -> None:
    page = net._repr_html_()
    assert page.startswith(
        "<div><b>small</b>: float32, for the CPU\n<table>\n"
        "<tr><th>name</th><th>role</th><th>dtype</th><th>shape</th></tr>\n"
        "<tr><td>x</td><td>input</td><td>float32</td><td>(N, 8)</td></tr>\n"
    )
    assert (
        "</table>\n<p>sizes: N, known when it is called</p>\n"
        "<p>calls: net(...), forward, backward, value_and_grad</p>\n$$\\begin{aligned}\n"
    ) in page
    assert r"\mathrm{scores}_{n,i} &amp;= \sum_{j} h_{n,j} \, \mathit{W2}_{i,j} \\" in page
    assert net._repr_latex_().startswith("$$\\begin{aligned}\nh_{n,j} &= ")


def test_explain_begins_with_a_summary(net: gg.Network) -> None:
    summary, decisions = net.explain().split("\n\n")
    lines = summary.splitlines()
    assert lines[:5] == [
        "small: float32, for the CPU",
        "  inputs      x float32 (N, 8), k int64 (N)",
        "  parameters  W1 float32 (4, 8), b1 float32 (4), W2 float32 (3, 4)",
        "  outputs     loss float32 (), scores float32 (N, 3)",
        "  sizes       N, known when it is called",
    ]
    assert [line.split()[0] for line in lines[5:]] == [
        "entries", "backward", "value_and_grad", "check", "workspace", "operations",
    ]  # fmt: skip
    assert lines[-1] == "  operations  107*N + 1 in the formulas of a forward pass"
    assert "shares the loop" not in decisions
    assert " lines about loops that formulas share: explain(loops=True))" in decisions
    assert "shares the loop" in net.explain(loops=True)
    assert "explain(loops=True)" not in net.explain(loops=True)


def test_a_network_from_the_cache_says_the_same(net: gg.Network) -> None:
    first, again = (gg.compile({"loss": loss, "scores": scores}, name="small") for _ in range(2))
    assert again._compiled is None, "it was found"
    assert repr(first) == repr(again)
    assert (repr(again), again.explain()) == (repr(net), net.explain())


def test_a_network_shows_its_stages(net: gg.Network) -> None:
    assert net.show() == net.show("graph") == gg.show(net)
    assert net.show("source") == net.source
    assert "d_W1[n, i] = " in net.show("adjoint")
    assert net.show("program").startswith("kernel ")
    assert net.show(after="gather").startswith("# after gather: adjoint loops own what they write\n")
    assert net.show(after="in place") == net.show(after="in-place")


@pytest.mark.parametrize(
    ("stage", "after", "told"),
    [
        ("grph", None, """there is no stage 'grph': did you mean net.show("graph")?"""),
        (None, "gathr", """there is no pass 'gathr': did you mean net.show(after="gather")?"""),
        (None, "In Plce", """there is no pass 'In Plce': did you mean net.show(after="in-place")?"""),
        ("gather", None, """there is no stage 'gather': did you mean net.show(after="gather")?"""),
        (None, "source", """there is no pass 'source': did you mean net.show("source")?"""),
    ],
)
def test_stages_and_passes_that_are_misspelled(
    net: gg.Network, stage: str | None, after: str | None, told: str
) -> None:
    with pytest.raises(OptionError) as caught:
        net.show(stage, after=after)
    assert str(caught.value) == f"show: {told}"


def test_stages_that_are_none(net: gg.Network) -> None:
    with pytest.raises(OptionError) as caught:
        net.show("loops")
    assert str(caught.value) == "show: there is no stage 'loops'; the stages are graph, adjoint, program, source."
    with pytest.raises(OptionError, match=r"^show: there is no pass 'loops'; the passes are declare, "):
        net.show(after="loops")
    with pytest.raises(OptionError, match=r"^show: there is no pass 3; the passes are declare, "):
        net.show(after=3)  # type: ignore[arg-type]
    with pytest.raises(OptionError) as caught:
        net.show("graph", after="gather")
    assert str(caught.value) == "show takes a stage or the name of a pass (after=...), not both."
    plain = gg.compile({"y": x + 1}, name="plain")
    with pytest.raises(GraphError, match=r"^plain has no adjoint: no output depends on a float parameter\.$"):
        plain.show("adjoint")
