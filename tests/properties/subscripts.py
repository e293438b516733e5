"""Subscripts of random formulas: in range for the sizes of the case, or guarded by a condition.

In: an axis and the indices and steps at hand. Out: an integer expression, and the condition under which it is in
range; `formulas` builds accesses and targets from them.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product as pairs

from gradgen.graph.nodes import Compute, Leaf, Node, pointwise
from gradgen.graph.scalar import Load, Poly, Scalar, as_poly, call, integer, load, number, position


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
    outside: bool

    @abstractmethod
    def chance(self, one_in: int) -> bool: ...

    @abstractmethod
    def pick(self, options: Sequence): ...

    @abstractmethod
    def integers(self, extents: Sequence[Extent], below: int, above: int = -1) -> Leaf: ...

    @abstractmethod
    def inner_node(
        self, chosen: Sequence[Variable], reduced: Sequence[Extent], reducer: str
    ) -> tuple[Node, list[Poly]]: ...

    def access(self, tensor: Node, variables: Sequence[Variable]) -> tuple[Load, Scalar]:
        """An access of a tensor, and the condition under which it is in range."""
        self.read.add(tensor)
        if isinstance(tensor, Compute):
            self.features.add("chain" if tensor.gathers else "read of a scatter")
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
        ways = [w for w in self.ways(axis, variables) if padded or w[0] not in ("padding", "data guard")]
        if not ways:  # only a guard can make sense of an empty axis
            return self.guarded(axis, variables)
        feature, make = self.pick(ways)
        if feature:
            self.features.add(feature)
        if feature == "padding":
            return self.guarded(axis, variables)
        if feature == "data guard":
            return self.guarded_by_data(axis, variables)
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
            found.append(("data guard", lambda: last))
            found.append(("computed subscript", lambda: self.computed(axis, variables)))
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
        at = self.bent(at, variables)
        return at, call("and", call("ge", at, integer(0)), call("lt", at, axis.size))

    def bent(self, at: Poly, variables: Sequence[Variable]) -> Poly:
        """A subscript that a guard has to keep inside, put through what no loop bound can say."""
        match self.pick(("", "", "", "quotient", "remainder", "product")):
            case "quotient":
                feature, new = "quotient under a guard", at // self.pick((2, 3))
            case "remainder":
                feature, new = "remainder under a guard", self.pick((1, 2)) * (at % self.pick((2, 3, 5))) - 1
            case "product" if variables:
                feature, new = "product under a guard", at * self.pick(variables).poly
            case _:
                return at
        self.features.add(feature)
        bent = as_poly(new)
        assert bent is not None
        return bent

    def label(self, variables: Sequence[Variable], below: int, above: int = -1) -> Poly:
        """An access of a new integer tensor with values between the two."""
        at = as_poly(load(self.integers([v.extent for v in variables], below, above), [v.poly for v in variables]))
        assert at is not None
        return at

    def guarded_by_data(self, axis: Extent, variables: Sequence[Variable]) -> tuple[Poly, Scalar]:
        """A subscript from data that names no element here and there, and a condition on the data."""
        chosen = [v for v in variables if self.chance(2)][:2]
        self.features.add("data guard")
        way = self.pick(("below", "both", "one value", "both"))
        beyond = 2 if way == "both" else 0
        at = self.label(chosen, axis.value + beyond, -2 - beyond)
        if self.chance(3):
            self.features.add("data guard of a sum")
            at = at + (variables[0].poly if variables else 1)
            way = "both"
        if way == "one value":
            return at, call("ne", at, integer(-1))
        below = call("ge", at, integer(0))
        if way == "below":
            return at, below
        above = call("lt", at, axis.size)
        return at, call("and", below, above)

    def computed(self, axis: Extent, variables: Sequence[Variable]) -> Poly:
        """Arithmetic with data, whose range only a call can know; outside of the axis only where that is asked for."""
        chosen = [v for v in variables if self.chance(2)][:2] or list(variables[:1])
        n, far = axis.value, self.pick((0, 0, 1)) if self.outside else 0
        self.features.add("computed subscript")
        if far:
            self.features.add("computed subscript that may be outside")
        ways = ("multiple", "sum", "product", "difference", "formula")
        match self.pick(ways):
            case "multiple":
                return 2 * self.label(chosen, (n + 1) // 2 + far, -1 - far)
            case "sum":
                return self.label(chosen, (n + 1) // 2 + far, -1 - far) + self.label(chosen[:1], n // 2 + 1)
            case "product":
                factors = self.label(chosen, min(n, 2) + far), self.label(chosen[:1], n)
                return factors[0] * factors[1]
            case "difference":
                return axis.size - 1 - 2 * self.label(chosen, (n + 1) // 2 + far, -1 - far)
        outer = [v for v in chosen if not v.is_step]
        body = 2 * self.label(
            [Variable(position(k), v.extent) for k, v in enumerate(outer)], (n + 1) // 2 + far, -1 - far
        )
        found = as_poly(load(pointwise([v.extent.size for v in outer], body), [v.poly for v in outer]))
        assert found is not None
        return found

    def gather(self, axis: Extent, variables: Sequence[Variable]) -> Poly:
        """A subscript read from an integer tensor."""
        chosen = [v for v in variables if self.chance(2)][:2] or list(variables[:1])
        if len(chosen) == 2:
            self.features.add("gather in two indices")
        if self.reducing < 2 and self.chance(3):
            found = self.argmax(axis, chosen)
            if found is not None:
                return found
        at = self.label(chosen, axis.value)
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
