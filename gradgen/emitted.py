"""The text of a model, and what a caller must know of it: from the cache, or by all passes.

In: a `Model` and `Options`. Out: source, interface and, where the passes ran, what they made. `network` imports the
text as a module.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from gradgen import env
from gradgen.emit import store
from gradgen.emit.cpu_module import render_module
from gradgen.graph.fingerprint import fingerprint
from gradgen.graph.nodes import Leaf
from gradgen.machine import machine_of
from gradgen.model import Model
from gradgen.options import Options
from gradgen.patience import patience
from gradgen.pipeline import Compiled, compile_model
from gradgen.runtime.interface import Interface, interface_of
from gradgen.watch import Watch

__all__ = ["Emitted", "emitted"]


class Emitted(NamedTuple):
    """`compiled` is None where the cache had the text."""

    source: str
    interface: Interface
    compiled: Compiled | None


def emitted(model: Model, options: Options, leaves: Sequence[Leaf]) -> Emitted:
    """The text of a model, whose leaves these are."""
    key = _key(model, options, leaves)
    known = store.lookup(key) if key else None
    if known is not None:
        data = json.loads(known)
        return Emitted(data["source"], Interface.from_json(data["interface"]), None)
    with patience(f"compiling {model.name}"):
        compiled = compile_model(model, options)
        source = render_module(compiled.program)
    Watch().text(source)
    chosen = [compiled.leaves.get(x, x) for x in leaves]
    interface = interface_of(
        compiled.program,
        chosen,
        compiled.outputs,
        compiled.updates.values(),
        compiled.updated,
        options.sizes,
        compiled.checks,
        compiled.counts,
        compiled.derivatives,
    )
    if key:
        store.remember(key, json.dumps({"source": source, "interface": interface.as_json()}))
    return Emitted(source, interface, compiled)


def _key(model: Model, options: Options, leaves: Sequence[Leaf]) -> str:
    """What the text of a model depends on, for the cache; empty while somebody watches the passes."""
    if env.debug() or env.check():
        return ""
    roots = [*model.outputs.values(), *model.updates.values()]
    told = (model.name, model.loss, list(model.outputs), [x.name for x in model.updates], [x.name for x in model.wrt])
    told_by_name = (sorted(options.sizes.items()), sorted(options.skip))
    chosen = (options.target, options.dtype, *told_by_name, options.deterministic, machine_of(options.target))
    return store.key(repr(told), repr(chosen), repr([x.digest for x in leaves]), fingerprint(roots))
