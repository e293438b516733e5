"""Compiled networks inside other programs: a module for each, imported by its own name, which needs its package."""

from typing import Any

from gradgen.errors import OptionError
from gradgen.network import Network

__all__ = ["checked_network"]


def checked_network(net: Any, what: str) -> Network:
    """The network that `what` takes.

    Raises:
        OptionError: something else.
    """
    if not isinstance(net, Network):
        raise OptionError(f"{what} takes a network, as gg.compile makes it, not {type(net).__name__}.")
    return net
