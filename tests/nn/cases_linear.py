"""Linear layers, containers, and what only moves elements."""

from tests.nn.table import Case

CASES = [
    Case("linear", {"x": (3, 4)}, "nn.Linear(4, 5)", compiled=True, derivatives=True),
    Case("linear_no_bias", {"x": (3, 2, 4)}, "nn.Linear(4, 5, bias=False)"),
    Case("identity", {"x": (3, 4)}, "nn.Identity()", compiled=True, derivatives=True),
    Case("flatten", {"x": (3, 2, 4)}, "nn.Flatten()", compiled=True, derivatives=True),
    Case("flatten_axes", {"x": (3, 2, 4, 2)}, "nn.Flatten(1, 2)"),
]
