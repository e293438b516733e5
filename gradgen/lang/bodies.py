"""How deep the body is that a user's function is just writing: of a loop, of a given adjoint, of a map.

In: the calls of `scan`, `custom` and `vmap` around. Out: a depth for the carries and the step of one more body.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_bodies: ContextVar[int] = ContextVar("gradgen_bodies", default=0)
_maps: ContextVar[int] = ContextVar("gradgen_maps", default=0)


@contextmanager
def inside_body() -> Iterator[int]:
    """While the function runs that makes a body: the depth of the carries that belong to it."""
    with _one_more(_bodies) as depth:
        yield depth


@contextmanager
def inside_map() -> Iterator[int]:
    """While the function runs that is mapped: the depth of its step, below 0, where no loop is."""
    with _one_more(_maps) as count:
        yield -1 - count


@contextmanager
def _one_more(opened: ContextVar[int]) -> Iterator[int]:
    count = opened.get()
    token = opened.set(count + 1)
    try:
        yield count
    finally:
        opened.reset(token)
