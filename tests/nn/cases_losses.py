"""Losses, as functions and as layers; several to a case, whose compilation takes what one takes."""

from tests.nn.table import Case, Drawn

PAIR = {"x": (3, 4), "t": (3, 4)}
UNIT = {"x": Drawn((3, 4), "uniform"), "t": Drawn((3, 4), "uniform")}
SIGNS = Drawn((3,), values=[1, -1, 1])
VECTORS = {"x": (3, 4), "y": (3, 4)}
COUNTS = Drawn((3, 4), values=[[0, 1, 2, 3], [4, 0, 1, 7], [2, 2, 0, 5]])
LABELS = Drawn((5,), values=[2, 0, 3, 1, 3])
SCORES = {"x": (5, 4), "b": LABELS}
WEIGHT = Drawn((4,), "positive")
PIXELS = {"x": (2, 3, 2, 2), "b": Drawn((2, 2, 2), "int", 3)}
IGNORING = Drawn((5,), values=[2, 1, 3, 1, 1])
SPEECH = {
    "x": (6, 3, 4),
    "b": Drawn((3, 3), values=[[1, 2, 3], [2, 2, 1], [3, 1, 2]]),
    "frames": Drawn((3,), values=[6, 5, 4]),
    "lengths": Drawn((3,), values=[3, 2, 1]),
}


def each(
    name: str, inputs: dict[str, object], text: str, batch: dict[str, str] | None = None, constant: str = "w"
) -> list[Case]:
    """A case for each reduction that `{}` in the text stands for; PyTorch does not differentiate by weights."""
    return [
        Case(f"{name}_{how}", inputs, call=text.format(f"reduction='{how}'"), batch=batch, constant=frozenset(constant))
        for how in ("mean", "sum", "none")
    ]


NUMBERS = (
    "(F.mse_loss(x, t), F.l1_loss(x, t), F.smooth_l1_loss(x, t), F.huber_loss(x, t), "
    "F.binary_cross_entropy_with_logits(x, t), F.kl_div(x, t, log_target=True), "
    "F.poisson_nll_loss(x, t), "
    "nn.MSELoss()(x, t), nn.L1Loss()(x, t), nn.SmoothL1Loss()(x, t), nn.HuberLoss()(x, t), "
    "nn.BCEWithLogitsLoss()(x, t), nn.KLDivLoss(log_target=True)(x, t), "
    "nn.PoissonNLLLoss()(x, t))"
)
NUMBER_OPTIONS = (
    "(F.mse_loss(x, t, {0}), F.l1_loss(x, t, {0}), F.smooth_l1_loss(x, t, {0}, beta=0.7), "
    "F.smooth_l1_loss(x, t, {0}, beta=0.0), F.huber_loss(x, t, {0}, delta=0.7), "
    "nn.MSELoss({0})(x, t), nn.L1Loss({0})(x, t), nn.SmoothL1Loss({0}, beta=0.7)(x, t), "
    "nn.HuberLoss({0}, delta=0.7)(x, t))"
)
POSITIVE = (
    "(F.gaussian_nll_loss(x, t, v), nn.GaussianNLLLoss()(x, t, v), F.binary_cross_entropy(p, q), nn.BCELoss()(p, q))"
)
ENTROPIES = (
    "(F.binary_cross_entropy(x, t, w, {0}), nn.BCELoss(w, {0})(x, t), "
    "F.binary_cross_entropy_with_logits(x, t, weight=w, {0}, pos_weight=v), "
    "nn.BCEWithLogitsLoss(weight=w, {0}, pos_weight=v)(x, t))"
)
DIVERGENCES = (
    "(F.kl_div(x, t, {0}), F.kl_div(x, t, {0}, log_target=True), nn.KLDivLoss({0})(x, t), "
    "nn.KLDivLoss({0}, log_target=True)(x, t))"
)
POISSON = (
    "(F.poisson_nll_loss(x, t * 1.0, log_input=False, full=True, eps=1e-3, {0}), "
    "F.poisson_nll_loss(x, t * 1.0, full=True, {0}), "
    "nn.PoissonNLLLoss(log_input=False, full=True, eps=1e-3, {0})(x, t * 1.0))"
)
GAUSSIAN = (
    "(F.gaussian_nll_loss(x, t, v, full=True, eps=0.2, {0}), nn.GaussianNLLLoss(full=True, eps=0.2, {0})(x, t, v))"
)
OF_VECTORS = (
    "(F.cosine_similarity(x, y), nn.CosineSimilarity()(x, y), F.pairwise_distance(x, y), nn.PairwiseDistance()(x, y), "
    "F.cosine_embedding_loss(x, y, s), nn.CosineEmbeddingLoss()(x, y, s), F.triplet_margin_loss(x, y, z), "
    "nn.TripletMarginLoss()(x, y, z), F.margin_ranking_loss(x[:, 0], y[:, 0], s), "
    "nn.MarginRankingLoss()(x[:, 0], y[:, 0], s), F.hinge_embedding_loss(x[:, 0], s), "
    "nn.HingeEmbeddingLoss()(x[:, 0], s))"
)
EMBEDDING = "(F.cosine_embedding_loss(x, y, s, margin=0.2, {0}), nn.CosineEmbeddingLoss(margin=-0.3, {0})(x, y, s))"
TRIPLET = (
    "(F.triplet_margin_loss(x, y, z, margin=0.5, p=3.0, eps=1e-2, swap=True, {0}), "
    "nn.TripletMarginLoss(margin=2.0, p=1.0, eps=1e-2, swap=True, {0})(x, y, z))"
)
RANKING = (
    "(F.margin_ranking_loss(x, y, s, margin=0.4, {0}), nn.MarginRankingLoss(margin=0.4, {0})(x, y, s), "
    "F.hinge_embedding_loss(x, s, margin=0.4, {0}), nn.HingeEmbeddingLoss(margin=0.4, {0})(x, s))"
)
OF_CLASSES = (
    "(F.cross_entropy(x, b), nn.CrossEntropyLoss()(x, b), F.nll_loss(x, b), nn.NLLLoss()(x, b), "
    "F.multi_margin_loss(x, b), nn.MultiMarginLoss()(x, b))"
)
CROSS_ENTROPY = (
    "(F.cross_entropy(x, b, weight=w, ignore_index=1, {0}, label_smoothing=0.3), "
    "nn.CrossEntropyLoss(weight=w, ignore_index=1, {0}, label_smoothing=0.3)(x, b), "
    "F.cross_entropy(x, b, label_smoothing=0.3, {0}), F.cross_entropy(x, b, ignore_index=1, {0}), "
    "F.cross_entropy(x, b, w, {0}))"
)
SOFT = (
    "(F.cross_entropy(x, a, {0}), F.cross_entropy(x, a, weight=w, label_smoothing=0.3, {0}), "
    "nn.CrossEntropyLoss(weight=w, {0})(x, a))"
)
NLL = "(F.nll_loss(x, b, weight=w, ignore_index=1, {0}), nn.NLLLoss(weight=w, ignore_index=1, {0})(x, b))"
MULTI = (
    "(F.multi_margin_loss(x, b, p=2, margin=0.6, weight=w, {0}), "
    "nn.MultiMarginLoss(p=2, margin=0.6, weight=w, {0})(x, b))"
)
CTC = "F.ctc_loss(F.log_softmax(x, -1), b, frames, lengths, {0})"
CTC_LAYER = "nn.CTCLoss(blank=0, {0})(F.log_softmax(x, -1), b, frames, lengths)"


CASES = [
    Case("numbers", PAIR, call=NUMBERS, compiled=True, derivatives=True),
    *each("numbers", PAIR, NUMBER_OPTIONS),
    Case(
        "positive",
        {
            **PAIR,
            "v": Drawn((3, 4), "positive", scale=2.0),
            "p": Drawn((3, 4), "softmax"),
            "q": Drawn((3, 4), "uniform"),
        },
        call=POSITIVE,
        compiled=True,
        derivatives=True,
    ),
    Case(
        "soft_margin",
        {"x": (3,), "s": SIGNS},
        call="(F.soft_margin_loss(x, s), nn.SoftMarginLoss()(x, s), F.soft_margin_loss(x, target=s, reduction='sum'), "
        "nn.SoftMarginLoss(reduction='none')(x, s))",
        compiled=True,
        derivatives=True,
    ),
    *each("entropies", {**UNIT, "w": (4,), "v": WEIGHT}, ENTROPIES, {"x": "N", "t": "N"}, "wv"),
    *each("divergences", {"x": (3, 4), "t": Drawn((3, 4), "softmax")}, DIVERGENCES),
    Case("divergence_batchmean", UNIT, call="F.kl_div(x, t, reduction='batchmean')"),
    Case("divergence_batchmean_layer", UNIT, call="nn.KLDivLoss(reduction='batchmean', log_target=True)(x, t)"),
    *each("poisson", {"x": Drawn((3, 4), "positive"), "t": COUNTS}, POISSON),
    *each("gaussian", {**PAIR, "v": Drawn((3, 4), "positive", scale=2.0)}, GAUSSIAN),
    Case("gaussian_one_variance", {**PAIR, "v": Drawn((3, 1), "positive")}, call="F.gaussian_nll_loss(x, t, v)"),
    Case("of_vectors", {**VECTORS, "z": (3, 4), "s": SIGNS}, call=OF_VECTORS, compiled=True, derivatives=True),
    *each("embedding", {**VECTORS, "s": SIGNS}, EMBEDDING),
    *each("triplet", {**VECTORS, "z": (3, 4)}, TRIPLET),
    *each("ranking", {"x": (3,), "y": (3,), "s": SIGNS}, RANKING),
    Case(
        "similarity_axis",
        {"x": (3, 4, 2), "y": (3, 4, 2)},
        call="(F.cosine_similarity(x, y, dim=2, eps=1e-3), nn.CosineSimilarity(dim=2, eps=1e-3)(x, y), "
        "nn.CosineSimilarity(dim=0)(x, y))",
    ),
    Case(  # PyTorch's gradient does not know that the lengths were held
        "similarity_of_short_vectors",
        {"x": (3, 2), "y": (3, 2)},
        call="F.cosine_similarity(x, y, dim=1, eps=0.9)",
        constant=frozenset("xy"),
    ),
    Case(
        "distance_options",
        VECTORS,
        call="(F.pairwise_distance(x, y, p=3.0, eps=1e-2, keepdim=True), nn.PairwiseDistance(1.0, 1e-2, True)(x, y), "
        "F.pairwise_distance(x, y, float('inf')), nn.PairwiseDistance(p=1.5, eps=1e-2, keepdim=True)(x, y))",
    ),
    Case("of_classes", SCORES, call=OF_CLASSES, compiled=True, derivatives=True),
    Case("of_pixels", PIXELS, call="(F.cross_entropy(x, b), F.nll_loss(x, b), F.nll_loss(x, b, reduction='none'))"),
    Case("of_one_example", {"x": (4,), "b": Drawn((), values=2)}, call=OF_CLASSES, batch={}),
    *each("cross_entropy", {"x": (5, 4), "b": IGNORING, "w": WEIGHT}, CROSS_ENTROPY, {"x": "N", "b": "N"}),
    *each("of_pixels_weighted", {**PIXELS, "w": Drawn((3,), "positive")}, CROSS_ENTROPY, {"x": "N", "b": "N"}),
    *each("soft", {"x": (5, 4), "a": Drawn((5, 4), "softmax"), "w": WEIGHT}, SOFT, {"x": "N", "a": "N"}),
    Case("soft_pixels", {"x": (2, 3, 2), "a": Drawn((2, 3, 2), "softmax")}, call="F.cross_entropy(x, a)"),
    *each("nll", {"x": (5, 4), "b": IGNORING, "w": WEIGHT}, NLL, {"x": "N", "b": "N"}),
    *each("multi_margin", {**SCORES, "w": WEIGHT}, MULTI, {"x": "N", "b": "N"}),
    Case(
        "ctc",
        SPEECH,
        call="(F.ctc_loss(F.log_softmax(x, -1), b, frames, lengths), "
        "nn.CTCLoss()(F.log_softmax(x, -1), b, frames, lengths))",
        batch={"x": "T"},
        compiled=True,
        derivatives=True,
    ),
    *each("ctc", SPEECH, CTC, {"x": "T"}),
    *each("ctc_layer", SPEECH, CTC_LAYER, {"x": "T"}),
    Case(
        "ctc_last_is_blank",
        SPEECH | {"b": Drawn((3, 3), values=[[1, 2, 0], [2, 2, 1], [0, 1, 2]])},
        call="F.ctc_loss(F.log_softmax(x, -1), b, frames, lengths, blank=3, reduction='none', zero_infinity=True)",
        batch={"x": "T"},
    ),
    Case(
        "ctc_does_not_fit",
        SPEECH | {"frames": Drawn((3,), values=[6, 2, 4])},
        call="nn.CTCLoss(zero_infinity=True)(F.log_softmax(x, -1), b, frames, lengths)",
        batch={"x": "T"},
    ),
    Case(
        "classify",
        {"x": (5, 4), "b": LABELS},
        call="(F.classify(x), F.accuracy(x, b))",
        torch_call="(x.argmax(1), (x.argmax(1) == b).double().mean())",
        constant=frozenset("x"),  # it has no gradient
        compiled=True,
    ),
    Case("one_hot", {"b": LABELS}, call="F.one_hot(b, 4)", torch_call="F.one_hot(b, 4).double()", compiled=True),
    Case(
        "flatten",
        {"x": (3, 2, 4)},
        call="F.flatten(x, 0, 1)",
        torch_call="torch.flatten(x, 0, 1)",
        compiled=True,
        derivatives=True,
    ),
]
