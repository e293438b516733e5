"""The user's entry: from tensors to a compiled network.

In: outputs, and optionally updates, as `gg.compile` is given them. Out: a `Network`, once `asked` has checked them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradgen.asked import asked_model, asked_options
from gradgen.graph.tensor import Tensor
from gradgen.network import Network

__all__ = ["compile"]


def compile(  # noqa: A001  # gg.compile, as in the design
    outputs: Mapping[str, Tensor] | Tensor,
    *,
    name: str = "model",
    wrt: Sequence[Tensor] | Tensor | None = None,
    updates: Mapping[Tensor, Tensor] | None = None,
    loss: str | None = None,
    target: str = "cpu",
    dtype: str = "float32",
    sizes: Mapping[Any, int] | None = None,
    skip: Iterable[str] = (),
    strict: bool = False,
    deterministic: bool = False,
) -> Network:
    """Compile tensors and their gradients to a module of Numba functions.

    Args:
        outputs: tensors by name; a single tensor is called "y".
        name: a Python identifier, the name of the generated module.
        wrt: the leaves whose gradients are wanted; all float parameters by default.
        updates: new values of parameters and states, for `step`.
        loss: the scalar output that `value_and_grad` differentiates; the only float scalar by default.
        target: "cpu".
        dtype: what float32 becomes, "float32" or "float64".
        sizes: numbers for size symbols, by the size or its name.
        skip: rewrites for stability that are left out, by the names that `explain` gives them. Gradients that `gg.grad`
            has taken already keep what was rewritten for them: `gg.grad(..., skip=...)`.
        strict: refuse arrays that would have to be copied for a call, instead of a warning.
        deterministic: the same bits on any number of Numba's threads: loops are divided into 16 parts, however many
            there are. Matrix products are BLAS's, which has threads of its own.

    Raises:
        GraphError: two leaves of one name, or a gradient that is not defined.
        OptionError: an option with a value that it cannot have.
    """
    model = asked_model(outputs, name, wrt, updates, loss)
    return Network(model, asked_options(model, dtype, sizes, skip, strict, deterministic, target))
