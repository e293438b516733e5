"""Where a node came from: file, line, assigned name, letters; never a reason to fail, never part of equality."""

from collections import namedtuple
from dataclasses import replace

import gradgen as gg
from gradgen.graph import nodes
from gradgen.graph.nodes import toposort
from gradgen.graph.origin import Origin, carry_origin, display_name, name_derivative, name_part, origin
from gradgen.graph.place import here
from gradgen.graph.scalar import Scalar, call, integer, load, position
from gradgen.graph.tensor import Tensor


def of(tensor: Tensor) -> Origin:
    found = origin(tensor.node)
    assert found is not None
    return found


def test_the_assigned_name_and_letters() -> None:
    a, X = gg.input("a", (3, 6)), gg.param("X", (5, 6))
    n, i, j = gg.indices("n i j")
    u1 = gg.compute(
        (n, i),
        gg.sum(X[i, j] * a[n, j], over=j),
    )
    assert of(u1).name == "u1"
    assert of(u1).letters == ("n", "i", "j")
    assert of(u1).place.startswith("test_origin.py:")
    assert of(gg.compute((n, i), X[i, n])).name is None
    assert of(a).name == "a"


def test_letters_follow_the_positions_of_the_node() -> None:
    image, K = gg.input("image", (2, 3, 8)), gg.param("K", (4, 3, 5))
    n, o, h, c, p = gg.indices("n o h c p")
    y = gg.compute((n, o, h), gg.sum(image[n, c, h + p] * K[o, c, p], over=(p, c)))
    assert of(y).letters == ("n", "o", "h", "c", "p")
    dst, e, f = gg.input("dst", (7,), "int64"), *gg.indices("e f")
    g = gg.accumulate((f, dst[e]), image[0, 0, f] * 2, shape=(8, 3))
    assert of(g).letters == ("f", "e")


def test_kinds_of_assignment() -> None:
    x = gg.input("x", (3,))
    y: Tensor = gg.exp(x)
    s, t = gg.sin(x), gg.cos(x)
    holder = namedtuple("holder", "z")
    holder.z = gg.tanh(x)  # type: ignore[assignment, misc]
    u = v = gg.sqrt(x)
    w = gg.log(x); q = gg.floor(x)  # noqa: E702  # fmt: skip
    r = gg.abs(x)
    r += 1
    assert [of(k).name for k in (y, s, t, holder.z, u, w, q, r)] == ["y", "s", "t", "z", "u", "w", "q", "r"]  # type: ignore[arg-type]
    assert v is u


def layer(x: Tensor) -> Tensor:
    return gg.tanh(x * 2)


def test_a_return_takes_the_name_of_its_caller() -> None:
    x = gg.input("x", (3,))
    h = layer(x)
    assert of(h).name == "h"
    assert of(h).line == layer.__code__.co_firstlineno + 1


def test_nodes_of_one_statement_share_name_and_execution() -> None:
    x = gg.input("x", (3,))
    y = gg.exp(x * 2) + 1
    found = [origin(n) for n in toposort([y.node])[1:]]
    assert [f.name for f in found if f] == ["y", "y", "y"]
    assert len({f.execution for f in found if f}) == 1
    orders = [f.order for f in found if f]
    assert orders == sorted(orders)


def test_each_run_of_a_statement_is_an_execution() -> None:
    h = gg.input("x", (3,))
    outs = []
    for _ in range(3):
        h = gg.tanh(h)
        outs.append(h)
    assert len({of(k).execution for k in outs}) == 3
    assert {of(k).name for k in outs} == {"h"}
    outs = []
    for _ in range(3):
        h = layer(h)
        outs.append(h)
    assert len({of(k).execution for k in outs}) == 3


def test_no_source_is_no_error() -> None:
    scope: dict[str, object] = {}
    exec("import gradgen as gg\nx = gg.input('x', (3,))\ny = x + 1", scope)
    y = scope["y"]
    assert isinstance(y, Tensor)
    assert of(y).name is None
    assert of(y).place == "<string>:3"
    assert (lambda: gg.input("x", (3,)) + 1)().name is None


def test_equality_ignores_origin() -> None:
    x = gg.input("x", (3,))
    first = x + 1
    second = x + 1
    assert first is second
    assert of(second).name == "first"


def rewritten(y: Tensor) -> nodes.Node:
    """Another node over the leaves of y."""
    return nodes.reshape(y.node, (*y.node.shape, nodes.integer(1)))


def test_a_rewrite_keeps_the_origin() -> None:
    y = gg.input("x", (3,)) + 1
    new = rewritten(y)
    carry_origin(y.node, new)
    assert origin(new) == replace(of(y), is_carried=True)


def test_letters_of_what_is_summed_stay_only_with_equal_reads() -> None:
    """Positions are numbered as a body mentions them: in another order, `p` would stand for what was `q`."""
    K, a = gg.input("K", (3, 3)), gg.input("a", (5, 3, 3))
    n, p, q = gg.indices("n p q")
    y = gg.compute((n,), gg.sum(K[p, q] * a[n, p, q], over=(p, q)))
    row, first, second = (position(k) for k in range(3))

    def letters_of(body: Scalar) -> tuple[str, ...]:
        new = nodes.compute(y.node.shape, (*y.node.shape, integer(3), integer(3)), (row,), "sum", body)
        carry_origin(y.node, new)
        found = origin(new)
        assert found is not None
        return found.letters

    image = load(a.node, (row, first, second))
    assert letters_of(call("sub", load(K.node, (first, second)), image)) == ("n", "p", "q")
    assert letters_of(call("sub", image, load(K.node, (second, first)))) == ("n",)


def test_a_derivative_is_called_after_its_value() -> None:
    y = gg.input("x", (3,)) + 1
    d_y = rewritten(y)
    name_derivative(y.node, d_y, "d_")
    found = origin(d_y)
    assert found is not None
    assert (found.name, found.note, found.line, found.mark) == ("y", "d_", of(y).line, None)
    assert found.of is not None
    assert found.of == of(y).mark


def test_a_part_has_the_line_and_no_value_of_its_own() -> None:
    y = gg.input("x", (3,)) + 1
    part = rewritten(y)
    name_part(y.node, part)
    found = origin(part)
    assert found is not None
    assert (found.name, found.line, found.mark, found.of) == ("y", of(y).line, None, None)


def test_the_outermost_of_a_statement() -> None:
    x = gg.input("x", (3,))
    y = gg.exp(x) * 2
    (inner,) = [n for n in toposort([y.node]) if n not in (x.node, y.node)]
    found = origin(inner)
    assert found is not None
    assert (of(y).is_outermost, found.is_outermost) == (True, False)


def test_names_in_messages() -> None:
    x = gg.input("x", (3,))
    assert display_name(x.node) == "x"
    assert display_name((x + 1).node).startswith("the tensor of test_origin.py:")
    assert here().startswith("test_origin.py:")
