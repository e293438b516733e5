"""Every family of operations on whole tensors that the random programs draw from: a table of short writers.

In: a `Writer`, which hands out operands. Out: the text of an expression in `m` and names; `operations` draws lines.
"""

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st

from tests.properties.operations import Operations, Writer

Form = Callable[[Writer], str]


def _unary(text: str) -> Form:
    return lambda w: text.format(w.some())


def _binary(text: str) -> Form:
    def form(w: Writer) -> str:
        x = w.some()
        pair = (x, w.beside(x))
        return text.format(*(pair if w.chance(2) else pair[::-1]))

    return form


def _ternary(text: str) -> Form:
    def form(w: Writer) -> str:
        x = w.some()
        return text.format(x, w.beside(x), w.of_shape(w[x].shape))

    return form


def _reduction(text: str, nothing: bool = False) -> Form:
    """Over one axis, several or all; over empty axes only where the result is finite."""

    def form(w: Writer) -> str:
        x = w.some(full=not nothing)
        rank = w[x].ndim
        several = tuple(a for a in range(rank) if w.chance(2))
        axis = w.pick((several, None, w.axis(x)) if rank else (None,))
        return text.format(x, f"axis={None if axis == () else axis}, keepdims={w.chance(2)}")

    return form


def _along(text: str, full: bool = False) -> Form:
    """Along one axis, which exists."""

    def form(w: Writer) -> str:
        x = w.some(1, 2, 3, full=full)
        return text.format(x, w.axis(x))

    return form


def _norm(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    if np.abs(w[x]).min() < 1e-2:  # its slope at zero is a convention
        x = f"({x} * {x} + 0.5)"
        return f"m.sqrt(m.sum({x}, axis=0))"
    return f"m.norm({x}, {w.pick((2, 1, 3, 'm.inf'))}, axis={w.axis(x)}, keepdims={w.chance(2)})"


def _std(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    axis = w.axis(x)
    if w[x].std(axis).min() < 1e-2:
        return f"m.sqrt(m.var({x}, axis={axis}) + 0.5)"
    return f"m.std({x}, axis={axis}, keepdims={w.chance(2)})"


# ---------------------------------------------------------------- products


def _matmul(w: Writer) -> str:
    x = w.some(1, 2, 3)
    shape = w[x].shape
    if w.chance(3):
        return f"{x} @ {w.of_shape(shape[-1:])}"
    last = w.extent()
    if len(shape) == 1 or w.chance(2):
        return f"{x} @ {w.of_shape((shape[-1], last))}"
    batch = tuple(1 if w.chance(4) else e for e in shape[:-2])
    return f"m.matmul({x}, {w.of_shape((*batch, shape[-1], last))})"


SPECS = (
    "ij,jk->ik", "ij,jk->ki", "ij,j->i", "i,i->", "ij,ij->ij", "ij,kj->", "ii->i", "ii", "ij->ji", "ijk,ikl->ijl",
    "ij,jk,kl->il", "ij,jk,j->ki", "ijk->j", "i,j->ij", "ij,ij", "ii,i->i", "i,i,i->", "ijj->ij",
    "ij,jk,ki->", "i,j,k->kji",
)  # fmt: skip


def _einsum(w: Writer) -> str:
    spec = w.pick(SPECS)
    sizes: dict[str, int] = {}
    operands = []
    for k, letters in enumerate(spec.split("->")[0].split(",")):
        if k == 0 and len(set(letters)) == len(letters) and w.chance(2):
            operands.append(w.some(len(letters)))
            sizes.update(zip(letters, w[operands[0]].shape, strict=True))
            continue
        for letter in letters:
            sizes.setdefault(letter, w.extent())
        operands.append(w.of_shape([sizes[letter] for letter in letters]))
    return f'm.einsum("{spec}", {", ".join(operands)})'


def _einsum_dots(w: Writer) -> str:
    x = w.some(2, 3)
    last = w[x].shape[-1]
    return f'm.einsum("...j,jk->...k", {x}, {w.of_shape((last, w.extent()))})'


def _tensordot(w: Writer) -> str:
    x = w.some(2, 3)
    shape = w[x].shape
    if w.chance(2):
        return f"m.tensordot({x}, {w.of_shape((*shape[-2:], *[w.extent()][: w.pick((0, 1))]))})"
    return f"m.tensordot({x}, {w.of_shape((w.extent(), shape[0]))}, ([0], [1]))"


def _outer(w: Writer) -> str:
    return f"m.outer({w.some(1)}, {w.some(1)})"


# ---------------------------------------------------------------- slices and indices


def _slice(w: Writer, extent: int) -> str:
    ways = [":", "::-1", "::2", "::-2", "1:", ":-1", "-2:", ":2", "::3", "1::2", "-2::-1", ":0:-1", ":5", "1:1"]
    if w.chance(6):
        return w.pick(ways)
    return w.pick([s for s in ways[:-1] if len(range(extent)[eval(f"slice({_bounds(s)})")])] or [":"])


def _bounds(text: str) -> str:
    return ", ".join(part or "None" for part in [*text.split(":"), ""][:3])


def _slices(w: Writer) -> str:
    x = w.some(1, 2, 3)
    return f"{x}[{', '.join(_slice(w, extent) for extent in w[x].shape)}]"


def _numbers(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    items = []
    for extent in w[x].shape:
        items.append(str(w.pick(range(-extent, extent))) if w.chance(2) else _slice(w, extent))
        if w.chance(4):
            items.append("None")
    if w.chance(3) and items:
        items = ["...", items[-1]] if w.chance(2) else [items[0], "..."]
    return f"{x}[{', '.join(items)}]"


def _array(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    shape = w[x].shape
    at = w.pick(range(len(shape)))
    chosen = w.integers(w.pick(((3,), (2, 2), (), (1,), (4,))), shape[at])
    return f"{x}[{', '.join([':'] * at + [chosen])}]"


def _arrays(w: Writer) -> str:
    x = w.some(2, 3, full=True)
    shape = w[x].shape
    first, second = w.integers(w.pick(((3,), (2, 1), ())), shape[0]), w.integers((3,), shape[-1])
    middle = ", ".join([":"] * (len(shape) - 2))
    return f"{x}[{first}, {middle + ', ' if middle else ''}{second}]"


def _take(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    if w.chance(3):
        return f"m.take({x}, {w.integers((w.extent(), 2), w[x].size)})"
    axis = w.axis(x)
    return f"m.take({x}, {w.integers((w.extent(),), w[x].shape[axis])}, axis={axis})"


def _computed(w: Writer) -> str:
    """A place that no range of a label proves."""
    x = w.some(1, 2, 3, full=True)
    extent = w[x].shape[0]
    half = w.integers((w.pick((3, 2, 1)),), (extent + 1) // 2)
    places = (f"{half} * 2", f"{extent - 1} - {half} * 2", f"{half} + {half}")
    return w.pick((f"{x}[{w.pick(places)}]", f"m.take({x}, {half} * 2, axis=0)"))


def _compress(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    axis = w.axis(x)
    extent = w[x].shape[axis]
    mask = w.of_shape((extent,))
    return f"m.compress({mask} > {w.pick((0.1, -0.4))}, {x}, {w.pick(range(1, extent + 2))}, axis={axis})"


def _selected(w: Writer, x: str, axis: int) -> str:
    """Integers that name places along an axis, one for each element of a result like x but along that axis."""
    shape = list(w[x].shape)
    shape[axis] = w.extent()
    return w.integers(shape, w[x].shape[axis])


def _take_along_axis(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    axis = w.axis(x)
    ways = [f"m.argmax({x}, axis={axis}, keepdims=True)", f"m.argsort({x}, {axis})"]
    if w.chance(2):
        ways = [_selected(w, x, axis)]
    return f"m.take_along_axis({x}, {w.pick(ways)}, {axis})"


def _scatter_add(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    axis = w.axis(x)
    at = _selected(w, x, axis)
    return f"m.scatter_add({x}, {at}, {w.of_shape(w[at].shape)}, {axis})"


def _topk(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    axis = w.axis(x)
    return f"m.topk({x}, {w.pick(range(1, w[x].shape[axis] + 1))}, axis={axis})[0]"


def _places(w: Writer) -> str:
    """Places among several axes, in the order in which these are given; of conditions, many are equal."""
    x = w.some(1, 2, 3, full=True)
    axes = w.draw(st.permutations(range(w[x].ndim)))[: w.pick((2, 3, 1))]
    reducer = w.pick(("argmax", "argmin"))
    best = w.pick((x, f'm.cast({x} > 0.3, "float64")'))
    return f'{x} * m.cast(m.{reducer}({best}, axis={w.pick((tuple(axes), None))}, keepdims=True), "float64")'


def _searchsorted(w: Writer) -> str:
    x = w.some()
    side = w.pick(("left", "right"))
    return f'{x} * m.cast(m.searchsorted(m.sort({w.leaf((w.extent(),))}), {x}, "{side}"), "float64")'


# ---------------------------------------------------------------- other shapes


def _concatenate(w: Writer) -> str:
    x = w.some(1, 2, 3)
    axis = w.axis(x)
    shape = list(w[x].shape)
    shape[axis] = w.extent()
    parts = [x, w.of_shape(shape), *([x] if w.chance(2) else [])]
    return f"m.concatenate([{', '.join(parts)}], axis={axis})"


def _stack(w: Writer) -> str:
    x = w.some()
    return f"m.stack([{x}, {w.of_shape(w[x].shape)}], axis={w.pick(range(w[x].ndim + 1))})"


def _split(w: Writer) -> str:
    x = w.some(1, 2, 3)
    axis = w.axis(x)
    extent = w[x].shape[axis]
    if extent and extent % 2 == 0 and w.chance(2):
        return f"m.split({x}, 2, axis={axis})[0] * m.split({x}, 2, axis={axis})[1]"
    return f"m.split({x}, [{w.pick(range(extent + 1))}], axis={axis})[{w.pick((0, 1))}]"


def _pad(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    mode = w.pick(("constant", "edge", "reflect", "symmetric", "wrap"))
    sides = []
    for extent in w[x].shape:
        most = {"reflect": extent - 1, "symmetric": extent, "wrap": extent}.get(mode, 2)
        sides.append((w.pick(range(min(most, 2) + 1)), w.pick(range(min(most, 3) + 1))))
    value = f", value={w.pick((0.0, 0.75))}" if mode == "constant" else ""
    return f'm.pad({x}, {tuple(sides)}, mode="{mode}"{value})'


def _roll(w: Writer) -> str:
    x = w.some(1, 2, 3, full=True)
    return f"m.roll({x}, {w.pick((1, -1, 2, 7))}" + ("" if w.chance(4) else f", axis={w.axis(x)}") + ")"


def _flip(w: Writer) -> str:
    x = w.some(1, 2, 3)
    return f"m.flip({x}, {w.pick((None, w.axis(x), tuple(range(w[x].ndim))))})"


def _tile(w: Writer) -> str:
    x = w.some(1, 2)
    return f"m.tile({x}, {w.pick(((2,), (2, 1), (1, 3), (2, 1, 2)))})"


def _repeat(w: Writer) -> str:
    x = w.some(1, 2, 3)
    return f"m.repeat({x}, {w.pick((2, 3, 1))}" + ("" if w.chance(4) else f", axis={w.axis(x)}") + ")"


def _reshape(w: Writer) -> str:
    x = w.some()
    n = w[x].size
    shapes: list[Sequence[int]] = [(n,), (1, n), (n, 1), (*w[x].shape, 1)]
    shapes += [(k, n // k) for k in (2, 3) if n and n % k == 0]
    return f"m.reshape({x}, {w.pick(shapes)})"


def _transpose(w: Writer) -> str:
    x = w.some(2, 3)
    order = w.draw(st.permutations(range(w[x].ndim)))
    return w.pick((f"m.transpose({x}, {tuple(order)})", f"{x}.T", f"m.swapaxes({x}, 0, -1)", f"m.moveaxis({x}, 0, -1)"))


def _expand(w: Writer) -> str:
    x = w.some(0, 1, 2)
    at = w.pick(range(w[x].ndim + 1))
    return f"m.expand_dims({x}, {at}) * {w.leaf((2, *[1] * (w[x].ndim - at)))}"


def _broadcast_to(w: Writer) -> str:
    x = w.some(0, 1, 2)
    shape = tuple(3 if e == 1 else e for e in w[x].shape)
    return f"m.broadcast_to({x}, {(2, *shape)})"


TABLE: dict[str, dict[str, Form]] = {
    "arithmetic": {
        "+": _binary("{} + {}"), "-": _binary("{} - {}"), "*": _binary("{} * {}"),
        "/": _binary("{0} / ({1} * {1} + 0.5)"), "**": _binary("({0} * {0} + 0.5) ** {1}"),
        "maximum": _binary("m.maximum({}, {})"), "minimum": _binary("m.minimum({}, {})"),
        "logaddexp": _binary("m.logaddexp({}, {})"), "hypot": _binary("m.hypot({}, {} + 4.0)"),
        "%": _unary("{} % 0.75"), "square": _unary("{} ** 2"), "weak number": _unary("2.0 - 0.5 * {} / 3"),
    },
    "functions": {
        "sin": _unary("m.sin({})"), "tanh": _unary("m.tanh({})"), "exp": _unary("m.exp(0.5 * {})"),
        "log": _unary("m.log({0} * {0} + 0.5)"), "sqrt": _unary("m.sqrt(m.abs({}) + 0.5)"),
        "sigmoid": _unary("m.sigmoid({})"), "relu": _unary("m.relu({})"), "gelu": _unary("m.gelu({})"),
        "silu": _unary("m.silu({})"), "softplus": _unary("m.softplus({})"), "erf": _unary("m.erf({})"),
    },
    "products": {
        "matmul": _matmul, "einsum": _einsum, "einsum with dots": _einsum_dots, "tensordot": _tensordot,
        "outer": _outer,
    },
    "reductions": {
        "sum": _reduction("m.sum({}, {})", nothing=True), "prod": _reduction("m.prod({}, {})", nothing=True),
        "mean": _reduction("m.mean({}, {})"), "max": _reduction("m.max({}, {})"), "min": _reduction("m.min({}, {})"),
        "var": _reduction("m.var({}, {})"), "logsumexp": _reduction("m.logsumexp({}, {})"),
        "norm": _norm, "std": _std,
    },
    "normalisations": {
        "softmax": _along("m.softmax({}, axis={})", full=True),
        "log_softmax": _along("m.log_softmax({}, axis={})", full=True),
        "naive softmax": _along("m.exp({0}) / m.sum(m.exp({0}), axis={1}, keepdims=True)", full=True),
        "standardised": _along(
            "({0} - m.mean({0}, axis={1}, keepdims=True)) / m.sqrt(m.var({0}, axis={1}, keepdims=True) + 0.1)",
            full=True,
        ),
        "shift by max": _along("m.exp({0} - m.max({0}, axis={1}, keepdims=True))", full=True),
    },
    "slices": {"steps": _slices, "numbers and new axes": _numbers},
    "integer arrays": {
        "an array": _array, "two arrays": _arrays, "take": _take, "computed places": _computed,
        "take_along_axis": _take_along_axis, "scatter_add": _scatter_add,
    },
    "masks": {
        "where": _ternary("m.where({} > 0.1, {}, {})"), "compress": _compress,
        "guarded log": _unary("m.where({0} > 0.05, m.log(m.maximum({0}, 0.05)), {0})"),
        "mask as number": _unary('{0} * m.cast({0} > 0.2, "float64")'),
        "count_nonzero": _along('{0} * m.cast(m.count_nonzero({0} > 0.2, axis={1}, keepdims=True), "float64")'),
        "any": _along('m.where(m.any({0} > 0.9, axis={1}, keepdims=True), {0}, -{0})'),
    },
    "joins": {"concatenate": _concatenate, "stack": _stack, "split": _split},
    "copies": {"pad": _pad, "roll": _roll, "flip": _flip, "tile": _tile, "repeat": _repeat},
    "shapes": {
        "reshape": _reshape, "transpose": _transpose, "expand_dims": _expand, "broadcast_to": _broadcast_to,
        "ravel": _unary("m.ravel({})"),
    },
    "diagonals": {
        "diagonal": lambda w: f"m.diagonal({w.some(2, full=True)})", "tril": lambda w: f"m.tril({w.some(2, 3)})",
        "triu": lambda w: f"m.triu({w.some(2)}, {w.pick((1, 0, -1))})",
        "trace": lambda w: f"m.trace({w.some(2, full=True)})",
        "diag": lambda w: f"m.diag({w.some(1, full=True)}, {w.pick((0, 1, -2))})",
    },
    "running": {
        "cumsum": _along("m.cumsum({}, axis={})"), "cumprod": _along("m.cumprod({}, axis={})"),
        "cumsum, flat": _unary("m.cumsum(m.ravel({}))"),
        "cummax": _along("m.cummax({}, axis={})[0]"), "cummin": _along("m.cummin({}, axis={})[0]"),
    },
    "order": {
        "sort": _along("m.sort({}, axis={})", full=True), "topk": _topk, "places": _places,
        "searchsorted": _searchsorted,
    },
}  # fmt: skip
FEATURES = (*TABLE, *[name for family in TABLE.values() for name in family], "size one", "empty result")
assert len(set(FEATURES)) == len(FEATURES)


@st.composite
def operations(draw: Callable, most: int = 6) -> Operations:
    """A program of one to `most` lines."""
    writer = Writer(draw, np.random.default_rng(draw(st.integers(0, 2**16))))
    for _ in range(draw(st.integers(1, most))):
        writer.line(TABLE)
    return Operations(writer.leaves, tuple(writer.lines), frozenset(writer.features))
