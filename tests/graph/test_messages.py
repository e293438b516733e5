"""What newcomers do, and the message that they get, word for word; each names the line of the model.

A table: the text of a model, the class of the error, and the message behind `model.py:1: `. Those of calls are in
`tests/cpu/test_messages.py`.
"""

import linecache
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import BindingError, DTypeError, GradgenError, GraphError, OptionError, ShapeError

DECLARED = """\
B, C = gg.size("B"), gg.size("C")
x, W, v = gg.input("x", (B, 4)), gg.param("W", (3, 4)), gg.param("v", (3,))
s, m, labels = gg.input("s", ()), gg.input("m", (B, 4), "bool"), gg.input("labels", (B,), "int64")
n, i, j, k = gg.indices("n i j k")
"""

TRUTH = (
    "a formula is neither true nor false while the model is written: use gg.where(condition, a, b) for `if`, "
    "& | ~ for `and`, `or`, `not`, (a < x) & (x < b) for a < x < b, and `is` for identity."
)

WORDS = "takes two integers or two conditions"

MESSAGES: list[tuple[str, type[GradgenError], str]] = [
    # names
    (
        'gg.param("prange", (2,))',
        GraphError,
        "'prange' cannot name a tensor: generated code calls it. Use prange_, say.",
    ),
    ('gg.input("1x", (2,))', GraphError, "'1x' cannot name a tensor: use a Python identifier, such as x1."),
    ('gg.input("lambda", (2,))', GraphError, "'lambda' cannot name a tensor: use a Python identifier, such as x1."),
    ('gg.input((2,), "x")', GraphError, "(2,) cannot name a tensor: use a Python identifier, such as x1."),
    (
        'gg.size("get_num_threads")',
        GraphError,
        "'get_num_threads' cannot name a size: generated code calls it. Use get_num_threads_, say.",
    ),
    ('gg.param("np", (2,))', GraphError, "'np' cannot name a tensor: generated code calls it. Use np_, say."),
    ('gg.param("range", (2,))', GraphError, "'range' cannot name a tensor: generated code calls it. Use range_, say."),
    (
        'gg.param("_w", (2,))',
        GraphError,
        "'_w' cannot name a tensor: in generated code such names are hidden. Begin with a letter.",
    ),
    ('gg.param("ﬁt", (2,))', GraphError, "'ﬁt' cannot name a tensor: Python reads it as 'fit'. Use that."),
    ('gg.size("B C")', GraphError, "'B C' cannot name a size: use a Python identifier, such as x1."),
    (
        'gg.indices(["n", "i"])',
        GraphError,
        "gg.indices takes names in one text, as in n, i = gg.indices(\"n i\"), not ['n', 'i'].",
    ),
    ('gg.indices("n 1")', GraphError, "'1' cannot name an index: use a Python identifier, such as x1."),
    (
        'y = gg.compute((n, i), 2 * x[n, i], name="my y")',
        GraphError,
        "'my y' cannot name a tensor: use a Python identifier, such as x1.",
    ),
    (
        'fc = nn.Linear(4, 3, name="fc.1")',
        GraphError,
        "'fc.1' cannot name a layer: use a Python identifier, such as x1.",
    ),
    # shapes and dtypes
    ('gg.input("a", (4.0, 2))', ShapeError, "4.0 in a shape: sizes are integers, gg.size(...) and arithmetic on them."),
    ('gg.input("a", (-1, 2))', ShapeError, "size -1 in a shape: sizes are not negative."),
    ('gg.input("a", ("B", 2))', ShapeError, "'B' in a shape: sizes are integers, gg.size(...) and arithmetic on them."),
    (
        'gg.input("a", (None, 2))',
        ShapeError,
        "None in a shape: sizes are integers, gg.size(...) and arithmetic on them.",
    ),
    ('gg.input("a", (n, 2))', ShapeError, "n in a shape: sizes are integers, gg.size(...) and arithmetic on them."),
    (
        'gg.input("a", (B / 2,))',
        ShapeError,
        "(B / 2) of dtype float32 in a shape: sizes are integers, gg.size(...) and arithmetic on them.",
    ),
    ('gg.input("a", (B // 0,))', GraphError, "an integer is divided by zero."),
    (
        'gg.input("a", x)',
        ShapeError,
        "x (B, 4) of dtype float32 in a shape: sizes are integers, gg.size(...) and arithmetic on them.",
    ),
    ('gg.index("n", 2.5)', ShapeError, "2.5 in a shape: sizes are integers, gg.size(...) and arithmetic on them."),
    (
        'gg.input("a", (2,), dtype="float16")',
        DTypeError,
        "a has dtype 'float16'; use one of float32, float64, int32, int64, uint32, bool.",
    ),
    (
        'gg.input("a", (2,), dtype=None)',
        DTypeError,
        "a has dtype None; use one of float32, float64, int32, int64, uint32, bool.",
    ),
    (
        'gg.input("a", (2,), dtype=object)',
        DTypeError,
        "a has dtype <class 'object'>; use one of float32, float64, int32, int64, uint32, bool.",
    ),
    (
        'gg.param("a", (2,), init="zeros")',
        GraphError,
        "the init of a is 'zeros': give a number, an array, or one of gg.nn.init, such as gg.nn.init.zeros().",
    ),
    (
        'gg.param("a", (2,), init=[[1.0], [2.0, 3.0]])',
        GraphError,
        (
            "the init of a is [[1.0], [2.0, 3.0]]: give a number, an array, or one of gg.nn.init, such as "
            "gg.nn.init.zeros()."
        ),
    ),
    (
        'gg.param("a", (2, gg.size("N")), init=np.zeros((3, 2)))',
        ShapeError,
        "a (2, N) has an init of shape (3, 2): give numbers of its own shape, or one number for all.",
    ),
    (
        'gg.param("a", (2, 3), init=[1.0, 2.0, 3.0])',
        ShapeError,
        "a (2, 3) has an init of shape (3): give numbers of its own shape, or one number for all.",
    ),
    (
        'gg.state("a", (), dtype="int64", init=1.5)',
        DTypeError,
        "a has an init with numbers that its dtype int64 does not hold.",
    ),
    (
        'x.astype("int8")',
        DTypeError,
        "x (B, 4) cannot be cast to 'int8': give float32, float64, int32, int64 or uint32.",
    ),
    (
        "gg.zeros(2, 3)",
        DTypeError,
        (
            "a constant has dtype float32, float64, int32, int64, uint32 or bool, not 3. Several sizes stand in a "
            "tuple, as in gg.zeros((2, 3))."
        ),
    ),
    (
        "gg.max(x, 0.0)",
        GraphError,
        "gg.max is that of one tensor, over an axis or over indices; gg.maximum compares two.",
    ),
    (
        'gg.compute(gg.index("q", 4), x[0, gg.index("q", 4)])',
        GraphError,
        (
            "there are two indices q: every call of gg.index or gg.indices makes another one. Use one of them in the "
            "result and in the formula."
        ),
    ),
    (
        "gg.nn.Linear(B, 3, name='fc')",
        ShapeError,
        "fc has B for a size: give numbers of inputs and outputs.",
    ),
    (
        'gg.zeros((2,), "int8")',
        DTypeError,
        "a constant has dtype float32, float64, int32, int64, uint32 or bool, not 'int8'.",
    ),
    # Python that asks a formula for a value
    ("if x > 0: pass", GraphError, TRUTH),
    ("y = 0 < x < 1", GraphError, TRUTH),
    ("y = not m", GraphError, TRUTH),
    ("y = x[n, i] if x[n, i] > 0 else 0", GraphError, TRUTH),
    ("max(x[n, i], 0)", GraphError, TRUTH),
    (
        "for row in x: pass",
        GraphError,
        ("x (B, 4) cannot be iterated over: write a formula over indices, use gg.scan, or take elements as x[0]."),
    ),
    ("len(x)", GraphError, "len() of x (B, 4) asks for a number: use its .shape[0] or .ndim."),
    (
        "float(s)",
        GraphError,
        (
            "s () has no value while the model is written, and a float is asked for: keep it in formulas; "
            "calls of the compiled network give numbers."
        ),
    ),
    (
        "int(s)",
        GraphError,
        (
            "s () has no value while the model is written, and an int is asked for: keep it in formulas; "
            "calls of the compiled network give numbers."
        ),
    ),
    (
        "range(B)",
        GraphError,
        (
            "B has no value while the model is written, and an int is asked for: keep it in formulas; calls "
            "of the compiled network give numbers."
        ),
    ),
    (
        "np.zeros((B, 4))",
        GraphError,
        (
            "B has no value while the model is written, and an int is asked for: keep it in formulas; calls "
            "of the compiled network give numbers."
        ),
    ),
    ("round(s)", GraphError, "round() gives Python numbers: use gg.round for s ()."),
    (
        "x in [W]",
        ShapeError,
        (
            "W (3, 4) and x (B, 4) do not broadcast: axis -2 has sizes 3 and B. Make the sizes equal; only a "
            "size that is literally 1 is stretched."
        ),
    ),
    ("1 in x", GraphError, "`in` has no meaning for a tensor: compare with == and reduce with gg.max."),
    # NumPy that asks a formula for an array
    (
        "np.asarray(x)",
        GraphError,
        (
            "x (B, 4) has no value while the model is written, and an array is asked for: keep it in "
            "formulas, which read arrays as gg.input or gg.constant; calls of the compiled network give numbers."
        ),
    ),
    (
        "np.sum(x)",
        DTypeError,
        (
            "NumPy's sum computes with arrays, and x (B, 4) is part of a model: look for gg.sum, or write a "
            "formula with gg.compute."
        ),
    ),
    (
        "np.concatenate([x, x])",
        DTypeError,
        (
            "NumPy's concatenate computes with arrays, and x (B, 4) is part of a model: look for "
            "gg.concatenate, or write a formula with gg.compute."
        ),
    ),
    (
        "np.exp(x, out=x)",
        DTypeError,
        (
            "NumPy's exp computes with arrays, and x (B, 4) is part of a model: look for gg.exp, or write a "
            "formula with gg.compute."
        ),
    ),
    # operands that are none
    (
        "x + [W, 1]",
        DTypeError,
        "+ takes tensors, formulas, numbers and arrays, not list: declare arrays with gg.input or gg.param.",
    ),
    (
        "x + np.ones(4, complex)",
        DTypeError,
        (
            "+ takes tensors, formulas, numbers and arrays, not ndarray of complex128: declare arrays with gg.input or "
            "gg.param."
        ),
    ),
    (
        "x + None",
        DTypeError,
        "+ takes tensors, formulas, numbers and arrays, not NoneType: declare arrays with gg.input or gg.param.",
    ),
    (
        "x * (1 + 2j)",
        DTypeError,
        "* takes tensors, formulas, numbers and arrays, not complex: declare arrays with gg.input or gg.param.",
    ),
    (
        'x ** "2"',
        DTypeError,
        "** takes tensors, formulas, numbers and arrays, not str: declare arrays with gg.input or gg.param.",
    ),
    ("x @ [W]", DTypeError, "@ takes tensors and arrays, not list: declare arrays with gg.input or gg.param."),
    ("x @ 3", DTypeError, "@ takes tensors and arrays, not int: declare arrays with gg.input or gg.param."),
    (
        "gg.exp([x])",
        DTypeError,
        "exp takes tensors, formulas, numbers and arrays, not list: declare arrays with gg.input or gg.param.",
    ),
    (
        "gg.sum([x, 2])",
        DTypeError,
        "gg.sum takes tensors, formulas and arrays, not list: declare arrays with gg.input or gg.param.",
    ),
    (
        "np.add(x, np.ones(4), out=np.ones(4))",
        DTypeError,
        ("NumPy's add computes with arrays, and x (B, 4) is part of a model: write a formula with gg.compute."),
    ),
    (
        "gg.size('B') * np.ones(4)",
        DTypeError,
        ("* takes tensors, formulas and numbers, not ndarray of float64: declare arrays with gg.input or gg.param."),
    ),
    (
        "gg.padded(x[n, i])",
        DTypeError,
        "gg.padded takes tensors, not x[n, i]: declare arrays with gg.input or gg.param.",
    ),
    ('gg.padded(x, value="zero")', DTypeError, "x (B, 4) is padded with 'zero': give a number."),
    (
        "gg.compute((n, i), np.ones((2, 2)))",
        DTypeError,
        ("a formula is made of accesses, indices and numbers, not ndarray: declare arrays with gg.input or gg.param."),
    ),
    ("x & x", DTypeError, f"& {WORDS}, not float32: compare first, as in x > 0, or gg.cast to integers."),
    ("x | 1", DTypeError, f"| {WORDS}, not float32: compare first, as in x > 0, or gg.cast to integers."),
    ("x << 2", DTypeError, "<< takes integers, not float32: multiply by a power of 2, or gg.cast to integers."),
    ("labels >> -1", DTypeError, ">> by -1: an integer is shifted by 0 places or more."),
    ("labels & (labels > 0)", DTypeError, f"& {WORDS}, not one of each: compare first, as in x > 0."),
    (
        'gg.cast(labels, "uint32") + 2**32',
        DTypeError,
        "4294967296 is no uint32, and meets one in +: gg.cast it to int64.",
    ),
    ("labels % 2**64", DTypeError, "18446744073709551616 is no int64, and meets one in %."),
    (
        "labels ** -1",
        DTypeError,
        "an integer to a negative integer power is no integer: write 1 / x**n, or gg.cast the base.",
    ),
    ("gg.where(x, x, 0)", DTypeError, "the condition of gg.where is a comparison, not a number: write x != 0."),
    (
        "gg.where(x > 0, x, None)",
        DTypeError,
        "where takes tensors, formulas, numbers and arrays, not NoneType: declare arrays with gg.input or gg.param.",
    ),
    # changes in place
    (
        "x[0] = 1",
        GraphError,
        (
            "x (B, 4) cannot be changed in place: choose between values with gg.where, add into places with "
            "gg.accumulate, and give new values of parameters as updates= of gg.compile."
        ),
    ),
    (
        "x[n, i] += 1",
        GraphError,
        (
            "x (B, 4) cannot be changed in place: choose between values with gg.where, add into places with "
            "gg.accumulate, and give new values of parameters as updates= of gg.compile."
        ),
    ),
    ("del x[0]", GraphError, "nothing can be deleted from x (B, 4): take the rest as a slice."),
    # broadcasting and products
    (
        "x + W",
        ShapeError,
        (
            "x (B, 4) and W (3, 4) do not broadcast: axis -2 has sizes B and 3. Make the sizes equal; only a "
            "size that is literally 1 is stretched."
        ),
    ),
    (
        "x @ W",
        ShapeError,
        ("x (B, 4) @ W (3, 4): sizes 4 and 3 of the summed axis differ. Make them equal, or transpose one with .T."),
    ),
    ("x @ s", ShapeError, "x (B, 4) @ s (): both need an axis to sum over; use * with a scalar."),
    (
        "x == W",
        ShapeError,
        (
            "x (B, 4) and W (3, 4) do not broadcast: axis -2 has sizes B and 3. Make the sizes equal; only a "
            "size that is literally 1 is stretched."
        ),
    ),
    ("x.reshape(3, 5)", ShapeError, "x (B, 4) cannot be reshaped to (3, 5): 4*B elements are not 15."),
    ("x.reshape(-1, -1)", ShapeError, "reshape of x (B, 4): only one size may be -1."),
    ('x.reshape("a")', ShapeError, "'a' in a shape: sizes are integers, gg.size(...) and arithmetic on them."),
    ("x.transpose(0, 0)", ShapeError, "(0, 0) is not an order of the 2 axes of x (B, 4)."),
    ("x.sum(axis=5)", ShapeError, "x (B, 4) has 2 axes; axis 5 is not one of them."),
    ("x.sum(axis=1.5)", ShapeError, "x (B, 4): axis is 1.5; give an integer."),
    ("x.sum(axis=(0, 0))", ShapeError, "x (B, 4): an axis is given twice in (0, 0)."),
    ("x.argmax(axis=(0, 0))", ShapeError, "x (B, 4): an axis is given twice in (0, 0)."),
    ("gg.max(x, 0)", GraphError, "gg.max of a whole tensor: write axis=0; over= takes indices of a formula."),
    ("gg.mean(x, 1)", GraphError, "gg.mean of a whole tensor: write axis=1; over= takes indices of a formula."),
    ("gg.concatenate(x)", ShapeError, "concatenate takes a list of at least one tensor."),
    (
        "gg.concatenate([x, labels])",
        ShapeError,
        "x (B, 4) and labels (B) cannot be concatenated along axis 0: their other sizes must be equal.",
    ),
    ("gg.stack([x, W])", ShapeError, "x (B, 4) and W (3, 4) cannot be stacked: shapes must be equal."),
    ("gg.squeeze(x, 0)", ShapeError, "axis 0 of x (B, 4) cannot be squeezed: its size is not 1."),
    ("gg.split(x, 3, 1)", ShapeError, "axis 1 of x (B, 4) cannot be split into 3 equal parts."),
    ('gg.split(x, "three", 1)', ShapeError, "split of x (B, 4) into 'three': give a number, or a list of places."),
    ('gg.einsum("ij,jk", x, W)', ShapeError, "einsum('ij,jk'): j has sizes 4 and 3."),
    ('gg.einsum("ijk->i", x)', ShapeError, "einsum('ijk->i'): 'ijk' does not fit x (B, 4)."),
    ('gg.tensordot(x, W, "a")', ShapeError, "tensordot over 'a': give a number of axes, or a pair of lists of axes."),
    # accesses
    (
        "gg.compute((n, i), x[n])",
        ShapeError,
        "x (B, 4) has 2 axes and is given 1 subscripts: inside a formula every axis takes one.",
    ),
    (
        "gg.compute((n, i), x)",
        ShapeError,
        "x (B, 4) stands whole inside a formula: give each of its 2 axes a subscript.",
    ),
    (
        "gg.compute((n, i), x[n, i] + W)",
        ShapeError,
        "W (3, 4) stands whole inside a formula: give each of its 2 axes a subscript.",
    ),
    (
        "gg.compute((n, i), W[:, i])",
        DTypeError,
        (
            "subscript 0 of W (3, 4) is a slice: inside a formula a subscript is made of integers, sizes, "
            "indices and integer accesses."
        ),
    ),
    (
        "gg.compute((n, i), W[x[n, i], i])",
        DTypeError,
        (
            "subscript 0 of W (3, 4) is x[n, i] of dtype float32: inside a formula a subscript is made of "
            "integers, sizes, indices and integer accesses."
        ),
    ),
    (
        "gg.compute((n, i), W[labels, i])",
        DTypeError,
        (
            "subscript 0 of W (3, 4) is labels (B) of dtype int64: inside a formula a subscript is made of "
            "integers, sizes, indices and integer accesses."
        ),
    ),
    (
        "gg.compute((n, i), W[True, i])",
        DTypeError,
        (
            "subscript 0 of W (3, 4) is True: inside a formula a subscript is made of integers, sizes, "
            "indices and integer accesses."
        ),
    ),
    (
        "gg.compute((n, i), W[n / 2, i])",
        DTypeError,
        (
            "subscript 0 of W (3, 4) is (n / 2) of dtype float32: inside a formula a subscript is made of "
            "integers, sizes, indices and integer accesses."
        ),
    ),
    ("x[n]", ShapeError, "x (B, 4) has 2 axes and is given 1 subscripts: inside a formula every axis takes one."),
    ("x[:, 4]", ShapeError, "subscript 4 is outside axis 1 of x (B, 4), whose size is 4."),
    ("x[:, -5]", ShapeError, "subscript -5 is outside axis 1 of x (B, 4), whose size is 4."),
    ("x[0, 0, 0]", ShapeError, "x (B, 4) has 2 axes and is given 3 subscripts."),
    (
        "x[:, 1.5]",
        DTypeError,
        ("x (B, 4): 1.5 between the brackets; integers, sizes, slices, None, ... and integer tensors can stand there."),
    ),
    ("x[:, ::0]", ShapeError, "the step of a slice of x (B, 4) is a known integer, and not 0."),
    ("x[..., ...]", ShapeError, "x (B, 4): only one ... may stand between the brackets."),
    (
        "x[x > 0]",
        DTypeError,
        (
            "x (B, 4) is indexed by the tensor of model.py:1 (B, 4) of dtype bool: gg.where or gg.compress "
            "selects by conditions."
        ),
    ),
    ("x[s]", DTypeError, "x (B, 4) is indexed by s () of dtype float32: use integers."),
    (
        "x[[x]]",
        DTypeError,
        (
            "x (B, 4): [<Tensor x: float32 (B, 4)>] between the brackets; integers, sizes, slices, None, ... and "
            "integer tensors can stand there."
        ),
    ),
    ("x[0:1.5]", DTypeError, "a slice of axis 0 of x (B, 4) has the bound 1.5: use integers or sizes."),
    # indices
    (
        "gg.compute(n, i, x[n, i])",
        GraphError,
        "compute takes several indices as one tuple: gg.compute((n, i), ...).",
    ),
    (
        'gg.compute("n i", x[n, i])',
        GraphError,
        "compute takes indices, as gg.indices(\"n i\") makes them; 'n i' is not one.",
    ),
    (
        "gg.compute((B, 4), x[n, i])",
        GraphError,
        'compute takes indices, as gg.indices("n i") makes them; B is not one.',
    ),
    ("gg.compute((n, n), x[n, n])", GraphError, "index n is given twice."),
    (
        "gg.compute(n, x[n, i])",
        GraphError,
        (
            "index i is neither in the result nor reduced over: add it to the indices of gg.compute, or "
            "reduce with gg.sum(..., over=i)."
        ),
    ),
    ("gg.compute((n, i, j), x[n, i])", GraphError, 'index j has no range: give it one with gg.index("j", size).'),
    ("gg.compute((n, i), s)", GraphError, 'index n has no range: give it one with gg.index("n", size).'),
    (
        "gg.compute((n, i), gg.sum(x[n, j] * W[i, j]))",
        GraphError,
        "gg.sum of a formula reduces over indices: write gg.sum(..., over=j).",
    ),
    (
        "gg.compute((n, i), gg.sum(x[n, i], over=i))",
        GraphError,
        "index i is reduced over and also an index of the result: use another index.",
    ),
    (
        "gg.compute((n, i), gg.sum(x[n, j], over=3))",
        GraphError,
        'over= takes indices, as gg.indices("i j") makes them; 3 is not one.',
    ),
    ("gg.compute((n, i), gg.sum(x[n, j], over=()))", GraphError, "over= takes at least one index, each of them once."),
    (
        "gg.compute((n, i), gg.sum(x[n, j], over=(j, j)))",
        GraphError,
        "over= takes at least one index, each of them once.",
    ),
    (
        "gg.compute((n, i), gg.sum(x[n, j], over=j, axis=1))",
        GraphError,
        "gg.sum takes over= for a formula, or axis= and keepdims= for a tensor.",
    ),
    (
        "gg.compute((n, i), gg.sum(x[n, j] * W[i, j], over=k))",
        GraphError,
        (
            "index j is neither in the result nor reduced over: add it to the indices of gg.compute, or "
            "reduce with gg.sum(..., over=j)."
        ),
    ),
    ("gg.prod(x[n, i])", GraphError, "gg.prod of a formula reduces over indices: write gg.prod(..., over=j)."),
    ("gg.any(x, over=1)", GraphError, "gg.any of a whole tensor: write axis=1; over= takes indices of a formula."),
    (
        "gg.all(x[n, i] > 0, over=i, axis=0)",
        GraphError,
        "gg.all takes over= for a formula, or axis= and keepdims= for a tensor.",
    ),
    ("gg.searchsorted(v, x, side='both')", OptionError, "searchsorted has the sides left and right, not 'both'."),
    (
        "gg.searchsorted(x, v)",
        ShapeError,
        "searchsorted of v (3) in x (B, 4): what is sorted has one axis, or the leading axes of the values.",
    ),
    ("gg.vmap(x)", GraphError, "gg.vmap takes a function of tensors, not <Tensor x: float32 (B, 4)>."),
    ("gg.vmap(gg.exp, in_axes=None)(x)", GraphError, "gg.vmap maps none of the arguments: give an axis in in_axes."),
    ("gg.vmap(gg.exp, in_axes=2)(x)", ShapeError, "x (B, 4) has 2 axes; axis 2 is not one of them."),
    ("gg.vmap(gg.exp, in_axes=1.5)(x)", ShapeError, "x (B, 4): axis is 1.5; give an integer."),
    (
        "gg.vmap(lambda a, b: a @ b, in_axes=(0, 0))(x, v)",
        ShapeError,
        (
            "gg.vmap: x (B, 4) has B elements along axis 0, and v (3) has 3 along axis 0. Make them equal, or give "
            "None in in_axes for what is not mapped."
        ),
    ),
    (
        "gg.vmap(lambda a, b: a @ b, in_axes=(0, None, None))(x, v)",
        GraphError,
        "gg.vmap: in_axes=(0, None, None) is not nested as (*, *), which it is for.",
    ),
    (
        "gg.vmap(lambda a: (a, a), out_axes=(0, 1, 2))(x)",
        GraphError,
        "gg.vmap: out_axes=(0, 1, 2) is not nested as (*, *), which it is for.",
    ),
    (
        "gg.vmap(gg.exp, out_axes=2)(x)",
        ShapeError,
        "a result of gg.vmap, a tensor (B, 4) has 2 axes; axis 2 is not one of them.",
    ),
    (
        "gg.vmap(lambda a: a.sum(), out_axes=None)(x)",
        GraphError,
        "gg.vmap: the tensor of model.py:1 () changes with the element, and out_axes is None for it: give an axis.",
    ),
    ("gg.vmap(gg.exp)(2.0)", ShapeError, "a tensor () has 0 axes; axis 0 is not one of them."),
    (
        "gg.vmap(lambda a: 'y')(x)",
        DTypeError,
        "gg.vmap takes tensors, arrays, numbers, None, and tuples, lists and dicts of these, not 'y'.",
    ),
    (
        "inside = []\ngg.vmap(lambda a: inside.append(a) or a)(x)\ngg.compile(inside[0])",
        GraphError,
        (
            "output y is made of what the function of gg.vmap is called with, which has no value outside it: return "
            "it from the function, and take it from what gg.vmap returns."
        ),
    ),
    (
        "gg.compute((n, i), x[n, i] * v[i])",
        ShapeError,
        "index i runs over x's axis 1 (4) and v's axis 0 (3). Make the sizes equal, or use two indices.",
    ),
    (
        "gg.compute((n, i), x[n, i] - x[n, i + 1])",
        ShapeError,
        (
            "subscript i + 1 of x's axis 1 (4) runs from 1 to 4. Give its index a smaller range with "
            "gg.index, or read 0 outside with gg.padded."
        ),
    ),
    (
        "gg.compute((n, i), x[n, i] * x[n, 4])",
        ShapeError,
        "subscript 4 of x's axis 1 (4) is outside: the last one is 3.",
    ),
    (
        "gg.compute((n, i), x[n, i] * x[n, -5])",
        ShapeError,
        "subscript -5 is outside axis 1 of x (B, 4), whose size is 4.",
    ),
    (
        'q = gg.index("q", 9)\ngg.compute((n, q), x[n, q])',
        ShapeError,
        (
            "subscript q of x's axis 1 (4) runs from 0 to 8. Give its index a smaller range with gg.index, or"
            " read 0 outside with gg.padded."
        ),
    ),
    (
        "gg.compute((n, i), gg.sum(x[n, i + j], over=j))",
        GraphError,
        'index i has no range: give it one with gg.index("i", size).',
    ),
    (
        "gg.accumulate((labels[n],), x[n, i], shape=(3, 4))",
        ShapeError,
        "accumulate has 1 subscripts for a result of 2 axes.",
    ),
    (
        "gg.accumulate((x[n, i], i), x[n, i], shape=(3, 4))",
        DTypeError,
        (
            "subscript 0 of accumulate is x[n, i] of dtype float32: a target is made of integers, sizes, "
            "indices and integer accesses."
        ),
    ),
    (
        "gg.accumulate((n + 1, i), x[n, i], shape=(B, 4))",
        ShapeError,
        (
            "subscript n + 1 of the result's axis 0 (B) runs from 1 to B. Give its index a smaller range with"
            " gg.index, or read 0 outside with gg.padded."
        ),
    ),
    # gradients
    (
        "gg.grad(x @ W.T, W)",
        ShapeError,
        (
            "grad needs a scalar, and the tensor of model.py:1 has shape (B, 3). Sum it first, or use gg.vjp "
            "with a cotangent."
        ),
    ),
    (
        "gg.grad(gg.sum(x), W)",
        GraphError,
        "what is differentiated does not depend on W: use it there, or leave it out.",
    ),
    (
        "gg.grad(gg.sum(x), labels)",
        DTypeError,
        "labels is int64, and only floats have gradients: declare it as float32, or leave it out.",
    ),
    (
        'gg.grad(gg.sum(x), "x")',
        GraphError,
        ("'x' is no tensor: what is differentiated, and by what, and along what, are tensors or lists of tensors."),
    ),
    (
        "gg.grad(3.0, x)",
        GraphError,
        ("3.0 is no tensor: what is differentiated, and by what, and along what, are tensors or lists of tensors."),
    ),
    (
        'gg.grad({"loss": gg.sum(x)}, x)',
        GraphError,
        (
            "{'loss': <Tensor unnamed: float32 (), sum = sum_{i, j} x[i, j]>} is no tensor: what is differentiated, "
            "and by what, and along what, are tensors or lists of tensors."
        ),
    ),
    (
        "y = x + 1\ngg.grad(gg.sum(x), y)",
        GraphError,
        "what is differentiated does not depend on y: use it there, or leave it out.",
    ),
    ("gg.vjp(x, x, v)", ShapeError, "v (3) is the cotangent of x (B, 4): make the shapes equal."),
    ("gg.vjp(x, x, m)", DTypeError, "m (bool) is the cotangent of x (float32): gg.cast changes one."),
    ("gg.vjp([x, v], [x], [x])", GraphError, "1 cotangents are given for 2 tensors: give one for each."),
    ("gg.jvp(x @ W.T, [x, W], [x])", GraphError, "1 tangents are given for 2 tensors: give one for each."),
    ("gg.hvp(gg.sum(x), x, v)", ShapeError, "v (3) is the tangent of x (B, 4): make the shapes equal."),
    ('gg.jacobian(x, x, mode="sideways")', OptionError, "jacobian has the modes forward and reverse, not 'sideways'."),
    ("gg.check_grad(gg.sum(x), {})", BindingError, "check_grad has no value for x (B, 4): give values['x']."),
    # loops
    (
        "gg.scan(lambda c, e: c, 0.0, x)",
        GraphError,
        "the body of gg.scan returns the next carry and a result: `return carry, y`.",
    ),
    (
        "gg.scan(lambda c, e: (c + e, c), 0.0, x)",
        ShapeError,
        "carry 0 of gg.scan has shape () before a step and (4) after it: they must be equal.",
    ),
    (
        "gg.scan(lambda c, e: (c + 1, c), 0.0)",
        GraphError,
        "gg.scan without xs needs a length: gg.scan(body, init, length=...).",
    ),
    (
        "gg.scan(lambda c, e: (c + 0.5, c), 0, length=3)",
        DTypeError,
        ("carry 0 of gg.scan is int64 before a step and float32 after it: they must be equal; gg.cast changes one."),
    ),
    ("gg.scan(lambda c, e: (c + 1, c), 0.0, length=-1)", ShapeError, "size -1 in a shape: sizes are not negative."),
    ("gg.scan(lambda c, e: (c, c), 0.0, s)", ShapeError, "gg.scan walks xs along their first axis; s () has no axes."),
    (
        "gg.scan(lambda c, e: (c, e), 0.0, (x, W))",
        ShapeError,
        "gg.scan: W (3, 4) has 3 elements along its first axis, and the loop has B steps. Make them equal.",
    ),
    (
        "gg.scan(3, 0.0, x)",
        GraphError,
        "the body of gg.scan is 3: give a function of a carry and an element of xs.",
    ),
    # losses and layers
    (
        "gg.optim.sgd(gg.sum(W), lr='fast')",
        GraphError,
        "a step length is 'fast': give a number, a tensor, or a schedule.",
    ),
    ("gg.function('f', 'x +')", GraphError, "f: SymPy cannot read 'x +'."),
    (
        "gg.optim.adam(3)",
        GraphError,
        "an optimiser takes a loss, whose parameters it finds, or pairs of parameter and gradient, not 3.",
    ),
    (
        "gg.optim.sgd([W], 0.1)",
        GraphError,
        (
            "an optimiser takes a loss, whose parameters it finds, or pairs of parameter and gradient, "
            "not [<Tensor W: float32 (3, 4)>]."
        ),
    ),
    ("gg.optim.adam(gg.sum(labels))", GraphError, "the loss has no parameters to update: declare some with gg.param."),
    ("fc = nn.Linear(4, 3)\ny = fc(W.T)", ShapeError, "fc takes 4 inputs along the last axis, and is given y (4, 3)."),
    ("nn.cross_entropy(x, W)", DTypeError, "the labels of cross_entropy are integers; W (3, 4) is float32."),
    (
        "nn.cross_entropy(x, labels[1:])",
        ShapeError,
        "cross_entropy of x (B, 4) with the tensor of model.py:1 (B - 1): the labels must have the shape (B).",
    ),
    ("nn.mse_loss(x, W)", ShapeError, "mse_loss of x (B, 4) with W (3, 4): the shapes must be equal."),
    (
        "nn.mse_loss(x, [x])",
        DTypeError,
        "mse_loss takes tensors and arrays, not list: declare arrays with gg.input or gg.param.",
    ),
    # gg.compile
    ("gg.compile({})", GraphError, "there is nothing to compile: give at least one output."),
    (
        "gg.compile([x])",
        GraphError,
        (
            "gg.compile takes a tensor, or tensors by the names of the outputs, as in {'loss': loss}, not "
            "[<Tensor x: float32 (B, 4)>]."
        ),
    ),
    (
        'gg.compile({"y": x[n, i]})',
        GraphError,
        "output y is x[n, i] of dtype float32: give a tensor, such as gg.compute makes.",
    ),
    ('gg.compile({"y": 3})', GraphError, "output y is 3: give a tensor, such as gg.compute makes."),
    ('gg.compile({"my y": x})', GraphError, "'my y' cannot name an output: use a Python identifier, such as x1."),
    ('gg.compile({"class": x})', GraphError, "'class' cannot name an output: use a Python identifier, such as x1."),
    ("gg.compile({3: x})", GraphError, "3 cannot name an output: use a Python identifier, such as x1."),
    (
        'gg.compile({"_y": x})',
        GraphError,
        "'_y' cannot name an output: in generated code such names are hidden. Begin with a letter.",
    ),
    (
        'gg.compile({"x": x + 1})',
        GraphError,
        "'x' names an output and x (B, 4): give the output another name, as in gg.compile({'x_': ...}).",
    ),
    (
        "gg.compile({'loss': gg.sum(x)}, wrt=[gg.input('k', (), 'int64')])",
        DTypeError,
        "wrt names k, which is int64, and only floats have gradients: declare it as float32, or leave it out.",
    ),
    (
        "np.dot(x, W)",
        DTypeError,
        (
            "NumPy's dot computes with arrays, and x (B, 4) is part of a model: use x @ y, or write a formula with "
            "gg.compute."
        ),
    ),
    (
        'gg.compile({"x": x})',
        GraphError,
        "'x' names an output and x (B, 4): give the output another name, as in gg.compile({'x_': ...}).",
    ),
    ('gg.compile(x, name="a b")', GraphError, "'a b' cannot name a module: use a Python identifier, such as x1."),
    (
        'gg.compile(x, target="gpu")',
        OptionError,
        "target='gpu': networks are compiled for 'cpu', and for nothing else yet. Leave target out.",
    ),
    ('gg.compile(x, dtype="float16")', OptionError, "dtype='float16': give 'float32' or 'float64'."),
    ('gg.compile(x, sizes={"B": -1})', OptionError, "sizes: B is -1: give an integer that is not negative."),
    ('gg.compile(x, sizes={"B": 2.5})', OptionError, "sizes: B is 2.5: give an integer that is not negative."),
    ('gg.compile(x, sizes={"N": 2})', OptionError, "sizes: 'N' is no size of the model, which has B."),
    ("gg.compile(x, sizes=3)", OptionError, "sizes=3: give numbers by the names of sizes, as in sizes={'B': 32}."),
    (
        'gg.compile(x, skip=["everything"])',
        OptionError,
        (
            "skip='everything' is no rewrite: those are log_exp, logsumexp, softmax, max_shift, mask, "
            "softplus, sigmoid, logsigmoid, logaddexp, cancel."
        ),
    ),
    (
        "gg.materialize(2)",
        GraphError,
        "gg.materialize takes a tensor, and 2 is none. Make one of a formula by gg.compute.",
    ),
    (
        "gg.materialize(x > 0)",
        DTypeError,
        "the tensor of model.py:1 is bool, and gg.materialize takes numbers: gg.cast makes them.",
    ),
    (
        'gg.grad(gg.sum(x), x, skip=["softmax", "everything"])',
        OptionError,
        (
            "skip='everything' is no rewrite: those are log_exp, logsumexp, softmax, max_shift, mask, "
            "softplus, sigmoid, logsigmoid, logaddexp, cancel."
        ),
    ),
    (
        "gg.jacobian(x, x, skip=3)",
        OptionError,
        (
            "skip=3 is no rewrite: those are log_exp, logsumexp, softmax, max_shift, mask, softplus, sigmoid, "
            "logsigmoid, logaddexp, cancel."
        ),
    ),
    ("gg.compile(x, deterministic=2)", OptionError, "deterministic=2: give True or False."),
    ("gg.compile(x, strict=1)", OptionError, "strict=1: give True or False."),
    (
        'gg.compile(x, loss="y")',
        GraphError,
        "loss='y' names no output that is a float scalar; there is none: take a sum or a mean.",
    ),
    (
        'gg.compile({"a": gg.sum(x), "b": gg.sum(x)}, loss="c")',
        GraphError,
        "loss='c' names no output that is a float scalar; those are a, b.",
    ),
    (
        'total = gg.sum(x); gg.compile({"a": gg.sum(W), "b": total}, loss=total)',
        GraphError,
        'loss is the name of an output, not a tensor: loss="b".',
    ),
    (
        "gg.compile(x, loss=gg.sum(x))",
        GraphError,
        'loss is the name of an output, not a tensor: gg.compile({"loss": loss}, loss="loss").',
    ),
    (
        "gg.compile(gg.sum(x), updates={x: x * 2})",
        GraphError,
        "updates hold x, an input, which every call gives: declare a gg.state or gg.param.",
    ),
    (
        "gg.compile(gg.sum(x), wrt=[W])",
        GraphError,
        "no output depends on W: leave it out of wrt, or use it in an output.",
    ),
    (
        'gg.compile({"loss": gg.sum(x), "b": W > 0.5}, wrt=[x, W])',
        GraphError,
        "no float output depends on W, and others have no gradient: leave it out of wrt.",
    ),
    (
        "gg.compile(gg.sum(x), wrt=[x + 1])",
        GraphError,
        (
            "wrt names declared tensors (gg.input, gg.param, gg.state), and the tensor of model.py:1 (B, 4) "
            "of dtype float32 is none."
        ),
    ),
    (
        'gg.compile(gg.sum(x), wrt="x")',
        GraphError,
        "wrt names declared tensors (gg.input, gg.param, gg.state), and 'x' is none.",
    ),
    ("gg.compile(gg.sum(x), wrt=[x, x])", GraphError, "wrt names x twice."),
    (
        "gg.compile(gg.sum(x), updates={W: x})",
        ShapeError,
        "the update of W is float32 x (B, 4), and W (3, 4) is float32: shapes and dtypes must be equal.",
    ),
    ("gg.compile(gg.sum(x), updates={W: 3})", GraphError, "the update of W is 3: give a tensor."),
    (
        'gg.compile(gg.sum(x), updates={"W": W})',
        GraphError,
        "updates names declared tensors (gg.input, gg.param, gg.state), and 'W' is none.",
    ),
    (
        "gg.compile(gg.sum(x), updates=[W])",
        GraphError,
        "updates=[<Tensor W: float32 (3, 4)>]: give new values by tensor, as in {w: w - 0.1 * d_w}.",
    ),
    (
        'gg.compile(x[0] + gg.input("x", (4,)))',
        GraphError,
        "two tensors are called 'x': give every input, parameter, state, constant and layer (name=...) its own name.",
    ),
    (
        'gg.compile(gg.param("B", (B,)) + 1)',
        GraphError,
        "'B' names a size and a tensor: use another name for one of them.",
    ),
    (
        'w = gg.size("Work")\ngg.compile(gg.input("a", (w,)) + 1)',
        GraphError,
        "'Work' cannot name a size: generated code calls it. Use Work_, say.",
    ),
    (
        "inside = []\ngg.scan(lambda c, e: (inside.append(c) or c, c), 0.0, length=3)\ngg.compile(inside[0])",
        GraphError,
        (
            "output y is made of what the body of gg.scan is called with, which has no value outside the "
            "loop: return it from the body, and take it from what gg.scan returns."
        ),
    ),
    (
        (
            'w, inside = gg.param("w", ()), []\ngg.scan(lambda c, e: (inside.append(c) or c, c), 0.0, length=3)\n'
            "gg.compile(w * 1, updates={w: inside[0]})"
        ),
        GraphError,
        (
            "the update of w is made of what the body of gg.scan is called with, which has no value outside the "
            "loop: return it from the body, and take it from what gg.scan returns."
        ),
    ),
]


def run(text: str) -> dict[str, Any]:
    """Runs a model whose lines can be looked up, as those of a file."""
    known: dict[str, Any] = {"gg": gg, "nn": nn, "np": np}
    exec(compile(DECLARED, "declared.py", "exec"), known)
    linecache.cache["model.py"] = (len(text), None, text.splitlines(keepends=True), "model.py")
    exec(compile(text, "model.py", "exec"), known)
    return known


@pytest.mark.parametrize(("text", "kind", "words"), MESSAGES, ids=[text for text, *_ in MESSAGES])
def test_the_message(text: str, kind: type[GradgenError], words: str) -> None:
    with pytest.raises(GradgenError) as caught:
        run(text)
    assert type(caught.value) is kind
    assert str(caught.value) == f"model.py:{text.count(chr(10)) + 1}: {words}"


@pytest.mark.parametrize(
    "text",
    [
        "y = np.exp(x)",
        "y = np.maximum(x, 0)",
        "y = gg.compute((n, i), np.exp(x[n, i]))",
        "y = np.float32(2) * x",
        "y = np.float64(2) * x",
        "y = np.int64(2) * x",
        "y = np.array(2.0) * x",
        "y = +x",
        "y = x.astype(np.float64)",
        "y = x.astype(int)",
        "y = gg.zeros((2,), np.float32)",
        "y = gg.where(x == None, 1.0, x)",
        "x += 1\ny = x",
        "y = gg.grad(gg.sum(x * v[0]), {'v': v, 'x': x}.values())[1]",
    ],
)
def test_what_is_fine(text: str) -> None:
    y = run(text)["y"]
    assert isinstance(y, gg.Tensor)


def test_numpys_functions_are_ours() -> None:
    known = run("a, b = np.arctan2(x, W[0]), gg.atan2(x, W[0])\nc, d = np.multiply(2.0, x), 2.0 * x")
    assert known["a"] is known["b"]
    assert known["c"] is known["d"]


@pytest.mark.parametrize("name", ["backward", "item", "shpae"])
def test_what_a_tensor_has_not(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        run(f"loss = gg.sum(x)\nloss.{name}")
    assert str(caught.value) == (
        f"model.py:2: a tensor has no attribute '{name}': functions of tensors are gg.NAME(x), gradients come from "
        "gg.grad or net.value_and_grad, and values from calls of a compiled network"
    )
    assert not hasattr(gg.input("x", (3,)), "_private")


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        (nn, "Relu", "module 'gradgen.nn' has no attribute 'Relu': did you mean gg.nn.relu?"),
        (nn, "linear", "module 'gradgen.nn' has no attribute 'linear': did you mean gg.nn.Linear?"),
        (nn, "Capsule", "module 'gradgen.nn' has no attribute 'Capsule'"),
        (gg.optim, "Adam", "module 'gradgen.nn.optim' has no attribute 'Adam': did you mean gg.optim.adam?"),
    ],
)
def test_a_name_in_other_letters(module: Any, name: str, words: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    assert str(caught.value) == words


def test_a_name_that_stands_elsewhere() -> None:
    with pytest.raises(AttributeError) as caught:
        gg.softmax  # noqa: B018
    assert str(caught.value) == "module 'gradgen' has no attribute 'softmax': use gg.nn.softmax"
    with pytest.raises(AttributeError) as caught:
        gg.everything  # noqa: B018
    assert str(caught.value) == "module 'gradgen' has no attribute 'everything'"
    with pytest.raises(AttributeError) as caught:
        gg.arcsinh  # noqa: B018
    assert str(caught.value) == "module 'gradgen' has no attribute 'arcsinh': did you mean gg.asinh?"
    with pytest.raises(AttributeError) as caught:
        gg.crossentropy  # noqa: B018
    assert str(caught.value) == "module 'gradgen' has no attribute 'crossentropy': did you mean gg.nn.cross_entropy?"
    with pytest.raises(AttributeError) as caught:
        gg.tensor  # noqa: B018
    assert str(caught.value) == (
        "module 'gradgen' has no attribute 'tensor': declare tensors with gg.input or gg.param; their numbers are "
        "given when the network is called"
    )
    with pytest.raises(GraphError) as error:
        run("gg.Tensor([1.0, 2.0])")
    assert str(error.value) == (
        "model.py:1: gg.Tensor is the type of tensors and makes none of list: declare one with gg.input or "
        "gg.param, and give its numbers when the network is called."
    )
    with pytest.raises(AttributeError) as caught:
        gg.describe  # noqa: B018  # a function that gradgen.nn.optim only uses
    assert str(caught.value) == "module 'gradgen' has no attribute 'describe'"
