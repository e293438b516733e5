"""What a block is called with, in words that gradgen and PyTorch both read, and the arrays that both are given.

In: the tables of the families, `cases_*.py`. Out: `Case`, and its arrays, which depend on names and shapes only.
"""

import ast
import importlib
import inspect
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gradgen import nn

HERE = Path(__file__).resolve().parent
FIXTURES = HERE / "fixtures"


@dataclass(frozen=True)
class Drawn:
    """An input that is no array of standard normal numbers: labels, lengths, probabilities, masks."""

    shape: tuple[int, ...]
    kind: str = "normal"  # "normal", "positive", "uniform" (0 to 1), "softmax", "bool", "int"
    below: int = 0  # of integers
    scale: float = 1.0
    values: Any = None  # these numbers and no others; integers are int64


@dataclass(frozen=True)
class Case:
    """One block with one choice of options.

    `make` is the text that makes the layer, `call` what is computed with it and the inputs; in both `nn` is `gg.nn` or
    `torch.nn`, `F` is `gg.nn` or `torch.nn.functional`. Where PyTorch says it otherwise, `torch_make` or `torch_call`
    do; there `torch` is PyTorch. The first axis of every input is a symbol, unless `batch` names other inputs.
    """

    id: str
    inputs: Mapping[str, tuple[int, ...] | Drawn]
    make: str = ""
    call: str = "layer(x)"
    torch_make: str | None = None
    torch_call: str | None = None
    batch: Mapping[str, str] | None = None  # by input, names of its first sizes: {"x": "N", "edges": "E"}
    constant: frozenset[str] = frozenset()  # floats by which PyTorch does not differentiate
    compiled: bool = False  # one of a block is compiled by Numba too
    derivatives: bool = False  # one of a block has its directional and second derivatives checked
    names: Mapping[str, str] = field(default_factory=dict)  # parameters that PyTorch calls otherwise: ours to theirs

    def drawn(self, name: str) -> Drawn:
        said = self.inputs[name]
        return said if isinstance(said, Drawn) else Drawn(said)

    def array(self, name: str) -> np.ndarray:
        """An input's numbers."""
        return numbers(f"{self.id}/{name}", self.drawn(name))

    def symbols(self, name: str) -> tuple[str | int, ...]:
        """An input's shape, as it is declared."""
        shape = self.drawn(name).shape
        symbol = ("N" if self.batch is None and shape else "") if self.batch is None else self.batch.get(name, "")
        return (symbol, *shape[1:]) if symbol else shape


def numbers(what: str, drawn: Drawn) -> np.ndarray:
    """Numbers by a generator whose stream NumPy does not change, from the name of what they are for."""
    rng = np.random.RandomState(zlib.crc32(what.encode()))
    if drawn.values is not None:
        given = np.asarray(drawn.values)
        return given.astype(np.int64) if given.dtype.kind in "iu" else given
    match drawn.kind:
        case "normal":
            return drawn.scale * rng.standard_normal(drawn.shape)
        case "positive":
            return drawn.scale * (0.1 + np.abs(rng.standard_normal(drawn.shape)))
        case "uniform":
            return drawn.scale * rng.uniform(size=drawn.shape)
        case "softmax":
            e = np.exp(rng.standard_normal(drawn.shape))
            return e / e.sum(1 if len(drawn.shape) > 1 else 0, keepdims=True)
        case "bool":
            return rng.uniform(size=drawn.shape) < 0.5
        case "int":
            return rng.randint(0, drawn.below, drawn.shape).astype(np.int64)
    raise ValueError(drawn.kind)


def parameter(case: Case, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of a parameter, by the name that PyTorch gives it."""
    match name.rpartition(".")[2]:
        case "running_var":
            return numbers(f"{case.id}/{name}", Drawn(tuple(shape), "positive"))
        case "num_batches_tracked":
            return np.array(3)
    return numbers(f"{case.id}/{name}", Drawn(tuple(shape), scale=0.5))


def weights(case: Case, k: int, shape: tuple[int, ...]) -> np.ndarray:
    """What output k is multiplied with before everything is summed and differentiated."""
    return numbers(f"{case.id}/output {k}", Drawn(tuple(shape)))


@cache
def families() -> dict[str, list[Case]]:
    """The tables, by family: `cases_attention.py` is "attention"."""
    found = {}
    for path in sorted(HERE.glob("cases_*.py")):
        module = importlib.import_module(f"tests.nn.{path.stem}")
        found[path.stem.removeprefix("cases_")] = module.CASES
    return found


def all_cases() -> Iterator[tuple[str, Case]]:
    """Every case with its family."""
    for family, cases in families().items():
        for case in cases:
            yield family, case


def options_given(case: Case) -> Iterator[tuple[str, str]]:
    """The blocks that a case calls, as ("Linear", ""), and the options that it gives them, as ("Linear", "bias")."""
    for text in (case.make, case.call):
        for call in ast.walk(ast.parse(text or "None", mode="eval")):
            if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) and call.value.id in ("nn", "F"):
                yield call.attr, ""
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                owner = call.func.value
                if not isinstance(owner, ast.Name) or owner.id not in ("nn", "F"):
                    continue
                block = getattr(nn, call.func.attr)
                names = list(inspect.signature(block).parameters)
                starred = any(isinstance(x, ast.Starred) for x in call.args)
                for name in [*(names[: len(call.args)] if not starred else names), *(k.arg for k in call.keywords)]:
                    yield call.func.attr, str(name)
