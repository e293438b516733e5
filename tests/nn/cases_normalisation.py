"""Normalisations, as functions and as layers, in training and in evaluation, and what training carries."""

from tests.nn.table import Case, Drawn

ROWS = {"x": (3, 4)}
BATCH = {"x": (5, 4)}
SERIES = {"x": (2, 4, 3)}
IMAGES = {"x": (2, 3, 2, 2)}
VOLUMES = {"x": (2, 2, 2, 2, 3)}
EPS = "eps=float(np.finfo('float32').eps)"  # models are declared in float32
CARRIED = "(layer(x), layer.running_mean, layer.running_var, layer.num_batches_tracked)"
NEXT = (
    "(layer(x), *(lambda found: [found.get(v, v) for v in "
    "(layer.running_mean, layer.running_var, layer.num_batches_tracked)])(nn.running_updates(layer)))"
)
STATISTICS = {"m": (4,), "v": Drawn((4,), "positive"), "w": (4,), "b": (4,)}
CONSTANT = frozenset({"m", "v"})  # PyTorch does not differentiate by running statistics
OF_BATCH = {"batch": {"x": "N"}, "constant": CONSTANT}

CASES = [
    Case("layer_norm", ROWS, "nn.LayerNorm(4)", compiled=True, derivatives=True),
    Case("layer_norm_axes", {"x": (3, 2, 4)}, "nn.LayerNorm((2, 4), eps=0.1)"),
    Case("layer_norm_no_bias", SERIES, "nn.LayerNorm(3, bias=False)"),
    Case("layer_norm_plain", SERIES, "nn.LayerNorm(normalized_shape=[4, 3], elementwise_affine=False)"),
    Case(
        "layer_norm_function",
        {**ROWS, "w": (4,), "b": (4,)},
        call="F.layer_norm(x, w, b, axis=-1, eps=1e-3)",
        torch_call="F.layer_norm(x, (4,), w, b, eps=1e-3)",
        batch={"x": "N"},
        compiled=True,
        derivatives=True,
    ),
    Case("rms_norm", ROWS, "nn.RMSNorm(4)", torch_make=f"nn.RMSNorm(4, {EPS})", compiled=True, derivatives=True),
    Case("rms_norm_axes", {"x": (3, 2, 4)}, "nn.RMSNorm((2, 4), eps=0.1)"),
    Case("rms_norm_plain", SERIES, "nn.RMSNorm(normalized_shape=3, eps=1e-3, elementwise_affine=False)"),
    Case(
        "rms_norm_function",
        {**ROWS, "w": (4,)},
        call="F.rms_norm(x, w, axis=1, eps=1e-3)",
        torch_call="F.rms_norm(x, (4,), w, eps=1e-3)",
        batch={"x": "N"},
        compiled=True,
        derivatives=True,
    ),
    Case("group_norm", {"x": (2, 4, 3)}, "nn.GroupNorm(2, 4)", compiled=True, derivatives=True),
    Case("group_norm_of_vectors", {"x": (3, 6)}, "nn.GroupNorm(num_groups=3, num_channels=6, eps=0.1)"),
    Case("group_norm_images", {"x": (2, 4, 2, 3)}, "nn.GroupNorm(4, 4, affine=False)"),
    Case("group_norm_no_bias", {"x": (2, 4, 2, 3)}, "nn.GroupNorm(1, 4, bias=False)"),
    Case(
        "group_norm_function",
        {**SERIES, "w": (4,), "b": (4,)},
        call="F.group_norm(x, 2, w, b, 1e-3)",
        batch={"x": "N"},
        compiled=True,
        derivatives=True,
    ),
    Case("batch_norm_vectors", BATCH, "nn.BatchNorm1d(4)", compiled=True, derivatives=True),
    Case("batch_norm_series", SERIES, "nn.BatchNorm1d(4)"),
    Case("batch_norm_images", IMAGES, "nn.BatchNorm2d(3)", compiled=True, derivatives=True),
    Case("batch_norm_volumes", VOLUMES, "nn.BatchNorm3d(2)", compiled=True, derivatives=True),
    Case("batch_norm_evaluated", BATCH, "nn.BatchNorm1d(4).eval()"),
    Case("batch_norm_images_evaluated", IMAGES, "nn.BatchNorm2d(3).eval()"),
    Case("batch_norm_carried", BATCH, "nn.BatchNorm1d(4)", call=NEXT, torch_call=CARRIED),
    Case("batch_norm_carried_images", IMAGES, "nn.BatchNorm2d(3, momentum=0.3)", call=NEXT, torch_call=CARRIED),
    Case("batch_norm_carried_means", SERIES, "nn.BatchNorm1d(4, momentum=None)", call=NEXT, torch_call=CARRIED),
    Case(
        "batch_norm_carried_twice",
        BATCH,
        "nn.BatchNorm1d(4, momentum=None)",
        call="(layer(x * x), " + NEXT[1:],
        torch_call="(layer(x * x), " + CARRIED[1:],
    ),
    *(
        Case(f"batch_norm_options_{k}", inputs, f"nn.BatchNorm{k}d({options}){mode}")
        for k, inputs in ((1, SERIES), (2, IMAGES), (3, VOLUMES))
        for options in (
            f"num_features={inputs['x'][1]}, eps=0.1, momentum=0.2, affine=False, track_running_stats=False, bias=True",
        )
        for mode in ("",)
    ),
    Case("batch_norm_no_bias", BATCH, "nn.BatchNorm1d(4, bias=False)"),
    Case("batch_norm_untracked_evaluated", BATCH, "nn.BatchNorm1d(4, track_running_stats=False).eval()"),
    Case(
        "batch_norm_function",
        {**BATCH, **STATISTICS},
        call="(F.batch_norm(x, m, v, w, b, False, eps=1e-3), F.batch_norm(x, m, v))",
        **OF_BATCH,
        compiled=True,
        derivatives=True,
    ),
    Case(
        "batch_norm_function_training",
        {**BATCH, "w": (4,), "b": (4,)},
        call="F.batch_norm(x, running_mean=None, running_var=None, weight=w, bias=b, training=True, eps=1e-3)",
        batch={"x": "N"},
    ),
    Case("instance_norm_series", SERIES, "nn.InstanceNorm1d(4)", compiled=True, derivatives=True),
    Case("instance_norm_images", IMAGES, "nn.InstanceNorm2d(3)", compiled=True, derivatives=True),
    Case("instance_norm_volumes", VOLUMES, "nn.InstanceNorm3d(2)", compiled=True, derivatives=True),
    Case("instance_norm_one_example", {"x": (4, 3)}, "nn.InstanceNorm1d(4, affine=True)", batch={}),
    Case(
        "instance_norm_carried",
        SERIES,
        "nn.InstanceNorm1d(4, affine=True, track_running_stats=True)",
        call=NEXT,
        torch_call=CARRIED,
    ),
    Case("instance_norm_evaluated", SERIES, "nn.InstanceNorm1d(4, track_running_stats=True).eval()"),
    *(
        Case(
            f"instance_norm_options_{k}",
            inputs,
            f"nn.InstanceNorm{k}d(num_features={inputs['x'][1]}, eps=0.1, momentum=0.2, affine=True, "
            "track_running_stats=True, bias=False)",
        )
        for k, inputs in ((1, SERIES), (2, IMAGES), (3, VOLUMES))
    ),
    Case(
        "instance_norm_function",
        {**SERIES, **STATISTICS},
        call="(F.instance_norm(x, m, v, w, b, False, eps=1e-3), F.instance_norm(x, weight=w, bias=b), "
        "F.instance_norm(x, running_mean=None, running_var=None, use_input_stats=True))",
        **OF_BATCH,
        compiled=True,
        derivatives=True,
    ),
]
