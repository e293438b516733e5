"""Connectionist temporal classification: the probability that a sequence of symbols is read off a longer one of frames.

In: log-probabilities of every frame, and sequences of labels. Out: a loss for each sequence, as `reduction` says.
"""

from gradgen.errors import DTypeError, ShapeError
from gradgen.graph.axes import describe
from gradgen.graph.nodes import same_shape
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang import array
from gradgen.lang.compute import compute, padded, where
from gradgen.lang.declare import index
from gradgen.lang.scan import scan
from gradgen.lang.shapes import whole
from gradgen.nn.losses import reduced

__all__ = ["ctc_loss"]

IMPOSSIBLE = -1e30  # the logarithm of a probability of 0: finite, so that differences of two of them are 0


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log p(targets | frames), over all ways to stretch the targets and put blanks between them (Graves et al. 2006).

    Args:
        log_probs: floats (T, N, C), logarithms of the probabilities of C symbols, as of `log_softmax`.
        targets: integers (N, S), none of them the blank; those behind the length of a target are not read.
        input_lengths, target_lengths: integers (N), from 1 to T and from 0 to S.
        blank: the symbol that stands for none.
        reduction: "mean" divides every loss by the length of its target and takes the mean; "sum" or "none".
        zero_infinity: whether the loss of a target that does not fit into its frames is 0; it is inf otherwise.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: targets or lengths that are no integers.
        OptionError: an unknown reduction.
    """
    log_probs, targets, input_lengths, target_lengths = (
        whole(x, "ctc_loss") for x in (log_probs, targets, input_lengths, target_lengths)
    )
    _check(log_probs, targets, input_lengths, target_lengths)
    frames, examples, _ = log_probs.shape
    symbols = _with_blanks(targets, target_lengths, blank)
    t, n, s = index("t", frames), index("n", examples), index("s", symbols.shape[1])
    p = compute((t, n, s), log_probs[t, n, symbols[n, s]])
    other = padded(symbols, blank)[n, s - 2] != symbols[n, s]  # a blank may be left out between different labels
    left_out = compute((n, s), where((symbols[n, s] != blank) & other, 0.0, IMPOSSIBLE))

    # a_t(s), the log-probability of all ways to have read the first s + 1 symbols in t + 1 frames
    def step(before: Tensor, p_t: Tensor) -> tuple[Tensor, Tensor]:
        a = padded(before, IMPOSSIBLE)
        stayed_or_went = array.logaddexp(a[n, s], a[n, s - 1])
        after = compute((n, s), array.logaddexp(stayed_or_went, a[n, s - 2] + left_out[n, s]) + p_t[n, s])
        return after, after

    nothing_read = compute((n, s), where(s == 0, 0.0, IMPOSSIBLE))
    _, a = scan(step, nothing_read, p)
    end, last = input_lengths[n] - 1, 2 * target_lengths[n]
    likelihood = array.logaddexp(a[end, n, last], where(last > 0, a[end, n, last - 1], IMPOSSIBLE))
    fits = likelihood > IMPOSSIBLE / 2
    loss = -likelihood * array.float32(fits) if zero_infinity else where(fits, 0.0, float("inf")) - likelihood
    losses = compute(n, loss)
    if reduction == "mean":
        losses = losses / array.maximum(target_lengths, 1)
    return reduced(losses, reduction, "ctc_loss")


def _with_blanks(targets: Tensor, lengths: Tensor, blank: int) -> Tensor:
    """The symbols that are read one after another: blank, first label, blank, second label, ..., blank."""
    n, s = index("n", targets.shape[0]), index("s", 2 * targets.shape[1] + 1)
    return compute((n, s), where((s % 2 == 1) & (s // 2 < lengths[n]), targets[n, s // 2], blank))


def _check(log_probs: Tensor, targets: Tensor, *lengths: Tensor) -> None:
    p, b, *counts = (x.node for x in (log_probs, targets, *lengths))
    if len(p.shape) != 3:
        raise ShapeError(f"{here()}ctc_loss takes log-probabilities (T, N, C), not {describe(p)}.")
    if len(b.shape) != 2 or b.shape[0] is not p.shape[1]:
        raise ShapeError(
            f"{here()}ctc_loss of {describe(p)} with {describe(b)}: the targets must have the shape (N, S)."
        )
    for x in (b, *counts):
        if x.dtype not in ("int32", "int64"):
            raise DTypeError(f"{here()}targets and lengths of ctc_loss are integers; {describe(x)} is {x.dtype}.")
    for x in counts:
        if not same_shape(x.shape, p.shape[1:2]):
            raise ShapeError(f"{here()}ctc_loss of {describe(p)} with {describe(x)}: give a length for each sequence.")
