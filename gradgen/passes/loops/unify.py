"""Equal kernels: kernels that differ in names only are one kernel, and so is one that fixes a cotangent to 1.

In: a `Program` from `entries`. Out: the same program with every kernel once; `roll` looks for runs of their calls.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import assert_never

from gradgen.graph.scalar import Call, Const, FloorDiv, Letter, Load, Poly, Scalar, SizeSymbol, call, number, rewrite
from gradgen.program.kernels import Kernel, KernelCall, Program
from gradgen.program.loops import (
    ONE,
    Accumulate,
    Assign,
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Matrix,
    Note,
    Parts,
    Statement,
)

__all__ = ["Key", "Numbers", "body_key", "kernel_key", "unify"]

Key = tuple[object, ...]


def unify(program: Program) -> Program:
    """The first of all kernels with the same key, called in place of every one of them.

    `value_and_grad` and `step` start from a cotangent of 1: where that makes no other loops, they call what `backward`
    calls, with a 1.
    """
    first: dict[Key, Callable[[KernelCall], KernelCall]] = {}
    change: dict[str, Callable[[KernelCall], KernelCall]] = {}
    kept: list[Kernel] = []
    for kernel in program.kernels:
        key = kernel_key(kernel)
        if key not in first:
            kept.append(kernel)
            first[key] = partial(_calling, kernel.name, None, 0)
            for k, b in enumerate(kernel.parameters):
                if b.role == "cotangent" and b.by_value:
                    first.setdefault(kernel_key(kernel, b), partial(_calling, kernel.name, ONE[b.dtype], k))
        change[kernel.name] = first[key]
    entries = tuple(
        replace(e, calls=tuple(change[c.kernel](c) for c in e.calls if isinstance(c, KernelCall)))
        for e in program.entries
    )
    return replace(program, kernels=tuple(kept), entries=entries)


def _calling(kernel: str, one: Buffer | None, at: int, call: KernelCall) -> KernelCall:
    """The call of another kernel, with a 1 more among the arguments if that takes one."""
    given = call.arguments if one is None else (*call.arguments[:at], one, *call.arguments[at:])
    return replace(call, kernel=kernel, arguments=given)


def kernel_key(kernel: Kernel, one: Buffer | None = None) -> Key:
    """What a kernel is, with its buffers, sizes and loop variables numbered in the order of their appearance.

    With `one`, what it would be if this parameter were the number 1 throughout.
    """
    return Numbers(one).kernel(kernel)


def body_key(body: Sequence[Statement]) -> Key:
    """What statements are, with everything that they name numbered in the same way."""
    return Numbers().body(tuple(body))


class Numbers:
    """Numbers for names, given at their first appearance."""

    def __init__(self, one: Buffer | None = None) -> None:
        self.found: dict[object, int] = {}
        self.count = 0
        self.one = one

    def of(self, name: object) -> int:
        return self.found[name] if name in self.found else self.new(name)

    def kernel(self, kernel: Kernel) -> Key:
        parameters = tuple(self.buffer(b) for b in kernel.parameters if b is not self.one)
        sizes = tuple(self.of(("size", name)) for name in kernel.sizes)
        body = self.body(kernel.body)
        return (parameters, sizes, body, tuple(self.buffer(b) for b in kernel.returns))

    def new(self, name: object) -> int:
        """The number of a name that begins to mean something else here."""
        self.found[name] = self.count
        self.count += 1
        return self.found[name]

    def buffer(self, b: Buffer) -> Key:
        shape = tuple(self.extent(extent) for extent in b.shape)
        return (self.of(b), shape, b.dtype, b.by_value)

    def extent(self, x: Scalar) -> Key:
        """How long an axis is, or how far a loop goes."""
        return self.scalar(x)

    def body(self, statements: tuple[Statement, ...]) -> Key:
        return tuple(self.statement(s) for s in statements if not isinstance(s, Note))

    def statement(self, s: Statement) -> Key:
        match s:
            case For():
                bounds = (self.extent(s.start), self.extent(s.stop))
                return ("for", self.new(("letter", s.letter)), *bounds, s.kind, s.stride, self.body(s.body))
            case Assign():
                return ("assign", self.buffer(s.buffer), self.scalars(s.subscripts), self.scalar(self.seeded(s.value)))
            case Accumulate():
                target = (self.buffer(s.buffer), self.scalars(s.subscripts))
                return ("accumulate", *target, s.operation, self.scalar(self.seeded(s.value)))
            case If():
                condition = self.scalar(self.seeded(s.condition))
                return ("if", condition, self.body(s.then), self.body(s.otherwise))
            case Dot():
                scratch = None if s.scratch is None else self.buffer(s.scratch)
                return ("dot", self.matrix(s.left), self.matrix(s.right), self.matrix(s.out), scratch)
            case Contract():
                letters = tuple((self.new(("letter", name)), self.extent(extent)) for name, extent in s.letters)
                operands = (self.buffer(x.buffer) for x in (s.out, s.left, s.right))
                at = (self.scalars((*x.fixed, *x.subscripts)) for x in (s.out, s.left, s.right))
                return ("contract", letters, *operands, *at)
            case Parts():
                own = tuple((self.buffer(mine), self.buffer(behind)) for mine, behind in s.own)
                return ("parts", self.scalar(s.extent), own, self.body(s.body))
            case Note():
                return ()
            case _:
                assert_never(s)

    def seeded(self, x: Scalar) -> Scalar:
        """The expression with 1 for the cotangent."""
        if self.one is None:
            return x
        value = call(self.one.dtype, number(1))
        return rewrite(x, lambda y: value if isinstance(y, Load) and y.tensor is self.one else None, lambda atom: None)

    def matrix(self, m: Matrix) -> Key:
        extents = (self.extent(m.rows), self.extent(m.columns))
        return (self.buffer(m.buffer), self.scalars(m.fixed), *extents, m.transposed, self.scalars(m.window or ()))

    def scalars(self, xs: tuple[Scalar, ...]) -> Key:
        return tuple(self.scalar(x) for x in xs)

    def scalar(self, x: object) -> Key:
        match x:
            case Const():
                return ("number", x.text, x.dtype)
            case Poly():
                return ("poly", *((tuple(self.scalar(a) for a in atoms), factor) for atoms, factor in x.terms))
            case Load():
                return ("load", self.buffer(x.tensor), self.scalars(x.subscripts))
            case Call():
                return ("call", x.function.name, x.dtype, self.scalars(x.arguments))
            case SizeSymbol():
                return ("size", self.of(("size", x.name)))
            case Letter():
                return ("letter", self.of(("letter", x.name)))
            case FloorDiv():
                return ("floor", self.scalar(x.numerator), self.scalar(x.denominator))
        return ("other", id(x))
