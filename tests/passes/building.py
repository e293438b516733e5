"""Small graphs for the tests of passes: indices i, j, k are positions 0, 1, 2; values come from a seeded generator."""

from collections.abc import Mapping, Sequence

import numpy as np

from gradgen.graph.nodes import Compute, Leaf, Node, Project, all_inputs, compute, leaf, pointwise, show_size, toposort
from gradgen.graph.scalar import (
    Call,
    Const,
    Load,
    Poly,
    Scalar,
    as_scalar,
    call,
    load,
    position,
    require_poly,
    size_symbol,
)
from gradgen.lang.interpret import interpret

i, j, k, m = (position(at) for at in range(4))
N, M, T = (size_symbol(name) for name in "NMT")
SIZES = {"N": 5, "M": 4, "T": 3}


def tensor(name: str, *shape: Poly | int, dtype: str = "float64") -> Leaf:
    return leaf(name, [require_poly(s) for s in shape], dtype, "input")


def formula(shape: Sequence[Poly | int], body: Scalar | float) -> Node:
    return pointwise([require_poly(s) for s in shape], scalar(body))


def total(shape: Sequence[Poly | int], reduced: Sequence[Poly | int], body: Scalar, reducer: str = "sum") -> Node:
    """reducer over the positions after those of the shape."""
    extents = [require_poly(s) for s in (*shape, *reduced)]
    return compute(extents[: len(shape)], extents, [position(at) for at in range(len(shape))], reducer, body)


def scatter(
    shape: Sequence[Poly | int], extents: Sequence[Poly | int], target: Sequence[Poly | int], body: Scalar
) -> Node:
    polys = [[require_poly(s) for s in part] for part in (shape, extents, target)]
    return compute(*polys, "sum", body)


def at(node: Node, *subscripts: Poly | int) -> Load:
    return load(node, subscripts)


def scalar(value: Scalar | float) -> Scalar:
    found = as_scalar(value)
    assert found is not None
    return found


def f(name: str, *arguments: Scalar | float) -> Scalar:
    return call(name, *[scalar(a) for a in arguments])


def where(condition: Scalar, yes: Scalar | float, no: Scalar | float = 0) -> Scalar:
    return f("where", condition, yes, no)


def leaves(roots: Sequence[Node]) -> list[Leaf]:
    return [n for n in toposort(roots, all_inputs) if isinstance(n, Leaf)]


def formulas(*roots: Node) -> list[Compute]:
    return [n for n in toposort(roots, all_inputs) if isinstance(n, Compute)]


def scans(*roots: Node) -> list[object]:
    return list(dict.fromkeys(n.scan for n in toposort(roots, all_inputs) if isinstance(n, Project)))


def random_values(
    roots: Sequence[Node], special: bool = False, seed: int = 0, positive: bool = False
) -> dict[Leaf, np.ndarray]:
    """Random arrays for all leaves; `special` puts in nan, infinities and signed zeros; integers are below 3."""
    generator = np.random.default_rng(seed)
    found: dict[Leaf, np.ndarray] = {}
    for node in leaves(roots):
        shape = tuple(evaluated(s) for s in node.shape)
        if node.dtype.startswith("int"):
            found[node] = generator.integers(0, 3, shape).astype(node.dtype)
            continue
        array = generator.normal(size=shape)
        array = np.abs(array) + 0.1 if positive else array
        if special and array.size:
            flat = array.reshape(-1)
            for value in (np.nan, np.inf, -np.inf, 0.0, -0.0, 800.0, -800.0):
                if flat.size > 8:
                    flat[generator.integers(flat.size)] = value
        found[node] = array.astype(node.dtype)
    return found


def evaluated(size: Poly) -> int:
    return int(interpret([formula((), size)], {}, SIZES)[0])


def values(roots: Sequence[Node], arrays: Mapping[Leaf, np.ndarray]) -> list[np.ndarray]:
    return interpret(roots, arrays, SIZES)


def assert_same_values(
    before: Sequence[Node], after: Sequence[Node], special: bool = False, positive: bool = False, rtol: float = 1e-10
) -> None:
    for seed in range(3):
        arrays = random_values([*before, *after], special, seed, positive)
        for a, b in zip(values(before, arrays), values(after, arrays), strict=True):
            np.testing.assert_allclose(b, a, rtol=rtol, atol=1e-12)
            assert a.dtype == b.dtype


def show(x: Scalar) -> str:
    """An expression as text, for messages of failing tests."""
    match x:
        case Call(function=function, arguments=arguments):
            return f"{function.name}({', '.join(show(a) for a in arguments)})"
        case Load(tensor=node, subscripts=subscripts):
            return f"{getattr(node, 'name', 'T')}[{', '.join(show(s) for s in subscripts)}]"
        case Const(text=text):
            return text
        case Poly():
            return show_size(x)
    return repr(x)
