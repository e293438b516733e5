"""Linear layers, containers, and what only moves elements."""

from tests.nn.table import Case

CASES = [
    Case("linear", {"x": (3, 4)}, "nn.Linear(4, 5)", compiled=True, derivatives=True),
    Case("linear_no_bias", {"x": (3, 2, 4)}, "nn.Linear(4, 5, bias=False)"),
    Case("identity", {"x": (3, 4)}, "nn.Identity(7, unused=True)", compiled=True, derivatives=True),
    Case("flatten", {"x": (3, 2, 4)}, "nn.Flatten()", compiled=True, derivatives=True),
    Case("flatten_axes", {"x": (3, 2, 4, 2)}, "nn.Flatten(1, 2)"),
    Case(
        "mlp",
        {"x": (3, 4)},
        "nn.MLP([4, 5, 3], nn.tanh, last=nn.sigmoid, bias=True)",
        compiled=True,
        derivatives=True,
        torch_make="nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.Sigmoid())",
        names={f"linear{k + 1}.{kind}": f"{2 * k}.{kind}" for k in (0, 1) for kind in ("weight", "bias")},
    ),
    Case(
        "mlp_no_bias",
        {"x": (3, 4)},
        "nn.MLP(widths=[4, 5, 3], activation=nn.silu, bias=False)",
        torch_make="nn.Sequential(nn.Linear(4, 5, False), nn.SiLU(), nn.Linear(5, 3, False))",
        names={f"linear{k + 1}.weight": f"{2 * k}.weight" for k in (0, 1)},
    ),
    Case(
        "module_list",
        {"x": (3, 4)},
        "nn.ModuleList([nn.Linear(4, 5), nn.Linear(5, 2)])",
        "layer[1](layer[0](x))",
        compiled=True,
        derivatives=True,
    ),
]
