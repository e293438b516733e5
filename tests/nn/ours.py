"""A case as gradgen computes it: outputs, gradients by inputs and parameters, directional and second derivatives."""

from functools import lru_cache
from typing import Any

import numpy as np

import gradgen as gg
from gradgen import nn
from gradgen.graph.nodes import leaf, toposort
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import Tensor
from gradgen.lang.interpret import interpret
from gradgen.network import Network
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.prepare.retarget import retarget
from gradgen.passes.prepare.sequence import prepare
from tests.cpu.running import unjitted
from tests.nn.table import Case, parameter, weights

DTYPES = {"b": "bool", "i": "int64", "f": "float32"}
Arrays = dict[str, np.ndarray]


def flat(outputs: Any) -> list[Any]:
    """The tensors of nested tuples, in order; None is left out."""
    if isinstance(outputs, (tuple, list)):
        return [y for inner in outputs for y in flat(inner)]
    return [] if outputs is None else [outputs]


class Ours:
    """A case declared once: its leaves, its outputs, and what else is made of them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.inputs: dict[str, Tensor] = {}
        self.arrays: Arrays = {}
        for name in case.inputs:
            self.arrays[name] = case.array(name)
            shape = [gg.size(s) if isinstance(s, str) else s for s in case.symbols(name)]
            self.inputs[name] = gg.input(name, shape, DTYPES[self.arrays[name].dtype.kind])
        scope: dict[str, Any] = {"nn": nn, "F": nn, "gg": gg, "np": np, **self.inputs}
        if case.make:
            scope["layer"] = eval(case.make, {**scope})
        self.layer = scope.get("layer")
        self.outputs = flat(eval(case.call, scope))
        self.parameters = dict(nn.named_parameters(self.layer))
        read = set(toposort([y.node for y in self.outputs]))
        for theirs, own in self.parameters.items():
            if own.node.role == "state" and own.node not in read:
                continue  # what is carried is not read in training
            name = case.names.get(theirs, theirs)
            self.arrays[str(own.name)] = parameter(case, name, tuple(int(s) for s in own.shape))
        self.by = {
            **{name: x for name, x in self.inputs.items() if x.dtype in FLOATS and name not in case.constant},
            **{case.names.get(name, name): x for name, x in self.parameters.items() if x.node.role == "param"},
        }

    def compiled(self, gradients: bool = True) -> Network:
        """Outputs `out_k`, and the gradient of their weighted sum by every input and parameter."""
        outputs = {f"out_{k}": y for k, y in enumerate(self.outputs)}
        return gg.compile(outputs, name="block", dtype="float64", wrt=list(self.by.values()) if gradients else [])

    def results(self, net: Network, gradients: bool = True) -> Arrays:
        """Outputs and gradients, by the keys of a fixture."""
        with np.errstate(all="ignore"):
            if not gradients or not self.by or not any(y.dtype in FLOATS for y in self.outputs):
                outputs, pulled = net(**self.arrays), {}
                outputs = outputs if isinstance(outputs, dict) else {"out_0": outputs}
            else:
                outputs, saved = net.forward(**self.arrays)
                heads = {k: np.asarray(y) for k, y in enumerate(outputs.values())}
                given = {f"out_{k}": weights(self.case, k, y.shape) for k, y in heads.items() if y.dtype.kind == "f"}
                pulled = net.backward(saved, **given)
        found = {f"out/{k}": np.array(y) for k, y in enumerate(outputs.values())}
        own = {str(x.name): name for name, x in self.by.items()}
        return found | {f"grad/{own[name.removeprefix('d_')]}": np.array(d) for name, d in pulled.items()}

    def interpreted(self) -> Arrays:
        """The same without any text: what the formulas mean, and what those of their derivatives do."""
        declared = {**self.inputs, **{str(x.name): x for x in self.parameters.values()}}
        nodes, mapped = retarget([y.node for y in self.outputs], "float64", {})
        roots = prepare(nodes)
        values = {mapped.get(x.node, x.node): self.arrays[name] for name, x in declared.items() if name in self.arrays}
        with np.errstate(all="ignore"):
            outputs = interpret(roots, values)
        found = {f"out/{k}": y for k, y in enumerate(outputs)}
        floats = [k for k, y in enumerate(outputs) if y.dtype.kind == "f"]
        if not self.by or not floats:
            return found
        heads = [leaf(f"d_{k}", roots[k].shape, "float64", "input") for k in floats]
        values |= {head: weights(self.case, k, outputs[k].shape) for k, head in zip(floats, heads, strict=True)}
        by = {name: mapped.get(x.node, x.node) for name, x in self.by.items()}
        pulled = vjp_nodes([roots[k] for k in floats], heads, list(by.values()))
        with np.errstate(all="ignore"):
            return found | {f"grad/{name}": d for name, d in zip(by, interpret(pulled, values), strict=True)}

    def directional(self) -> tuple[Network, Arrays]:
        """The loss, its gradients, its derivative along random directions, and that of the gradient along them."""
        floats = [y for y in self.outputs if y.dtype in FLOATS]
        given = [gg.input(f"weights_{k}", y.shape) for k, y in enumerate(floats)]
        loss = sum((gg.sum(y * w) for y, w in zip(floats, given, strict=True)), start=gg.sum(floats[0]) * 0)
        xs = list(self.by.values())
        directions = [gg.input(f"direction_{k}", x.shape) for k, x in enumerate(xs)]
        outputs = {"loss": loss, "along": gg.jvp(loss, xs, directions)}
        outputs |= {f"gradient_{k}": g for k, g in enumerate(gg.grad(loss, xs))}
        outputs |= {f"second_{k}": g for k, g in enumerate(gg.hvp(loss, xs, directions))}
        rng = np.random.RandomState(7)
        arrays = {f"direction_{k}": rng.standard_normal(self.arrays[str(x.name)].shape) for k, x in enumerate(xs)}
        return gg.compile(outputs, name="directional", dtype="float64", wrt=[]), arrays


@lru_cache(maxsize=2)  # what is kept makes every later case slower
def ours(case_id: tuple[str, str]) -> Ours:
    """A case by its family and name, declared once in a process."""
    from tests.nn.table import families

    family, name = case_id
    return Ours(next(c for c in families()[family] if c.id == name))


def plain(net: Network) -> Network:
    """Without Numba, whose compilation is what takes time."""
    return unjitted(net)
