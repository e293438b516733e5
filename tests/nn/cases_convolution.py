"""Convolutions and transposed convolutions; names of cases say which options they are about."""

from tests.nn.table import Case

FUNCTIONS = [
    Case(
        f"conv{d}d",
        {"x": (2, 4, *x), "w": (6, 2, *k), "b": (6,)},
        call=f"F.conv{d}d(x, w, b, {stride}, {padding}, {dilation}, groups=2)",
        batch={"x": "N"},
    )
    for d, x, k, stride, padding, dilation in [
        (1, (9,), (3,), 2, 1, 2),
        (2, (6, 7), (3, 2), "(2, 1)", "(1, 0)", "(1, 2)"),
        (3, (4, 3, 5), (2, 1, 3), "(1, 2, 2)", "(1, 0, 1)", "(2, 1, 1)"),
    ]
] + [
    Case(
        f"conv_transpose{d}d",
        {"x": (2, 4, *x), "w": (4, 3, *k), "b": (6,)},
        call=f"F.conv_transpose{d}d(x, w, b, {stride}, {padding}, {more}, 2, {dilation})",
        batch={"x": "N"},
    )
    for d, x, k, stride, padding, more, dilation in [
        (1, (4,), (3,), 2, 1, 1, 2),
        (2, (3, 4), (3, 2), "(2, 1)", "(1, 0)", "(1, 0)", "(1, 2)"),
        (3, (2, 3, 2), (2, 1, 3), "(1, 2, 2)", "(1, 0, 1)", "(0, 1, 1)", "(2, 1, 1)"),
    ]
]

CASES = [
    # one axis
    Case("1d", {"x": (2, 3, 7)}, "nn.Conv1d(3, 4, 3)", compiled=True, derivatives=True),
    Case("1d_no_bias", {"x": (2, 3, 7)}, "nn.Conv1d(3, 4, 3, bias=False)"),
    Case("1d_stride", {"x": (2, 3, 8)}, "nn.Conv1d(3, 4, 3, stride=2)"),
    Case("1d_stride_beyond_kernel", {"x": (2, 3, 9)}, "nn.Conv1d(3, 4, 2, 3)"),
    Case("1d_padding", {"x": (2, 3, 7)}, "nn.Conv1d(3, 4, 3, padding=2)"),
    Case("1d_same", {"x": (2, 3, 7)}, "nn.Conv1d(3, 4, 3, padding='same')"),
    # PyTorch warns where the two sides of "same" differ, and then pads like this
    Case("1d_same_even", {"x": (2, 3, 7)}, "nn.Conv1d(3, 4, 4, padding='same', dilation=3)",
         torch_make="nn.Conv1d(3, 4, 4, dilation=3)", torch_call="layer(F.pad(x, (4, 5)))"),
    Case("1d_valid", {"x": (2, 3, 7)}, "nn.Conv1d(3, 4, 3, padding='valid', stride=(2,))"),
    Case("1d_reflect", {"x": (2, 3, 7)}, "nn.Conv1d(3, 4, 3, padding=2, padding_mode='reflect')"),
    Case("1d_replicate", {"x": (2, 3, 7)}, "nn.Conv1d(3, 4, 3, padding=2, padding_mode='replicate')"),
    Case("1d_circular", {"x": (2, 3, 7)}, "nn.Conv1d(3, 4, 4, padding='same', padding_mode='circular')"),
    Case("1d_dilation", {"x": (2, 3, 9)}, "nn.Conv1d(3, 4, 3, dilation=2, padding=1)"),
    Case("1d_dilation_and_stride", {"x": (2, 3, 12)}, "nn.Conv1d(3, 4, 3, stride=2, dilation=3)"),
    Case("1d_groups", {"x": (2, 6, 7)}, "nn.Conv1d(6, 4, 3, groups=2)"),
    Case("1d_depthwise", {"x": (2, 3, 7)}, "nn.Conv1d(3, 6, 3, groups=3, padding=1)"),
    Case("1d_unbatched", {"x": (3, 7)}, "nn.Conv1d(3, 4, 3)", batch={}),
    Case("1d_any_length", {"x": (7, 3, 2)}, "nn.Conv1d(3, 4, 3, padding=1)", "layer(x.transpose(2, 1, 0))",
         torch_call="layer(x.permute(2, 1, 0))"),
    Case("1d_any_length_stride", {"x": (7, 3, 2)}, "nn.Conv1d(3, 4, 3, stride=2)", "layer(x.transpose(2, 1, 0))",
         torch_call="layer(x.permute(2, 1, 0))"),
    Case("1d_twice", {"x": (2, 3, 6)}, "nn.Conv1d(3, 3, 3, padding=1)", "layer(layer(x))"),
    Case("1d_one_element", {"x": (2, 3, 3)}, "nn.Conv1d(3, 4, 3)"),
    # two axes
    Case("2d", {"x": (2, 3, 5, 6)}, "nn.Conv2d(3, 4, 3, padding=1)", compiled=True, derivatives=True),
    Case("2d_pointwise", {"x": (2, 3, 4, 3)}, "nn.Conv2d(3, 4, 1)"),
    Case("2d_tuples", {"x": (2, 3, 6, 7)}, "nn.Conv2d(3, 4, (3, 2), (2, 1), (0, 1), (1, 2))"),
    Case("2d_strided", {"x": (2, 3, 7, 6)}, "nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)"),
    Case("2d_same", {"x": (2, 3, 4, 5)}, "nn.Conv2d(3, 2, (2, 3), padding='same', dilation=(1, 2))",
         torch_make="nn.Conv2d(3, 2, (2, 3), dilation=(1, 2))", torch_call="layer(F.pad(x, (2, 2, 0, 1)))"),
    Case("2d_groups", {"x": (2, 4, 4, 5)}, "nn.Conv2d(4, 6, 3, groups=2, padding=1)"),
    Case("2d_depthwise", {"x": (2, 3, 4, 5)}, "nn.Conv2d(3, 3, 3, groups=3, padding=1, stride=2)"),
    Case("2d_reflect", {"x": (2, 2, 4, 5)}, "nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode='reflect')"),
    Case("2d_replicate", {"x": (2, 2, 4, 5)}, "nn.Conv2d(2, 3, 3, padding=1, padding_mode='replicate')"),
    Case("2d_circular", {"x": (2, 2, 4, 5)}, "nn.Conv2d(2, 3, 3, 2, 2, padding_mode='circular')"),
    Case("2d_unbatched", {"x": (3, 4, 5)}, "nn.Conv2d(3, 4, 3)", batch={}),
    Case("2d_block", {"x": (2, 2, 4, 4)}, "nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 2, padding=1))"),
    # three axes
    Case("3d", {"x": (2, 2, 3, 4, 3)}, "nn.Conv3d(2, 3, 2, padding=1)", compiled=True, derivatives=True),
    Case("3d_every_option", {"x": (2, 4, 4, 3, 5)},
         "nn.Conv3d(4, 2, (2, 1, 3), (2, 1, 2), (1, 0, 2), (1, 1, 2), 2, False, 'replicate')"),
    Case("3d_depthwise", {"x": (2, 2, 3, 4, 3)}, "nn.Conv3d(2, 4, 2, groups=2)"),
    # transposed
    Case("transposed_1d", {"x": (2, 3, 5)}, "nn.ConvTranspose1d(3, 4, 3)", compiled=True, derivatives=True),
    Case("transposed_1d_no_bias", {"x": (2, 3, 5)}, "nn.ConvTranspose1d(3, 4, 3, bias=False)"),
    Case("transposed_1d_stride", {"x": (2, 3, 5)}, "nn.ConvTranspose1d(3, 4, 3, stride=2)"),
    Case("transposed_1d_gaps", {"x": (2, 3, 4)}, "nn.ConvTranspose1d(3, 4, 2, stride=3)"),
    Case("transposed_1d_padding", {"x": (2, 3, 5)}, "nn.ConvTranspose1d(3, 4, 3, padding=1)"),
    Case("transposed_1d_output", {"x": (2, 3, 5)}, "nn.ConvTranspose1d(3, 4, 3, 2, 1, output_padding=1)"),
    Case("transposed_1d_output_dilation", {"x": (2, 3, 4)},
         "nn.ConvTranspose1d(3, 4, 2, 1, 0, output_padding=1, dilation=3)"),
    Case("transposed_1d_groups", {"x": (2, 4, 5)}, "nn.ConvTranspose1d(4, 6, 3, groups=2)"),
    Case("transposed_1d_depthwise", {"x": (2, 3, 5)}, "nn.ConvTranspose1d(3, 3, 3, groups=3, stride=2)"),
    Case("transposed_1d_unbatched", {"x": (3, 5)}, "nn.ConvTranspose1d(3, 4, 3)", batch={}),
    Case("transposed_1d_any_length", {"x": (5, 3, 2)}, "nn.ConvTranspose1d(3, 4, 3, 2, 1)",
         "layer(x.transpose(2, 1, 0))", torch_call="layer(x.permute(2, 1, 0))"),
    Case("transposed_2d", {"x": (2, 3, 3, 4)}, "nn.ConvTranspose2d(3, 2, 3, 2, 1, 1)", compiled=True, derivatives=True),
    Case("transposed_2d_tuples", {"x": (2, 4, 3, 2)},
         "nn.ConvTranspose2d(4, 2, (3, 2), (2, 3), (1, 0), (0, 2), 2, False, (1, 2))"),
    Case("transposed_3d", {"x": (2, 2, 2, 3, 2)}, "nn.ConvTranspose3d(2, 2, 2)", compiled=True, derivatives=True),
    Case("transposed_3d_every_option", {"x": (2, 4, 2, 2, 3)},
         "nn.ConvTranspose3d(4, 2, (2, 1, 3), (2, 1, 2), (1, 0, 1), (1, 0, 0), 2, False, (1, 1, 2))"),
    *FUNCTIONS,
    # all functions once, compiled together
    Case("functions_1d", {"x": (2, 3, 5), "w": (3, 3, 2)}, call="F.conv_transpose1d(F.conv1d(x, w), w)",
         batch={"x": "N"}),
    Case("functions_2d", {"x": (2, 3, 3, 3), "w": (3, 3, 2, 2)}, call="F.conv_transpose2d(F.conv2d(x, w), w)",
         batch={"x": "N"}),
    Case("functions_3d", {"x": (2, 2, 3, 3, 2), "w": (2, 2, 2, 2, 1)}, call="F.conv_transpose3d(F.conv3d(x, w), w)",
         batch={"x": "N"}),
]  # fmt: skip
