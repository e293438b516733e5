"""Subscripts of random formulas: in range for the sizes of the case, or guarded by a condition.

In: an axis and the indices and steps at hand. Out: an integer expression, and the condition under which it is in
range; `formulas` builds accesses and targets from them.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product as pairs

from gradgen.graph.nodes import Compute, Leaf, Node
from gradgen.graph.scalar import Load, Poly, Scalar, as_poly, call, integer, load, number


@dataclass(frozen=True)
class Extent:
    """A size and what it is in this case."""

    size: Poly
    value: int


@dataclass(frozen=True)
class Variable:
    """A loop index or the step of a scan, and its range."""

    poly: Poly
    extent: Extent
    is_step: bool = False


class Subscripts:
    """What the writer of formulas knows of subscripts; it draws, and says what it has drawn."""

    extents: dict[Node, tuple[Extent, ...]]
    features: set[str]
    read: set[Node]
    reducing: int

    @abstractmethod
    def chance(self, one_in: int) -> bool: ...

    @abstractmethod
    def pick(self, options: Sequence): ...

    @abstractmethod
    def integers(self, extents: Sequence[Extent], below: int) -> Leaf: ...

    @abstractmethod
    def inner_node(
        self, chosen: Sequence[Variable], reduced: Sequence[Extent], reducer: str
    ) -> tuple[Node, list[Poly]]: ...

    def access(self, tensor: Node, variables: Sequence[Variable]) -> tuple[Load, Scalar]:
        """An access of a tensor, and the condition under which it is in range."""
        self.read.add(tensor)
        if isinstance(tensor, Compute):
            self.features.add("chain")
        subscripts, inside = [], number(True)
        for axis in self.extents[tensor]:
            subscript, condition = self.subscript(axis, variables)
            subscripts.append(subscript)
            inside = call("and", inside, condition)
        if len({s.digest for s in subscripts if s.constant is None}) < sum(s.constant is None for s in subscripts):
            self.features.add("diagonal")
        return load(tensor, subscripts), inside

    def subscript(self, axis: Extent, variables: Sequence[Variable], padded: bool = True) -> tuple[Poly, Scalar]:
        always = number(True)
        bare = [v for v in variables if v.extent.size is axis.size]
        if bare and not self.chance(3):
            v = self.pick(bare)
            if v.is_step:
                self.features.add("step as subscript")
            return v.poly, always
        ways = [w for w in self.ways(axis, variables) if padded or w[0] != "padding"]
        if not ways:  # only a guard can make sense of an empty axis
            return self.guarded(axis, variables)
        feature, make = self.pick(ways)
        if feature:
            self.features.add(feature)
        if feature == "padding":
            return self.guarded(axis, variables)
        made = make()
        assert isinstance(made, Poly)
        if any(v.is_step and any(a is v.poly.atoms[0] for a in made.atoms) for v in variables):
            self.features.add("step as subscript")
        return made, always

    def ways(self, axis: Extent, variables: Sequence[Variable]) -> list[tuple[str, Callable[[], Poly]]]:
        """Subscripts that stay inside an axis, each with the feature it is an example of."""
        n, last = axis.value, axis.size - 1
        found: list[tuple[str, Callable[[], Poly]]] = []
        if n > 0:
            found.append(("constant subscript", lambda: integer(self.pick(range(n)))))
            found.append(("gather", lambda: self.gather(axis, variables)))
            found.append(("padding", lambda: last))
        for v in variables:
            top = v.extent.value - 1
            for stride, offset in pairs((1, 2, 3), (0, 1, 2)):
                if top < 0 or stride * top + offset < n:
                    feature = "stride" if stride > 1 else "offset" if offset else "window"
                    found.append((feature, lambda v=v, s=stride, o=offset: s * v.poly + o))
                    if offset == 0:
                        found.append(("negative step", lambda v=v, s=stride: last - s * v.poly))
            if n > 0:
                found.append(("modulo", lambda v=v: (v.poly + self.pick((0, 1, 2))) % axis.size))
            if top // 2 < n:
                found.append(("floor division", lambda v=v: v.poly // 2))
        for v, w in pairs(variables, variables):
            tops = v.extent.value - 1, w.extent.value - 1
            for stride, dilation in pairs((1, 2), (1, 2)):
                if v is not w and (min(tops) < 0 or stride * tops[0] + dilation * tops[1] < n):
                    feature = "dilation" if dilation > 1 else "several windows"
                    found.append((feature, lambda v=v, w=w, s=stride, d=dilation: s * v.poly + d * w.poly))
        return found

    def guarded(self, axis: Extent, variables: Sequence[Variable]) -> tuple[Poly, Scalar]:
        """A subscript that leaves the axis somewhere, and where it does not."""
        at = integer(-self.pick((0, 1, 2)))
        for v in [v for v in variables if self.chance(2)] or variables[:1]:
            at = at + self.pick((1, 2, -1)) * v.poly
        self.features.add("padding")
        return at, call("and", call("ge", at, integer(0)), call("lt", at, axis.size))

    def gather(self, axis: Extent, variables: Sequence[Variable]) -> Poly:
        """A subscript read from an integer tensor."""
        chosen = [v for v in variables if self.chance(2)][:2] or list(variables[:1])
        if len(chosen) == 2:
            self.features.add("gather in two indices")
        if self.reducing < 2 and self.chance(3):
            found = self.argmax(axis, chosen)
            if found is not None:
                return found
        at = as_poly(load(self.integers([v.extent for v in chosen], axis.value), [v.poly for v in chosen]))
        assert at is not None
        if self.chance(4):
            self.features.add("computed gather")
            return (at + (chosen[0].poly if chosen else 1)) % axis.size
        return at

    def argmax(self, axis: Extent, chosen: Sequence[Variable]) -> Poly | None:
        if axis.value == 0:
            return None
        self.features.add("gather by argmax")
        node, at = self.inner_node(chosen, [axis], self.pick(("argmax", "argmin")))
        return as_poly(load(node, at))
