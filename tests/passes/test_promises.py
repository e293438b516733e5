"""What holds of every graph and what passes leave behind: graphs that break each of the promises."""

from collections.abc import Callable
from dataclasses import replace

import pytest

import gradgen as gg
from gradgen.errors import ProgramError
from gradgen.graph.intern import intern
from gradgen.graph.nodes import Compute, Node
from gradgen.graph.scalar import Letter, atom_poly, call, integer, load, position
from gradgen.passes.rebuild.promises import PROMISES, broken, verify_graph

x = gg.param("x", (4,))
doubled = gg.compute(i := gg.index("i", 4), 2 * x[i]).node
assert isinstance(doubled, Compute)


def two_scans() -> list[Node]:
    one, two = (gg.scan(lambda s, _, a=a: (a * s, None), x, length=3)[0] for a in (2, 3))
    return [one.node, two.node]


BREAKING: dict[str, Callable[[], list[Node]]] = {
    "resolve": lambda: [gg.custom(lambda y: gg.sin(y), lambda d, y: d, x).node],
    "reduce": lambda: [gg.logsumexp(x).node],
    "separate": two_scans,
}


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, words, _ in PROMISES])
def test_a_broken_promise_is_told(name: str, words: str) -> None:
    roots = BREAKING[name]()
    assert broken(roots, []) == []
    assert broken(roots, [name])
    with pytest.raises(ProgramError, match="bug in gradgen"):
        verify_graph(roots, [name], "a test")


LETTER = atom_poly(intern(Letter, "k", 0, None, "letter k"))


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (replace(doubled, target=(position(0), position(0))), "2 subscripts in its target"),
        (replace(doubled, extents=(position(0),)), "are no sizes"),
        (replace(doubled, body=load(x.node, [position(1)])), "an index without a range"),
        (replace(doubled, body=call("float32", LETTER)), "for formulas as they are declared"),
        (replace(doubled, body=load(doubled, [integer(0)]), steps=frozenset({0})), "changes with the steps"),
    ],
)
def test_what_holds_of_every_graph(node: Node, words: str) -> None:
    assert words in "\n".join(broken([node], []))
