"""Interpolation, folding, channels as pixels and padding; names of cases say which options they are about."""

from tests.nn.table import Case

TURNED = {"call": "layer(x.transpose(2, 1, 0))", "torch_call": "layer(x.permute(2, 1, 0))"}

CASES = [
    # nearest
    Case("nearest", {"x": (2, 3, 4)}, "nn.Upsample(scale_factor=2)", compiled=True, derivatives=True),
    Case("nearest_of_any_length", {"x": (4, 3, 2)}, "nn.Upsample(scale_factor=3)", **TURNED),
    Case("nearest_down", {"x": (2, 3, 7)}, "nn.Upsample(scale_factor=0.5)"),
    Case("nearest_broken", {"x": (2, 3, 5)}, "nn.Upsample(scale_factor=1.5)"),
    Case("nearest_size", {"x": (2, 3, 4)}, "nn.Upsample(7)"),
    Case("nearest_size_down", {"x": (2, 3, 9)}, "nn.Upsample(6)"),
    Case("nearest_2d", {"x": (2, 2, 3, 4)}, "nn.Upsample((6, 5))"),
    Case("nearest_3d", {"x": (2, 1, 2, 3, 2)}, "nn.Upsample(scale_factor=(1, 2, 1.5))"),
    Case("nearest_exact", {"x": (2, 3, 5)}, "nn.Upsample(7, mode='nearest-exact')"),
    Case("nearest_exact_scale", {"x": (2, 3, 5)}, "nn.Upsample(scale_factor=0.6, mode='nearest-exact')"),
    # linear
    Case("linear", {"x": (2, 3, 4)}, "nn.Upsample(scale_factor=2, mode='linear')"),
    Case("linear_by_three", {"x": (2, 3, 4)}, "nn.Upsample(scale_factor=3, mode='linear', align_corners=False)"),
    Case("linear_of_any_length", {"x": (4, 3, 2)}, "nn.Upsample(None, 2, 'linear')", **TURNED),
    Case("linear_size", {"x": (2, 3, 4)}, "nn.Upsample(7, mode='linear')"),
    Case("linear_down", {"x": (2, 3, 9)}, "nn.Upsample(4, mode='linear')"),
    Case("linear_broken", {"x": (2, 3, 5)}, "nn.Upsample(scale_factor=1.5, mode='linear')"),
    Case("linear_aligned", {"x": (2, 3, 4)}, "nn.Upsample(7, mode='linear', align_corners=True)"),
    Case("linear_aligned_down", {"x": (2, 3, 7)}, "nn.Upsample(3, mode='linear', align_corners=True)"),
    Case("linear_aligned_to_one", {"x": (2, 3, 7)}, "nn.Upsample(1, mode='linear', align_corners=True)"),
    Case("linear_of_one", {"x": (2, 3, 1)}, "nn.Upsample(4, mode='linear')"),
    Case("bilinear", {"x": (2, 2, 3, 2)}, "nn.Upsample(scale_factor=2, mode='bilinear')", compiled=True,
         derivatives=True),
    Case("bilinear_aligned", {"x": (2, 2, 3, 4)}, "nn.Upsample((5, 6), None, 'bilinear', True)"),
    Case("bilinear_sizes", {"x": (2, 2, 3, 6)}, "nn.Upsample((5, 4), mode='bilinear', align_corners=False)"),
    Case("trilinear", {"x": (2, 1, 2, 3, 2)}, "nn.Upsample((4, 2, 3), mode='trilinear')"),
    Case("trilinear_aligned", {"x": (2, 1, 2, 3, 2)},
         "nn.Upsample(scale_factor=2, mode='trilinear', align_corners=True)"),
    Case("interpolate", {"x": (2, 2, 3)}, call="F.interpolate(x, None, 2, 'linear', True)", compiled=True,
         derivatives=True),
    Case("interpolate_size", {"x": (2, 2, 3)}, call="F.interpolate(x, size=5, mode='nearest')"),
    # windows
    Case("unfold", {"x": (2, 2, 3, 4)}, "nn.Unfold(2)", compiled=True, derivatives=True),
    Case("unfold_every_option", {"x": (2, 2, 4, 5)}, "nn.Unfold((3, 2), (1, 2), (1, 0), (2, 1))"),
    Case("unfold_unbatched", {"x": (2, 3, 4)}, "nn.Unfold(2, padding=1)", batch={}),
    Case("fold", {"x": (2, 8, 6)}, "nn.Fold((3, 4), 2)", compiled=True, derivatives=True),
    Case("fold_every_option", {"x": (2, 12, 6)}, "nn.Fold((4, 5), (3, 2), (1, 2), (1, 0), (2, 1))"),
    Case("fold_unbatched", {"x": (4, 9)}, "nn.Fold(2, 2, padding=1)", batch={}),
    Case("unfold_and_fold", {"x": (2, 1, 3, 3)}, call="F.fold(F.unfold(x, 2, 1, 1, 2), (3, 3), 2, 1, 1, 2)",
         compiled=True, derivatives=True),
    # channels and pixels
    Case("pixel_shuffle", {"x": (2, 8, 2, 3)}, "nn.PixelShuffle(2)", compiled=True, derivatives=True),
    Case("pixel_shuffle_unbatched", {"x": (9, 2, 1)}, "nn.PixelShuffle(3)", batch={}),
    Case("pixel_shuffle_front", {"x": (2, 2, 4, 2, 1)}, "nn.PixelShuffle(2)"),
    Case("pixel_unshuffle", {"x": (2, 2, 4, 6)}, "nn.PixelUnshuffle(2)", compiled=True, derivatives=True),
    Case("pixel_functions", {"x": (2, 1, 2, 4)}, call="F.pixel_shuffle(F.pixel_unshuffle(x, 2) ** 2, 2)",
         compiled=True, derivatives=True),
    # zeros around
    Case("zero_pad_1d", {"x": (2, 2, 3)}, "nn.ZeroPad1d((1, 2))", compiled=True, derivatives=True),
    Case("zero_pad_2d", {"x": (2, 2, 3, 2)}, "nn.ZeroPad2d((1, 0, 2, 1))", compiled=True, derivatives=True),
    Case("zero_pad_2d_all", {"x": (2, 3, 2)}, "nn.ZeroPad2d(1)", batch={}),
    Case("zero_pad_3d", {"x": (2, 1, 2, 3, 2)}, "nn.ZeroPad3d((1, 0, 2, 1, 0, 2))", compiled=True, derivatives=True),
]  # fmt: skip
