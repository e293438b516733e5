"""What tables against PyTorch do not say of convolutions, pooling and resampling: adjoints, and what is refused."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import GradgenError, OptionError, ShapeError
from gradgen.lang.interpret import interpret

N = gg.size("N")


def assert_equal(one: gg.Tensor, other: gg.Tensor, leaves: list[gg.Tensor]) -> None:
    rng = np.random.RandomState(3)
    arrays = {leaf.node: rng.standard_normal(tuple(int(s) for s in leaf.shape)) for leaf in leaves}
    assert one.shape == other.shape
    found, wanted = interpret([one.node, other.node], arrays)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("dims", "size", "options"),
    [
        (1, (8,), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}),
        (2, (5, 4), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}),
        (3, (3, 4, 2), {"stride": (1, 2, 1), "padding": (1, 0, 1)}),
    ],
)
def test_a_transposed_convolution_is_the_adjoint_of_the_convolution(
    dims: int, size: tuple[int, ...], options: dict[str, Any]
) -> None:
    groups = options.get("groups", 1)
    x = gg.input("x", (2, 4, *size), "float64")
    w = gg.input("w", (6, 4 // groups, *[2] * dims), "float64")
    y = getattr(nn, f"conv{dims}d")(x, w, **options)
    cotangent = gg.input("cotangent", y.shape, "float64")
    back = getattr(nn, f"conv_transpose{dims}d")
    more = tuple(n - m for n, m in zip(size, back(cotangent, w, **options).shape[2:], strict=True))
    transposed = back(cotangent, w, output_padding=more, **options)
    (d_x,) = gg.vjp(y, [x], cotangent)
    assert_equal(transposed, d_x, [x, w, cotangent])


def test_folding_is_the_adjoint_of_unfolding() -> None:
    x = gg.input("x", (2, 3, 5, 4), "float64")
    y = nn.unfold(x, (3, 2), dilation=(1, 2), padding=1, stride=(2, 1))
    cotangent = gg.input("cotangent", y.shape, "float64")
    folded = nn.fold(cotangent, (5, 4), (3, 2), dilation=(1, 2), padding=1, stride=(2, 1))
    (d_x,) = gg.vjp(y, [x], cotangent)
    assert_equal(folded, d_x, [x, cotangent])


def test_first_values_are_those_of_pytorch() -> None:
    conv = nn.Conv2d(4, 6, (3, 2), groups=2)
    back = nn.ConvTranspose1d(4, 6, 3, groups=2)
    x = gg.input("x", (N, 4, 5, 5))
    t = gg.input("t", (N, 4, 5))
    start = gg.compile({"a": conv(x), "b": back(t)}, name="start").init(seed=0)
    for layer, fan in (("conv", 2 * 6), ("back", 3 * 3)):
        for key in ("weight", "bias"):
            drawn = np.abs(start[f"{layer}_{key}"])
            assert 0.5 / np.sqrt(fan) < drawn.max() <= 1 / np.sqrt(fan)


X = gg.input("x", (N, 4, 9))
IMAGE = gg.input("image", (N, 4, 6, 5))
ANY = gg.input("signal", (N, 4, gg.size("T")))
W = gg.input("w", (6, 4, 3))
B = gg.input("b", (5,))

REFUSED: list[tuple[type[GradgenError], str, Callable[[], Any]]] = [
    (ShapeError, "conv1d takes (N, C, L) or (C, L), not image (N, 4, 6, 5).", lambda: nn.conv1d(IMAGE, W)),
    (ShapeError, "the weight of conv1d has 3 axes, not those of b (5).", lambda: nn.conv1d(X, B)),
    (ShapeError, "conv1d of x (N, 4, 9) with the weight w (6, 4, 3) in 2 groups: it takes 8 channels.",
     lambda: nn.conv1d(X, W, groups=2)),
    (ShapeError, "the 6 output channels of conv1d cannot be divided into 4 groups.", lambda: nn.conv1d(X, W, groups=4)),
    (OptionError, "groups is 0: give a number from 1 on.", lambda: nn.conv1d(X, W, groups=0)),
    (ShapeError, "the bias of conv1d has the shape (6), not that of b (5).", lambda: nn.conv1d(X, W, B)),
    (OptionError, "padding 'same' of conv1d is for windows with stride 1, not 2.",
     lambda: nn.conv1d(X, W, stride=2, padding="same")),
    (OptionError, "padding 'same' of conv is for windows with stride 1, not (2, 1).",
     lambda: nn.Conv2d(4, 6, 3, (2, 1), "same", name="conv")),
    (OptionError, "the padding of conv1d is 'full': give 'same', 'valid' or numbers.",
     lambda: nn.conv1d(X, W, padding="full")),
    (OptionError, "the stride of conv1d is 0: give a number from 1 on.", lambda: nn.conv1d(X, W, stride=0)),
    (OptionError, "the kernel size of conv is (3, 3, 3): give a number from 1 on, or 2 of them.",
     lambda: nn.Conv2d(4, 6, (3, 3, 3), name="conv")),
    (OptionError, "the dilation of conv is 1.5: give a number from 1 on.",
     lambda: nn.Conv1d(4, 6, 3, dilation=1.5, name="conv")),
    (ShapeError, "axis 2 of x (N, 4, 9) with 2 of padding is shorter than a window of conv1d, which reaches over 13.",
     lambda: nn.conv1d(X, W, padding=1, dilation=6)),
    (OptionError, "the padding_mode of conv is 'mirror': one of 'zeros', 'reflect', 'replicate', 'circular'.",
     lambda: nn.Conv1d(4, 6, 3, padding_mode="mirror", name="conv")),
    (ShapeError, "conv has 0 for a number of channels: from 1 on.", lambda: nn.Conv1d(0, 6, 3, name="conv")),
    (ShapeError, "conv cannot divide 6 channels into 4 groups.", lambda: nn.Conv1d(4, 6, 3, groups=4, name="conv")),
    (OptionError, "the padding of conv_transpose1d is 'same': give numbers.",
     lambda: nn.ConvTranspose1d(4, 6, 3, padding="same")(X)),
    (OptionError, "the output_padding of conv_transpose1d is 2: below stride or dilation.",
     lambda: nn.ConvTranspose1d(4, 6, 3, 2, output_padding=2)(X)),
    (ShapeError, ("axis 2 of x (N, 4, 9) has 9 elements, and conv_transpose1d cuts off all that it makes of them: "
     "its padding is 6."), lambda: nn.ConvTranspose1d(4, 6, 3, padding=6)(X)),
    (ShapeError, "conv_transpose1d of x (N, 4, 9) with the weight w (6, 4, 3): it takes 6 channels.",
     lambda: nn.conv_transpose1d(X, W)),
    (OptionError, "the padding of max_pool1d is 2: at most half of the kernel, (3,).",
     lambda: nn.MaxPool1d(3, padding=2)(X)),
    (ShapeError, "ceil_mode of max_pool1d needs the size of axis 2 of signal (N, 4, T) as a number.",
     lambda: nn.MaxPool1d(2, ceil_mode=True)(ANY)),
    (OptionError, "the divisor_override of avg_pool2d is 0: give another number, or None.",
     lambda: nn.AvgPool2d(2, divisor_override=0)(IMAGE)),
    (ShapeError, "axis 2 of signal (N, 4, T) cannot be pooled into 2 parts: its size has to be a number from 1 on.",
     lambda: nn.AdaptiveAvgPool1d(2)(ANY)),
    (OptionError, "the output size of adaptive_avg_pool1d is (0,): give a number from 1 on.",
     lambda: nn.AdaptiveAvgPool1d(0)(X)),
    (ShapeError, "fold of x (N, 4, 9) into 3 x 3: it takes 4 rows for each channel, and 4 columns.",
     lambda: nn.fold(X, 3, 2)),
    (ShapeError, "fold takes (N, C * K * K, L) or (C * K * K, L), not image (N, 4, 6, 5).",
     lambda: nn.fold(IMAGE, 3, 2)),
    (OptionError, ("interpolate has no mode 'area': one of 'nearest', 'nearest-exact', 'linear', 'bilinear', "
     "'trilinear'."), lambda: nn.interpolate(X, 3, mode="area")),
    (ShapeError, "interpolate by 'bilinear' takes 4 axes, not those of x (N, 4, 9).",
     lambda: nn.interpolate(X, 3, mode="bilinear")),
    (OptionError, "align_corners of interpolate is not for the mode 'nearest'.",
     lambda: nn.interpolate(X, 3, align_corners=True)),
    (OptionError, "interpolate takes a size or a scale_factor, one of the two.", lambda: nn.interpolate(X)),
    (OptionError, "the scale_factor of interpolate is 0: give a number above 0.",
     lambda: nn.interpolate(X, scale_factor=0)),
    (ShapeError, "interpolate of x (N, 4, 9): nothing is left of axis 2, or was there.",
     lambda: nn.interpolate(X, scale_factor=0.1)),
    (ShapeError, ("interpolate of signal (N, 4, T) needs the size of axis 2 as a number: only an integer scale_factor "
     "without align_corners does without."), lambda: nn.interpolate(ANY, 8)),
    (ShapeError, "pixel_shuffle by 3 takes (..., C * 9, H, W), not image (N, 4, 6, 5).",
     lambda: nn.PixelShuffle(3)(IMAGE)),
    (ShapeError, "pixel_unshuffle by 2 takes (..., C, H * 2, W * 2), not image (N, 4, 6, 5).",
     lambda: nn.PixelUnshuffle(2)(IMAGE)),
    (OptionError, "the padding of ZeroPad1d is (-1, 2): give a number from 0 on, or 2 of them.",
     lambda: nn.ZeroPad1d((-1, 2))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "message", "asked"), REFUSED, ids=[message[:40] for _, message, _ in REFUSED])
def test_it_is_refused_where_it_is_declared(kind: type[GradgenError], message: str, asked: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=rf"^(test_convolution\.py:\d+: )?{re.escape(message)}$"):
        asked()
