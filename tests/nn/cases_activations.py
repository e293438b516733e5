"""Activations, as functions and as layers; several to a case, whose compilation takes what one takes."""

from tests.nn.table import Case, Drawn

X = {"x": (3, 4)}
SPREAD = {"x": Drawn((4, 6), scale=4.0)}  # beyond every bound

FUNCTIONS = (
    "(F.relu(x), F.relu6(x), F.elu(x), F.celu(x), F.selu(x), F.gelu(x), F.silu(x), F.mish(x), F.sigmoid(x), "
    "F.logsigmoid(x), F.tanh(x), F.softsign(x), F.softplus(x), F.hardswish(x), F.hardtanh(x), "
    "F.leaky_relu(x), F.tanhshrink(x), F.softshrink(x), F.hardshrink(x), F.threshold(x, 0.3, -2.0))"
)
LAYERS = (
    "(nn.ReLU()(x), nn.ReLU6()(x), nn.ELU()(x), nn.CELU()(x), nn.SELU()(x), nn.GELU()(x), nn.SiLU()(x), nn.Mish()(x), "
    "nn.Sigmoid()(x), nn.LogSigmoid()(x), nn.Tanh()(x), nn.Softsign()(x), nn.Softplus()(x), "
    "nn.Hardswish()(x), nn.Hardtanh()(x), nn.LeakyReLU()(x), nn.Tanhshrink()(x), nn.Softshrink()(x), "
    "nn.Hardshrink()(x), nn.Threshold(0.3, -2.0)(x))"
)
ALONG = (
    "(F.softmax(x, -1), F.log_softmax(x, -1), F.softmin(x, -1), F.glu(x), nn.Softmax(-1)(x), nn.LogSoftmax(-1)(x), "
    "nn.Softmin(-1)(x), nn.GLU()(x))"
)
OPTIONS = [  # of celu powers of 2: in PyTorch the gradient has 1 / alpha in float32
    "F.gelu(x, approximate='tanh')",
    "nn.GELU(approximate='tanh')(x)",
    "F.leaky_relu(x, negative_slope=0.2)",
    "nn.LeakyReLU(negative_slope=0.2)(x)",
    "F.elu(x, 1.7)",
    "nn.ELU(alpha=1.7)(x)",
    "F.celu(x, 2.0)",
    "nn.CELU(alpha=0.5)(x)",
    "F.softplus(x, beta=0.5, threshold=2.0)",
    "nn.Softplus(beta=2.0, threshold=3.0)(x)",
    "F.softplus(x, beta=3.0)",
    "F.hardtanh(x, min_val=-2.0, max_val=0.5)",
    "nn.Hardtanh(min_val=-2.0, max_val=0.5)(x)",
    "F.threshold(x, threshold=-0.5, value=3.0)",
    "nn.Threshold(threshold=-0.5, value=3.0)(x)",
    "F.softshrink(x, lambd=1.5)",
    "nn.Softshrink(lambd=1.5)(x)",
    "F.hardshrink(x, lambd=1.5)",
    "nn.Hardshrink(lambd=1.5)(x)",
]

CASES = [
    Case("functions", X, call=FUNCTIONS, compiled=True, derivatives=True),
    Case(  # in PyTorch the slope is a sixth in float32
        "hardsigmoid",
        SPREAD,
        call="(F.hardsigmoid(x), nn.Hardsigmoid()(x))",
        torch_call="(torch.clamp(x + 3, 0, 6) / 6, torch.clamp(x + 3, 0, 6) / 6)",
        compiled=True,
        derivatives=True,
    ),
    Case("functions_spread", SPREAD, call=FUNCTIONS),
    Case("layers", X, call=LAYERS, compiled=True, derivatives=True),
    Case("layers_spread", SPREAD, call=LAYERS),
    *(Case(f"option_{k}", SPREAD, call=text) for k, text in enumerate(OPTIONS)),
    Case("along_the_last_axis", X, call=ALONG, compiled=True, derivatives=True),
    Case("softmax_of_a_vector", {"x": (5,)}, call="F.softmax(x, 0)"),
    Case("softmax_of_large_scores", {"x": Drawn((3, 5), scale=500.0)}, call="F.softmax(x, 1)"),
    Case("softmax_inner_axis", {"x": (3, 4, 2)}, call="nn.Softmax(dim=1)(x)"),
    Case("log_softmax_inner_axis", {"x": (3, 4, 2)}, call="nn.LogSoftmax(dim=1)(x)"),
    Case("softmin_inner_axis", {"x": (3, 4, 2)}, call="nn.Softmin(dim=1)(x)"),
    Case("softmax2d", {"x": (2, 3, 2, 2)}, call="nn.Softmax2d()(x)", compiled=True, derivatives=True),
    Case("softmax2d_of_an_image", {"x": (3, 2, 2)}, call="nn.Softmax2d()(x)", batch={}),
    Case("glu_inner_axis", {"x": (3, 4, 2)}, call="(F.glu(x, 1), F.glu(x, dim=1), nn.GLU(dim=1)(x))"),
    Case("prelu", X, "nn.PReLU()", compiled=True, derivatives=True),
    Case("prelu_channels", {"x": (3, 4, 2)}, "nn.PReLU(4)"),
    Case("prelu_start", X, "nn.PReLU(num_parameters=4, init=0.1)"),
    Case("prelu_images", {"x": (2, 3, 2, 2)}, "nn.PReLU(3)"),
    Case("prelu_function", {**X, "w": (4,)}, call="F.prelu(x, w)", batch={"x": "N"}, compiled=True, derivatives=True),
    Case("prelu_function_one", {"x": (3,), "w": (1,)}, call="F.prelu(x, w)", batch={"x": "N"}),
]
