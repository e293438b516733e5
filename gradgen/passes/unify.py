"""Equal kernels: kernels that differ in names only are one kernel.

In: a kernel. Out: a key, equal for kernels that compute the same from their parameters in order; `roll` compares them.
"""

from gradgen.graph.scalar import Call, Const, FloorDiv, Letter, Load, Poly, Scalar, SizeSymbol
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Dot,
    For,
    If,
    Kernel,
    Matrix,
    Note,
    Statement,
)

__all__ = ["Key", "kernel_key", "unify"]

Key = tuple[object, ...]


def unify(kernels: tuple[Kernel, ...]) -> dict[str, str]:
    """The name of the first kernel with the same key, for every kernel."""
    first: dict[Key, str] = {}
    return {kernel.name: first.setdefault(kernel_key(kernel), kernel.name) for kernel in kernels}


def kernel_key(kernel: Kernel) -> Key:
    """What a kernel is, with its buffers, sizes and loop variables numbered in the order of their appearance."""
    numbers = _Numbers()
    parameters = tuple(numbers.buffer(b) for b in kernel.parameters)
    sizes = tuple(numbers.of(("size", name)) for name in kernel.sizes)
    body = numbers.body(kernel.body)
    return (parameters, sizes, body, tuple(numbers.buffer(b) for b in kernel.returns))


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
        return ()

    def matrix(self, m: Matrix) -> Key:
        fixed = self.scalars(m.fixed)
        return (self.buffer(m.buffer), fixed, self.scalar(m.rows), self.scalar(m.columns), m.transposed)

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
