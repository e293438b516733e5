"""Tables with a row of numbers for everything that can be named.

In: sizes. Out: layers of integers, with PyTorch's parameter layouts and first values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator
from numpy.typing import NDArray

from gradgen.errors import DTypeError, OptionError, ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang.array import stop_gradient
from gradgen.lang.compute import where
from gradgen.lang.declare import Assigned
from gradgen.lang.shapes import whole
from gradgen.nn import init
from gradgen.nn.modules import Module, Parameter

__all__ = ["Embedding"]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Independent and Gaussian, but for a row of zeros."""

    zero: int

    def draw(self, rng: Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        table = init.normal().draw(rng, shape, dtype)
        table[self.zero] = 0
        return table

    def written(self, shape: Sequence[str], dtype: str, rng: str) -> list[Assigned]:
        return [*init.normal().written(shape, dtype, rng), Assigned(str(self.zero), "0", draws=False)]


class Embedding(Module):
    """Rows of a table: integers (...) to floats (..., embedding_dim).

    `weight` is (num_embeddings, embedding_dim) and starts Gaussian. The row `padding_idx`, if there is one, starts as
    zeros and has the gradient 0; -1 is the last row.
    """

    weight: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        for count in (num_embeddings, embedding_dim):
            if not isinstance(count, int) or count < 0:
                raise ShapeError(
                    f"{here()}{self.name} has {shown(count)} for a size: give numbers of rows and columns."
                )
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise OptionError(f"{here()}{self.name} has the rows 0..{num_embeddings - 1}, and no row {padding_idx}.")
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        start = init.normal() if self.padding_idx is None else _Rows(self.padding_idx)
        self.declare("weight", Parameter((num_embeddings, embedding_dim), dtype, start))

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of these numbers; a number without a row is refused by the call of the compiled network.

        Raises:
            DTypeError: numbers that are no integers.
        """
        ids = whole(ids, "Embedding")
        if ids.dtype not in ("int32", "int64"):
            raise DTypeError(f"{here()}{self.name} takes integers; {describe(ids.node)} is {ids.dtype}.")
        rows: Tensor = self.weight[ids]
        if self.padding_idx is None:
            return rows
        return where((ids == self.padding_idx)[..., None], stop_gradient(rows), rows)  # type: ignore[no-any-return]
