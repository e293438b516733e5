"""Formulas as LaTeX, word for word: every scalar function, conditions, subscripts, reductions, scans, names."""

from collections.abc import Mapping

import pytest

import gradgen as gg
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.nodes import Node, pointwise
from gradgen.graph.scalar import call, integer, load, number, position
from gradgen.inspect.formulas import as_written
from gradgen.inspect.latex import LatexFormulas
from gradgen.inspect.latex_pieces import aligned, latex_name


def lines(outputs: Mapping[str, gg.Tensor | Node]) -> list[str]:
    nodes = {name: x.node if isinstance(x, gg.Tensor) else x for name, x in outputs.items()}
    written = as_written(nodes)
    return [line for node in written.formulas for line in LatexFormulas(written).lines(node)]


def line(x: gg.Tensor | Node) -> str:
    """The formula of a tensor f, behind the sign."""
    return lines({"f": x})[-1].split("= ", 1)[1]


# Of x, y, z; and of the sums x + z and y + z, for the brackets.
EXPECTED = {
    "add": (r"x_{n} + y_{n}", r"x_{n} + z_{n} + (y_{n} + z_{n})"),
    "sub": (r"x_{n} - y_{n}", r"x_{n} + z_{n} - (y_{n} + z_{n})"),
    "mul": (r"x_{n} \, y_{n}", r"(x_{n} + z_{n}) \, (y_{n} + z_{n})"),
    "div": (r"\frac{x_{n}}{y_{n}}", r"\frac{x_{n} + z_{n}}{y_{n} + z_{n}}"),
    "floordiv": (
        r"\left\lfloor \frac{x_{n}}{y_{n}} \right\rfloor",
        r"\left\lfloor \frac{x_{n} + z_{n}}{y_{n} + z_{n}} \right\rfloor",
    ),
    "mod": (r"x_{n} \bmod y_{n}", r"(x_{n} + z_{n}) \bmod (y_{n} + z_{n})"),
    "neg": (r"-x_{n}", r"-(x_{n} + z_{n})"),
    "pow": (r"{x_{n}}^{y_{n}}", r"{(x_{n} + z_{n})}^{y_{n} + z_{n}}"),
    "square": (r"{x_{n}}^2", r"{(x_{n} + z_{n})}^2"),
    "reciprocal": (r"\frac{1}{x_{n}}", r"\frac{1}{x_{n} + z_{n}}"),
    "exp": (r"e^{x_{n}}", r"e^{x_{n} + z_{n}}"),
    "exp2": (r"2^{x_{n}}", r"2^{x_{n} + z_{n}}"),
    "expm1": (r"e^{x_{n}} - 1", r"e^{x_{n} + z_{n}} - 1"),
    "log": (r"\log(x_{n})", r"\log(x_{n} + z_{n})"),
    "log2": (r"\log_2(x_{n})", r"\log_2(x_{n} + z_{n})"),
    "log10": (r"\log_{10}(x_{n})", r"\log_{10}(x_{n} + z_{n})"),
    "log1p": (r"\log(1 + x_{n})", r"\log(1 + (x_{n} + z_{n}))"),
    "sqrt": (r"\sqrt{x_{n}}", r"\sqrt{x_{n} + z_{n}}"),
    "rsqrt": (r"\frac{1}{\sqrt{x_{n}}}", r"\frac{1}{\sqrt{x_{n} + z_{n}}}"),
    "cbrt": (r"\sqrt[3]{x_{n}}", r"\sqrt[3]{x_{n} + z_{n}}"),
    "logaddexp": (r"\log(e^{x_{n}} + e^{y_{n}})", r"\log(e^{x_{n} + z_{n}} + e^{y_{n} + z_{n}})"),
    "xlogy": (r"x_{n} \log(y_{n})", r"(x_{n} + z_{n}) \log(y_{n} + z_{n})"),
    "sin": (r"\sin(x_{n})", r"\sin(x_{n} + z_{n})"),
    "cos": (r"\cos(x_{n})", r"\cos(x_{n} + z_{n})"),
    "tan": (r"\tan(x_{n})", r"\tan(x_{n} + z_{n})"),
    "asin": (r"\arcsin(x_{n})", r"\arcsin(x_{n} + z_{n})"),
    "acos": (r"\arccos(x_{n})", r"\arccos(x_{n} + z_{n})"),
    "atan": (r"\arctan(x_{n})", r"\arctan(x_{n} + z_{n})"),
    "atan2": (r"\operatorname{atan2}(x_{n}, y_{n})", r"\operatorname{atan2}(x_{n} + z_{n}, y_{n} + z_{n})"),
    "sinh": (r"\sinh(x_{n})", r"\sinh(x_{n} + z_{n})"),
    "cosh": (r"\cosh(x_{n})", r"\cosh(x_{n} + z_{n})"),
    "tanh": (r"\tanh(x_{n})", r"\tanh(x_{n} + z_{n})"),
    "asinh": (r"\operatorname{arsinh}(x_{n})", r"\operatorname{arsinh}(x_{n} + z_{n})"),
    "acosh": (r"\operatorname{arcosh}(x_{n})", r"\operatorname{arcosh}(x_{n} + z_{n})"),
    "atanh": (r"\operatorname{artanh}(x_{n})", r"\operatorname{artanh}(x_{n} + z_{n})"),
    "hypot": (r"\sqrt{{x_{n}}^2 + {y_{n}}^2}", r"\sqrt{{(x_{n} + z_{n})}^2 + {(y_{n} + z_{n})}^2}"),
    "sinc": (r"\frac{\sin \pi x_{n}}{\pi x_{n}}", r"\frac{\sin \pi (x_{n} + z_{n})}{\pi (x_{n} + z_{n})}"),
    "erf": (r"\operatorname{erf}(x_{n})", r"\operatorname{erf}(x_{n} + z_{n})"),
    "erfc": (r"\operatorname{erfc}(x_{n})", r"\operatorname{erfc}(x_{n} + z_{n})"),
    "erfinv": (r"\operatorname{erf}^{-1}(x_{n})", r"\operatorname{erf}^{-1}(x_{n} + z_{n})"),
    "lgamma": (r"\log |\Gamma(x_{n})|", r"\log |\Gamma(x_{n} + z_{n})|"),
    "digamma": (r"\psi(x_{n})", r"\psi(x_{n} + z_{n})"),
    "polygamma": (r"\psi^{(1)}(y_{n})", r"\psi^{(1)}(y_{n} + z_{n})"),
    "sigmoid": (r"\sigma(x_{n})", r"\sigma(x_{n} + z_{n})"),
    "softplus": (r"\log(1 + e^{x_{n}})", r"\log(1 + e^{x_{n} + z_{n}})"),
    "logsigmoid": (r"\log \sigma(x_{n})", r"\log \sigma(x_{n} + z_{n})"),
    "relu": (r"\max(x_{n}, 0)", r"\max(x_{n} + z_{n}, 0)"),
    "abs": (r"|x_{n}|", r"|x_{n} + z_{n}|"),
    "sign": (r"\operatorname{sign}(x_{n})", r"\operatorname{sign}(x_{n} + z_{n})"),
    "floor": (r"\lfloor x_{n} \rfloor", r"\lfloor x_{n} + z_{n} \rfloor"),
    "ceil": (r"\lceil x_{n} \rceil", r"\lceil x_{n} + z_{n} \rceil"),
    "round": (r"\operatorname{round}(x_{n})", r"\operatorname{round}(x_{n} + z_{n})"),
    "maximum": (r"\max(x_{n}, y_{n})", r"\max(x_{n} + z_{n}, y_{n} + z_{n})"),
    "minimum": (r"\min(x_{n}, y_{n})", r"\min(x_{n} + z_{n}, y_{n} + z_{n})"),
    "where": (
        r"\begin{cases} y_{n} & \text{if } x_{n} < y_{n} \\ z_{n} & \text{otherwise} \end{cases}",
        r"\begin{cases} y_{n} + z_{n} & \text{if } x_{n} < y_{n} \\ z_{n} + z_{n} & \text{otherwise} \end{cases}",
    ),
    "difference": (r"(x_{n} - y_{n})", r"((x_{n} + z_{n}) - (y_{n} + z_{n}))"),
    "less_one": (
        r"(x_{n} - z_{n})_{1 - x_{n} = y_{n}}",
        r"((x_{n} + z_{n}) - (z_{n} + z_{n}))_{1 - (x_{n} + z_{n}) = (y_{n} + z_{n})}",
    ),
    "stop_gradient": (r"x_{n}", r"x_{n} + z_{n}"),
    "materialize": (r"x_{n}", r"x_{n} + z_{n}"),
    "lt": (r"x_{n} < y_{n}", r"x_{n} + z_{n} < y_{n} + z_{n}"),
    "le": (r"x_{n} \le y_{n}", r"x_{n} + z_{n} \le y_{n} + z_{n}"),
    "gt": (r"x_{n} > y_{n}", r"x_{n} + z_{n} > y_{n} + z_{n}"),
    "ge": (r"x_{n} \ge y_{n}", r"x_{n} + z_{n} \ge y_{n} + z_{n}"),
    "eq": (r"x_{n} = y_{n}", r"x_{n} + z_{n} = y_{n} + z_{n}"),
    "ne": (r"x_{n} \ne y_{n}", r"x_{n} + z_{n} \ne y_{n} + z_{n}"),
    "and": (r"x_{n} < z_{n} \land y_{n} < z_{n}", r"x_{n} + z_{n} < z_{n} \land y_{n} + z_{n} < z_{n}"),
    "or": (r"x_{n} < z_{n} \lor y_{n} < z_{n}", r"x_{n} + z_{n} < z_{n} \lor y_{n} + z_{n} < z_{n}"),
    "not": (r"\lnot(x_{n} < z_{n})", r"\lnot(x_{n} + z_{n} < z_{n})"),
    "bitwise_and": (r"k_{n} \mathbin{\&} l_{n}", r"(k_{n} + m_{n}) \mathbin{\&} (l_{n} + m_{n})"),
    "bitwise_xor": (r"k_{n} \oplus l_{n}", r"(k_{n} + m_{n}) \oplus (l_{n} + m_{n})"),
    "bitwise_or": (r"k_{n} \mathbin{|} l_{n}", r"(k_{n} + m_{n}) \mathbin{|} (l_{n} + m_{n})"),
    "left_shift": (r"k_{n} \ll l_{n}", r"(k_{n} + m_{n}) \ll (l_{n} + m_{n})"),
    "right_shift": (r"k_{n} \gg l_{n}", r"(k_{n} + m_{n}) \gg (l_{n} + m_{n})"),
    "wrapped": (r"k_{n} \, l_{n}", r"k_{n} \, l_{n}"),
    "isnan": (r"\operatorname{isnan}(x_{n})", r"\operatorname{isnan}(x_{n} + z_{n})"),
    "float32": ("k_{n}", "k_{n}"),
    "float64": (r"x_{n}", r"x_{n} + z_{n}"),
    "int32": (r"\operatorname{int32}(x_{n})", r"\operatorname{int32}(x_{n} + z_{n})"),
    "int64": (r"\operatorname{int64}(x_{n})", r"\operatorname{int64}(x_{n} + z_{n})"),
    "uint32": (
        r"\operatorname{uint32}(\operatorname{int64}(x_{n}))",
        r"\operatorname{uint32}(\operatorname{int64}(x_{n} + z_{n}))",
    ),
}

A, B, C = (gg.param(name, (3,)).node for name in "xyz")
K, L, M = (gg.input(name, (3,), dtype="int64").node for name in "klm")


def example(name: str, sums: bool) -> Node:
    """The function of elements, or of sums of them."""
    f, n = FUNCTIONS[name], position(0)
    x, y, z = (load(t, [n]) for t in ((K, L, M) if f.result == "integer" else (A, B, C)))
    given = [call("add", x, z), call("add", y, z), call("add", z, z)] if sums else [x, y, z]
    match name:
        case "and" | "or" | "not":
            given = [call("lt", part, z) for part in given]
        case "where":
            given[0] = call("lt", x, y)
        case "wrapped":
            given = [load(K, [n]) * load(L, [n])]
        case "polygamma":
            given[0] = number(1)
        case "float32":
            given = [load(K, [n])]
    return pointwise([integer(3)], call(name, *given[: f.arity]))


def test_every_function_has_a_line_here() -> None:
    assert list(EXPECTED) == list(FUNCTIONS)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_function_is_written_as_it_is_declared(name: str) -> None:
    assert (line(example(name, False)), line(example(name, True))) == EXPECTED[name]


N = gg.size("N")
x, w = gg.input("x", (N, 8)), gg.param("w", (8, 4))
b, k = gg.param("b", (4,)), gg.input("k", (N,), dtype="int64")
n, i, j = gg.indices("n i j")
i8 = gg.index("i", 8)


def test_a_layer_as_in_the_lecture() -> None:
    h = gg.relu(gg.compute((n, j), b[j] + gg.sum(x[n, i] * w[i, j], over=i)))
    assert lines({"h": h}) == [r"h_{n,j} &= \max\left(b_{j} + \sum_{i} x_{n,i} \, w_{i,j}, 0\right)"]


def test_one_formula_keeps_the_columns_of_its_cases() -> None:
    for found in (gg.where(w > 7, w, 0.0) * 1.5, gg.compile({"one": gg.where(w > 7, w, 0.5)}, name="cases")):
        latex = str(found._repr_latex_())
        assert r"w_{i,j} & \text{if }" in latex or r"\, w_{i,j} & \text{if }" in latex
        assert r"& \text{otherwise}" in latex


def test_conditions() -> None:
    assert line(gg.where(x > 0, x, gg.where(x < -1, -1.0, 2e-5 * x))) == (
        r"\begin{cases} x_{n,i} & \text{if } x_{n,i} > 0 \\ -1 & \text{if } x_{n,i} < -1 \\ "
        r"2 \cdot 10^{-5} \, x_{n,i} & \text{otherwise} \end{cases}"
    ).replace("n,i", "i,j")
    assert line(gg.where(x > 0, 1.0, 0.0)) == "[x_{i,j} > 0]"
    assert line(gg.where(x > 0, 0.0, 1.0) * x) == r"[\lnot(x_{i,j} > 0)] \, x_{i,j}"
    assert line((x > 0) * x) == r"[x_{i,j} > 0] \, x_{i,j}"
    assert line(gg.compute((n, i), gg.where((i >= 3) & (i < 6), x[n, i], 0.0))) == (
        r"\begin{cases} x_{n,i} & \text{if } 3 \le i < 6 \\ 0 & \text{otherwise} \end{cases}"
    )


def test_places_chosen_by_data_and_by_arithmetic() -> None:
    assert line(gg.compute(n, x[n, k[n]])) == "x_{n,k_{n}}"
    assert lines({"f": gg.accumulate(k[n], x[n, 0], shape=(5,))}) == [r"f_{k_{n}} &\mathrel{+}= x_{n,0}"]
    assert lines({"f": gg.accumulate(k[n], x[n, 0], shape=(5,), reduce="max")}) == [
        r"f_{k_{n}} &\mathrel{\max}= x_{n,0}"
    ]
    assert line(gg.compute((n, i8), x[n, i8 // 2])) == r"x_{n,\left\lfloor \frac{i}{2} \right\rfloor}"
    assert line(gg.compute((n, i8), x[n, (3 * i8) % 8])) == r"x_{n,3 \, i \bmod 8}"
    assert line(gg.compute((n, i8), gg.padded(x)[n, i8 - 1])) == (
        r"\begin{cases} x_{n,i - 1} & \text{if } i \ge 1 \\ 0 & \text{otherwise} \end{cases}"
    )
    assert line(x.reshape((N * 8,))) == r"x \text{ as } (8 \, N)"


def test_reductions() -> None:
    found = {name: line(getattr(gg, name)(x, axis=1)) for name in ("sum", "max", "min", "argmax", "argmin")}
    assert found == {
        "sum": r"\sum_{j} x_{i,j}",
        "max": r"\max_{j} x_{i,j}",
        "min": r"\min_{j} x_{i,j}",
        "argmax": r"\arg\max_{j} x_{i,j}",
        "argmin": r"\arg\min_{j} x_{i,j}",
    }
    assert line(gg.logsumexp(x, axis=1)) == r"\log \sum_{j} e^{x_{i,j}}"
    assert line(gg.compute(n, gg.max(x[n, i], over=i) + 1)) == r"\left(\max_{i} x_{n,i}\right) + 1"
    assert line(gg.compute(n, 2 * gg.sum(x[n, i] + 1, over=i))) == r"2 \, \left(\sum_{i} (x_{n,i} + 1)\right)"
    assert line(gg.sum(x)) == r"\sum_{i,j} x_{i,j}"


def test_what_is_large_has_parts_with_names() -> None:
    y = x[n, i]
    for _ in range(4):
        y = gg.tanh(y) + gg.sigmoid(y)
    twice = r"\tanh({0}) + \sigma({0})"
    whole = twice.format(twice.format("a"))
    assert line(gg.compute((n, i), y)) == rf"{whole} \quad\text{{with }} a = {twice.format(twice.format('x_{n,i}'))}"


def step(level: gg.Tensor, row: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
    level = 0.5 * level + row
    return level, level


def test_a_scan_is_a_recurrence() -> None:
    start = gg.input("start", (8,))
    last, levels = gg.scan(step, start, x)
    assert lines({"last": last, "levels": levels}) == [
        r"\mathrm{level}^{(0)} &= \mathrm{start}, \quad t = 0, \ldots, N - 1",
        r"\mathrm{level}^{(t+1)}_{i} &= 0.5 \, \mathrm{level}^{(t)}_{i} + x_{t,i}",
        r"\mathrm{last}_{i} &= \mathrm{level}^{(N)}_{i}",
        r"\mathrm{levels}_{n,i} &= \mathrm{level}^{(n + 1)}_{i}",
    ]


def test_a_scan_backwards() -> None:
    last, _ = gg.scan(step, gg.zeros((8,)), x, reverse=True)
    assert lines({"last": last}) == [
        r"\mathrm{level}^{(N)} &= 0, \quad t = N - 1, \ldots, 0",
        r"\mathrm{level}^{(t)}_{i} &= 0.5 \, \mathrm{level}^{(t+1)}_{i} + x_{t,i}",
        r"\mathrm{last}_{i} &= \mathrm{level}^{(0)}_{i}",
    ]


def test_a_carry_that_is_only_handed_on_has_a_line_of_its_own() -> None:
    def fibonacci(pair: tuple[gg.Tensor, gg.Tensor], row: gg.Tensor) -> tuple[tuple[gg.Tensor, gg.Tensor], gg.Tensor]:
        a, before = pair
        new = a + before * row
        return (new, a), 2.0 * before

    (last, _), ys = gg.scan(fibonacci, (gg.zeros((8,)), gg.ones((8,))), x)
    assert lines({"last": last, "ys": ys}) == [
        r"\mathrm{new}^{(0)} &= 0, \quad t = 0, \ldots, N - 1",
        r"\mathrm{carry}^{(0)} &= 1, \quad t = 0, \ldots, N - 1",
        r"\mathrm{carry}^{(t+1)} &= \mathrm{new}^{(t)}",
        r"\mathrm{new}^{(t+1)}_{i} &= \mathrm{new}^{(t)}_{i} + \mathrm{carry}^{(t)}_{i} \, x_{t,i}",
        r"\mathrm{product}^{(t)}_{n} &= 2 \, \mathrm{carry}^{(t)}_{n}",
        r"\mathrm{last}_{i} &= \mathrm{new}^{(N)}_{i}",
        r"\mathrm{ys}_{t} &= \mathrm{product}^{(t)}",
    ]


def test_adjoints_have_a_bar() -> None:
    u = gg.tanh(x @ w)
    loss = gg.sum(u * u)
    assert lines({"d_w": gg.grad(loss, w)})[-1] == (
        r"\bar{w}_{n,i} &= \sum_{j} \overline{\mathrm{u\_sum}}_{j,i} \, x_{j,n}"
    )
    assert latex_name("d_w") == r"\mathrm{d\_w}"  # a name alone tells nothing


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x", "x"),
        ("W1", r"\mathit{W1}"),
        ("mu", r"\mu"),
        ("mu1", r"\mathit{\mu 1}"),
        ("loss", r"\mathrm{loss}"),
        ("fc1_weight", r"\mathrm{fc1\_weight}"),
        ("é", "é"),
        ("größe", r"\mathrm{größe}"),
        (r"a$b}{\c^d~#&% e", r"\mathrm{a\$b\}\{\backslash c\hat{\ }d\sim \#\&\%\ e}"),
    ],
)
def test_names_are_escaped(name: str, expected: str) -> None:
    assert latex_name(name) == expected


def test_one_formula_is_no_table() -> None:
    assert aligned(["f &= x"]) == "$$f = x$$"
    assert aligned([r"f &\mathrel{+}= x"]) == r"$$f \mathrel{+}= x$$"
    assert aligned(["f &= x", "g &= f"]) == "$$\\begin{aligned}\nf &= x \\\\\ng &= f\n\\end{aligned}$$"
