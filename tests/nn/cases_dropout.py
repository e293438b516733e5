"""Dropout where nothing is random: trained, of nothing, of everything. `test_dropout` has the rest."""

from tests.nn.table import Case

CASES = [
    Case("dropout", {"x": (3, 4)}, "nn.Dropout(0.3).eval()", derivatives=True),
    Case("dropout_none", {"x": (3, 2, 4)}, "nn.Dropout(p=0.0)"),
    Case("dropout_all", {"x": (3, 4)}, "nn.Dropout(1)", compiled=True),
    Case("dropout1d", {"x": (3, 2, 4)}, "nn.Dropout1d(1.0)", compiled=True),
    Case("dropout1d_trained", {"x": (2, 4)}, "nn.Dropout1d(p=0.2).eval()", batch={}, derivatives=True),
    Case("dropout2d", {"x": (3, 2, 2, 3)}, "nn.Dropout2d(1.0)", compiled=True),
    Case("dropout2d_trained", {"x": (3, 2, 2, 3)}, "nn.Dropout2d(p=0.5).eval()", derivatives=True),
    Case("dropout3d", {"x": (3, 2, 2, 2, 2)}, "nn.Dropout3d(1.0)", compiled=True),
    Case("dropout3d_trained", {"x": (3, 2, 2, 2, 2)}, "nn.Dropout3d(p=0.5).eval()", derivatives=True),
    Case(
        "dropout_function",
        {"x": (3, 4)},
        call="F.dropout(x, 1.0, seed=3, step=5)",
        torch_call="F.dropout(x, 1.0)",
        compiled=True,
    ),
    Case(
        "dropout_function_trained",
        {"x": (3, 4)},
        call="F.dropout(x, p=0.4, training=False, seed=3)",
        torch_call="F.dropout(x, p=0.4, training=False)",
        derivatives=True,
    ),
]
