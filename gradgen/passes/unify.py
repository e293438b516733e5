"""Equal kernels: kernels that differ in names only are one kernel.

In: a `Program` from `build`. Out: the same program with every kernel once; `roll` looks for runs of their calls.
"""

from collections.abc import Sequence
from dataclasses import replace

from gradgen.graph.scalar import Call, Const, FloorDiv, Letter, Load, Poly, Scalar, SizeSymbol
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Dot,
    For,
    If,
    Kernel,
    KernelCall,
    Matrix,
    Note,
    Parts,
    Program,
    Statement,
)

__all__ = ["Key", "body_key", "kernel_key", "unify"]

Key = tuple[object, ...]


def unify(program: Program) -> Program:
    """The first of all kernels with the same key, called in place of every one of them."""
    first: dict[Key, str] = {}
    same = {kernel.name: first.setdefault(kernel_key(kernel), kernel.name) for kernel in program.kernels}
    entries = tuple(
        replace(e, calls=tuple(replace(c, kernel=same[c.kernel]) for c in e.calls if isinstance(c, KernelCall)))
        for e in program.entries
    )
    return replace(program, kernels=tuple(k for k in program.kernels if same[k.name] == k.name), entries=entries)


def kernel_key(kernel: Kernel) -> Key:
    """What a kernel is, with its buffers, sizes and loop variables numbered in the order of their appearance."""
    numbers = _Numbers()
    parameters = tuple(numbers.buffer(b) for b in kernel.parameters)
    sizes = tuple(numbers.of(("size", name)) for name in kernel.sizes)
    body = numbers.body(kernel.body)
    return (parameters, sizes, body, tuple(numbers.buffer(b) for b in kernel.returns))


def body_key(body: Sequence[Statement]) -> Key:
    """What statements are, with everything that they name numbered in the same way."""
    return _Numbers().body(tuple(body))


class _Numbers:
    """Numbers for names, given at their first appearance."""

    def __init__(self) -> None:
        self.found: dict[object, int] = {}

    def of(self, name: object) -> int:
        return self.found.setdefault(name, len(self.found))

    def buffer(self, b: Buffer) -> Key:
        shape = tuple(self.scalar(extent) for extent in b.shape)
        return (self.of(b), shape, b.dtype, b.by_value)

    def body(self, statements: tuple[Statement, ...]) -> Key:
        return tuple(self.statement(s) for s in statements if not isinstance(s, Note))

    def statement(self, s: Statement) -> Key:
        match s:
            case For():
                bounds = (self.scalar(s.start), self.scalar(s.stop))
                return ("for", self.of(("letter", s.letter)), *bounds, s.kind, s.stride, self.body(s.body))
            case Assign():
                return ("assign", self.buffer(s.buffer), self.scalars(s.subscripts), self.scalar(s.value))
            case Accumulate():
                target = (self.buffer(s.buffer), self.scalars(s.subscripts))
                return ("accumulate", *target, s.operation, self.scalar(s.value))
            case If():
                return ("if", self.scalar(s.condition), self.body(s.then), self.body(s.otherwise))
            case Dot():
                scratch = None if s.scratch is None else self.buffer(s.scratch)
                return ("dot", self.matrix(s.left), self.matrix(s.right), self.matrix(s.out), scratch)
            case Parts():
                own = tuple((self.buffer(mine), self.buffer(behind)) for mine, behind in s.own)
                return ("parts", self.scalar(s.extent), own, self.body(s.body))
        return ()

    def matrix(self, m: Matrix) -> Key:
        extents = (self.scalar(m.rows), self.scalar(m.columns))
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
