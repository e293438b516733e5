"""What is found out about a node, found out once: several passes ask it, and every entry point of a model.

In: a question about a node. Out: the same question, answered from memory while the node is alive.
"""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from gradgen.graph.nodes import Node
from gradgen.machine import Machine, machine

__all__ = ["by_node"]

T = TypeVar("T")


def by_node(ask: Callable[[Node], T]) -> Callable[[Node], T]:
    """The question, remembered for each machine. An answer must not hold the node itself, or neither is ever freed."""
    known: WeakKeyDictionary[Node, dict[Machine, T]] = WeakKeyDictionary()

    @wraps(ask)
    def asked(node: Node) -> T:
        answers = known.setdefault(node, {})
        here = machine()
        if here not in answers:
            answers[here] = ask(node)
        return answers[here]

    return asked
