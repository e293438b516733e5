"""Compiled functions called in order without Numba's way in: headers of arrays compared, addresses handed on.

In: a table, what is expected of every object of a call, and which functions run; memory that holds their frames, the
arguments as they lie there. Out: `direct_call()(table, memory, *objects)`, a built-in function of a few machine
instructions per object and per argument. True means done; False that something does not fit and nothing was touched,
and `calls` finds out what.

Numba's own way in looks up types and makes a reference-counted record of every array, 50 to 100 ns each, which is more
than a small model takes. What is relied on here: how NumPy's arrays and scalars lie in memory, which is part of its
binary interface and is tried out below, and how Numba passes an array, which is compared with the compiled function.
"""

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ARGUMENTS", "DATA", "ERRORS", "RESULTS", "Move", "Words", "array_words", "direct_call", "headers_are_known", "row",
    "table",
]  # fmt: skip

Words = NDArray[np.int64]
_WORD = 8
_TYPE, _DATA, _NDIM, _SHAPE, _DTYPE, _FLAGS = 8, 16, 24, 32, 56, 64  # offsets in an array, in bytes
_VALUE = 16  # the offset in a NumPy scalar
_READABLE, _WRITEABLE = 0x1 | 0x100, 0x400  # the bits of flags.num: C-contiguous and aligned; writeable
_FASTCALL = 0x80
# a frame: code that unpacks it, the function, a word for errors, where results go, where errors go; arguments
RESULTS, ERRORS, ARGUMENTS = 3, 4, 5
DATA = 4  # the place of the address in the words of an array


def headers_are_known() -> bool:
    """Whether arrays and scalars of this NumPy and this Python lie in memory as the offsets above say."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != _WORD or sys.byteorder != "little":
        return False

    def word(x: object, offset: int) -> int:
        return ctypes.c_int64.from_address(id(x) + offset).value

    sample = np.arange(6, dtype=np.float32).reshape(2, 3)
    number = np.int64(1 << 40)
    return (
        word(sample, _TYPE) == id(np.ndarray)
        and word(sample, _DATA) == sample.ctypes.data
        and ctypes.c_int32.from_address(id(sample) + _NDIM).value == 2
        and [ctypes.c_int64.from_address(word(sample, _SHAPE) + k * _WORD).value for k in range(2)] == [2, 3]
        and word(sample, _DTYPE) == id(sample.dtype)
        and ctypes.c_int32.from_address(id(sample) + _FLAGS).value == sample.flags.num
        and word(number, _TYPE) == id(np.int64)
        and word(number, _VALUE) == 1 << 40
    )


# ---------------------------------------------------------------- what is expected

_FIELDS = (
    "type", "dtype", "flags", "ndim", "bytes", "slot", "follows", "home", "apart", "itemsize", "low", "high",
)  # fmt: skip
_AT = {name: _WORD * k for k, name in enumerate(_FIELDS)}
_COUNT, _STRIDE, _HOMES, _HOME_COUNT, _STEPS, _STEP_COUNT, _ROWS = range(7)  # the head of a table
Move = tuple[int, int, int]  # before a step: to this word of the memory, from this byte of it, and so much is added


def row(
    dtype: str,
    shape: Sequence[int],
    *,
    by_value: bool = False,
    slot: int = -1,
    follows: bool = False,
    written: bool = False,
    home: int = -1,
    apart: bool = False,
    bounds: Sequence[tuple[int, int]] = (),
) -> list[int]:
    """What is expected of one object.

    Args:
        dtype: exactly this one; an array is C-contiguous and aligned too.
        shape: of the array.
        by_value: a NumPy scalar instead of an array.
        slot: the word of the memory that gets the address, or the number; -1 for none.
        follows: whether it must lie behind the object before, as the rows of an array do.
        written: whether it must be writeable.
        home: which of the table's homes it must have; -1 for none of them.
        apart: whether it must share no memory with any home.
        bounds: what every element must keep to.
    """
    kind = np.dtype(dtype)
    size = kind.itemsize * int(np.prod(shape, dtype=np.int64))
    flags = _READABLE | (_WRITEABLE if written else 0)
    low, high = max((pair[0] for pair in bounds), default=0), min((pair[1] for pair in bounds), default=0)
    expected = (id(kind.type), 0, 0, -1) if by_value else (id(np.ndarray), id(kind), flags, len(shape))
    return [*expected, size, slot, follows, home, apart, kind.itemsize if bounds else 0, low, high, *shape]


Steps = Sequence[tuple[int, Sequence[Move]]]  # at which word the frame of each function begins; moves before it


def table(rows: Sequence[Sequence[int]], homes: int, steps: Steps) -> tuple[Words, Words]:
    """A table, and the part of it that says where written arrays are: start and end of each, to be filled in.

    Args:
        rows: of `row`, one for each object.
        homes: how many written arrays there are.
        steps: the functions in order.
    """
    stride = max(map(len, rows), default=len(_FIELDS))
    first_home = _ROWS + stride * len(rows)
    words = [len(rows), stride, first_home, homes, first_home + 2 * homes, len(steps)]
    for x in rows:
        words += [*x, *[0] * (stride - len(x))]
    words += [0] * (2 * homes)
    for frame, moves in steps:
        words += [frame, len(moves), *(number for move in moves for number in move)]
    found: Words = np.array(words, np.int64)
    return found, found[first_home : first_home + 2 * homes]


def array_words(address: int, shape: Sequence[int], itemsize: int) -> list[int]:
    """An array as an argument of a compiled function: no owner, elements, bytes of one, address, shape, strides."""
    size, strides = itemsize, list[int]()
    for extent in reversed(shape):
        strides.insert(0, size)
        size *= extent
    return [0, 0, size // itemsize, itemsize, address, *shape, *strides]


# ---------------------------------------------------------------- machine code


@cache
def direct_call() -> Callable[..., bool | None]:
    """`call(table, memory, *objects)`: True done; False refused, nothing touched; None: a compiled function failed."""
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    with global_compiler_lock:
        return _python_function("gradgen_direct_call", _Writer(cpu_target.target_context).written())


class _Writer:
    """The machine code of `PyObject *call(PyObject *self, PyObject **objects, Py_ssize_t count)`."""

    def __init__(self, context: Any) -> None:
        from llvmlite import ir
        from numba.core import cgutils

        self.ir, self.cgutils, self.context = ir, cgutils, context
        self.word, self.bytes = ir.IntType(64), ir.IntType(8).as_pointer()

    def written(self) -> int:
        """Compile it; its address."""
        name = "gradgen_direct_call"
        library = self.context.codegen().create_library(name)
        module = library.create_ir_module(name)
        kind = self.ir.FunctionType(self.bytes, [self.bytes, self.bytes.as_pointer(), self.word])
        code = self.ir.Function(module, kind, name)
        self.b = self.ir.IRBuilder(code.append_basic_block())
        self.python = self.context.get_python_api(self.b)
        self.objects = code.args[1]
        self.table, self.memory = (self.read(self.object(self.word(k)), _DATA, self.bytes) for k in range(2))
        self.all_objects()
        self.all_steps()
        library.add_ir_module(module)
        library.finalize()
        _alive.append(library)
        return int(library.get_pointer_to_function(name))

    # ------------------------------------------------------------ memory

    def at(self, base: Any, offset: Any, kind: Any = None) -> Any:
        """The address `base + offset` in bytes, as a pointer to this kind of value."""
        place = self.b.gep(base, [self.word(offset) if isinstance(offset, int) else offset])
        return self.b.bitcast(place, (kind or self.word).as_pointer())

    def read(self, base: Any, offset: Any, kind: Any = None) -> Any:
        return self.b.load(self.at(base, offset, kind))

    def words_on(self, index: Any) -> Any:
        return self.b.mul(index, self.word(_WORD))

    def object(self, number: Any) -> Any:
        return self.b.load(self.b.gep(self.objects, [number]))

    # ------------------------------------------------------------ decisions

    def returned(self, value: Any) -> None:
        """Return True, False or None."""
        known = self.b.inttoptr(self.word(id(value)), self.bytes)
        self.python.incref(known)
        self.b.ret(known)

    def refuse_unless(self, condition: Any) -> None:
        with self.b.if_then(self.b.not_(condition), likely=False):
            self.returned(False)

    def equal(self, a: Any, b: Any) -> None:
        self.refuse_unless(self.b.icmp_signed("==", a, b))

    def where(self, x: Any, comparison: str, number: int) -> Any:
        return self.b.if_then(self.b.icmp_signed(comparison, x, self.word(number)))

    # ------------------------------------------------------------ the objects

    def all_objects(self) -> None:
        """Check every object, and put its address or its value into the memory."""
        b, head = self.b, self.table
        end = self.cgutils.alloca_once_value(b, self.word(0))  # of the object before
        count, stride = (self.read(head, k * _WORD) for k in (_COUNT, _STRIDE))
        with self.cgutils.for_range(b, count) as loop:
            x = self.object(b.add(loop.index, self.word(2)))
            place = b.add(b.mul(loop.index, stride), self.word(_ROWS))
            expected = self.at(head, self.words_on(place), self.ir.IntType(8))

            def field(name: str) -> Any:
                return self.read(expected, _AT[name])

            self.equal(self.read(x, _TYPE), field("type"))
            ndim = field("ndim")
            value = self.cgutils.alloca_once(b, self.word)
            start = self.cgutils.alloca_once(b, self.word)  # of its elements
            with b.if_else(b.icmp_signed("<", ndim, self.word(0))) as (number, array):
                with number:
                    inside = self.at(x, _VALUE)
                    b.store(b.load(inside), value)
                    b.store(b.ptrtoint(inside, self.word), start)
                with array:
                    address = self.array(x, expected, ndim)
                    b.store(address, value)
                    b.store(address, start)
                    with self.where(field("follows"), "!=", 0):
                        self.equal(address, b.load(end))
                    stop = b.add(address, field("bytes"))
                    b.store(stop, end)
                    with self.where(field("home"), ">=", 0):
                        self.equal(address, b.load(self.home(field("home"), 0)))
                    with self.where(field("apart"), "!=", 0):
                        self.apart(address, stop)
            for size in (4, _WORD):
                with self.where(field("itemsize"), "==", size):
                    self.within(b.load(start), field("bytes"), size, field("low"), field("high"))
            slot = field("slot")
            with self.where(slot, ">=", 0):
                b.store(b.load(value), self.at(self.memory, self.words_on(slot)))

    def array(self, x: Any, expected: Any, ndim: Any) -> Any:
        """The address of an array's elements, if its dtype, its layout and its shape are the expected ones."""
        b, half = self.b, self.ir.IntType(32)
        self.equal(self.read(x, _DTYPE), self.read(expected, _AT["dtype"]))
        self.equal(b.sext(self.read(x, _NDIM, half), self.word), ndim)
        needed = self.read(expected, _AT["flags"])
        self.equal(b.and_(b.zext(self.read(x, _FLAGS, half), self.word), needed), needed)
        extents = self.read(x, _SHAPE, self.bytes)
        with self.cgutils.for_range(b, ndim) as axis:
            offset = self.words_on(axis.index)
            self.equal(self.read(extents, offset), self.read(expected, b.add(offset, self.word(_WORD * len(_FIELDS)))))
        return self.read(x, _DATA)

    def home(self, number: Any, end: int) -> Any:
        """Where the start (0) or the end (1) of a written array stands."""
        first = self.read(self.table, _HOMES * _WORD)
        place = self.b.add(first, self.b.add(self.b.mul(number, self.word(2)), self.word(end)))
        return self.at(self.table, self.words_on(place))

    def apart(self, start: Any, stop: Any) -> None:
        """Refuse what shares memory with an array that is written."""
        b = self.b
        with self.cgutils.for_range(b, self.read(self.table, _HOME_COUNT * _WORD)) as loop:
            low, high = (b.load(self.home(loop.index, k)) for k in range(2))
            self.refuse_unless(b.or_(b.icmp_signed("<=", stop, low), b.icmp_signed("<=", high, start)))

    def within(self, start: Any, size: Any, itemsize: int, low: Any, high: Any) -> None:
        """Refuse integers outside of low .. high."""
        b, integer = self.b, self.ir.IntType(8 * itemsize)
        elements = b.inttoptr(start, integer.as_pointer())
        with self.cgutils.for_range(b, b.sdiv(size, self.word(itemsize))) as loop:
            value = b.load(b.gep(elements, [loop.index]))
            value = value if itemsize == _WORD else b.sext(value, self.word)
            self.refuse_unless(b.and_(b.icmp_signed(">=", value, low), b.icmp_signed("<=", value, high)))

    def all_steps(self) -> None:
        """Run the functions. Each returns 0, or -2 for None; anything else is an exception."""
        b, code = self.b, self.ir.IntType(32)
        kind = self.ir.FunctionType(code, [self.word.as_pointer()])
        place = self.cgutils.alloca_once_value(b, self.read(self.table, _STEPS * _WORD))
        with self.cgutils.for_range(b, self.read(self.table, _STEP_COUNT * _WORD)):
            frame = self.at(self.memory, self.words_on(self.next(place)))
            with self.cgutils.for_range(b, self.next(place)):
                to, start, more = (self.next(place) for _ in range(3))
                found = b.load(self.at(self.memory, start), align=1)  # a result, maybe half a word behind another one
                b.store(b.add(found, more), self.at(self.memory, self.words_on(to)))
            status = b.call(b.inttoptr(b.load(frame), kind.as_pointer()), [frame])
            failed = b.and_(*(b.icmp_signed("!=", status, code(k)) for k in (0, -2)))
            with b.if_then(failed, likely=False):
                self.returned(None)
        self.returned(True)

    def next(self, place: Any) -> Any:
        """The word of the table at this place, which moves on."""
        b, at = self.b, self.b.load(place)
        b.store(b.add(at, self.word(1)), place)
        return self.read(self.table, self.words_on(at))


class _Method(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p), ("code", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p),
    )  # fmt: skip


_alive: list[Any] = []  # machine code stays for the life of the process, as all of Numba's does


def _python_function(name: str, address: int) -> Callable[..., bool | None]:
    """A built-in function whose arguments arrive in an array, as CPython calls its own."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    method = _Method(name.encode(), address, _FASTCALL, None)
    _alive.append(method)
    found: Callable[..., bool | None] = make(ctypes.addressof(method), None, None)
    return found
