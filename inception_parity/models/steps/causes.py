"""Simple causes of a step that differs, each verified: with it, what was seen is reproduced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import STATISTICS, Both
from .judging import (
    GRADIENT,
    LOSS,
    OUTPUT,
    STATISTIC,
    WEIGHT,
    Judge,
    Row,
    batch_statistic,
    expected_statistic,
    norm,
    relative,
    unbiased,
)
from .losses import cross_entropy
from .optimizers import Optimizer

Array = NDArray[Any]

EXPLAINED = 1e-6  # of the difference; what is left is rounding, also of a fitted number
MOST_LISTED = 16  # arrays that a fitted factor is verified with

_FREEZE = {
    "pt": "requires_grad = True", "tf": "trainable = True", "mx": "grad_req = 'write'",
}  # fmt: skip
_MOMENTUM = {
    "pt": "BatchNorm(momentum={share:.6g}), the share of the new",
    "tf": "BatchNormalization(momentum={kept:.6g}), the share of the old",
    "mx": "BatchNorm(momentum={kept:.6g}), the share of the old",
}


@dataclass(frozen=True)
class Cause:
    """An explanation of the first row that differs.

    Args:
        cause: its short name.
        text: what it is.
        before: the relative L2 difference without it.
        after: with it.
        fix: what to do.
    """

    cause: str
    text: str
    before: float | None
    after: float
    fix: str = ""


@dataclass(frozen=True)
class _Candidate:
    cause: str
    text: str
    after: float
    fix: str = ""


def find_cause(judge: Judge, rows: Sequence[Row], target: Array | None) -> Cause | None:
    """Return what explains the first row that differs, if one of the causes does."""
    first = next((row for row in rows if row.fails), None)
    if first is None:
        return None
    looks: Mapping[str, Callable[..., Iterator[_Candidate]]] = {
        LOSS: _of_loss, OUTPUT: _of_loss, GRADIENT: _of_gradient, STATISTIC: _of_statistic,
        WEIGHT: _of_weight,
    }  # fmt: skip
    if first.quantity not in looks:
        return None
    for found in looks[first.quantity](judge, first, rows, target):
        whole = first.rel_l2 if first.rel_l2 is not None else 1.0
        if found.after <= max(EXPLAINED * min(whole, 1.0), first.limit or 0.0):
            return Cause(found.cause, found.text, first.rel_l2, found.after, found.fix)
    return None


def _of_loss(
    judge: Judge, row: Row, rows: Sequence[Row], target: Array | None
) -> Iterator[_Candidate]:
    """The model adds something; or the loss is another one, given outputs that agree."""
    one, other = judge.a.step, judge.b.step
    added = other.regularisation - one.regularisation
    size = max(abs(one.loss), abs(other.loss))
    if added:
        off = abs(other.loss - one.loss - added) / size
        text = "the second model adds" if one.regularisation == 0 else "the models add"
        which = f"{other.regularisation:.6g}" if one.regularisation == 0 else (
            f"{one.regularisation:.6g} and {other.regularisation:.6g}"
        )  # fmt: skip
        yield _Candidate(
            "regularisation", f"{text} {which} to the loss: a regulariser, or add_loss", off,
            "use the same weight decay in both: kernel_regularizer, or the optimizer's",
        )  # fmt: skip
    gaps = [relative(y - x, norm(x)) for x, y in zip(one.outputs, other.outputs, strict=False)]
    if len(one.outputs) != len(other.outputs) or max(gaps, default=0.0) > 1e-6:
        return
    g, h = one.output_gradients[0], other.output_gradients[0]
    loss = judge.b.step.loss - judge.b.step.regularisation
    yield from _scaled(one.loss - one.regularisation, loss, g, h, len(g), target)
    if isinstance(target, np.ndarray) and target.dtype.kind in "iu":
        yield from _other_cross_entropy(one.outputs[0], target, loss, h)


def _scaled(
    mine: float, theirs: float, g: Array, h: Array, batch: int, target: Array | None
) -> Iterator[_Candidate]:
    """The same loss times a factor: the sum instead of the mean, a half."""
    square = float((g * g).sum())
    factor = float((g * h).sum()) / square if square else 0.0
    if not factor or abs(factor - 1) < 1e-9:
        return
    off = max(relative(h - factor * g, norm(h)), abs(theirs - factor * mine) / (abs(theirs) or 1))
    count = g.size if target is None or target.shape == g.shape else target.size
    words = _factor(factor, {"batch": batch, "values": count})
    yield _Candidate("loss-scaled", f"the loss is {words}", off, "reduce the loss by the mean")


def _factor(factor: float, counts: Mapping[str, int]) -> str:
    """Return a factor in words."""
    for what, count in counts.items():
        if count > 1 and abs(factor / count - 1) < 1e-6:
            noun = f"batch of {count}" if what == "batch" else f"{count} values"
            return f"{count} times as large: the sum over the {noun} instead of the mean"
        if count > 1 and abs(factor * count - 1) < 1e-6:
            noun = f"batch of {count}" if what == "batch" else f"{count} values"
            return f"{count} times too small: divided by the {noun} once more"
    return f"{factor:.6g} times as large"


def _other_cross_entropy(
    logits: Array, labels: Array, loss: float, gradient: Array
) -> Iterator[_Candidate]:
    def apart(value: float, found: Array) -> float:
        return max(abs(value - loss) / abs(loss), relative(found - gradient, norm(gradient)))

    plain, none = cross_entropy(logits, labels)
    full, all_of_it = cross_entropy(logits, labels, 1.0)
    if full != plain:  # the loss is linear in the share
        share = (loss - plain) / (full - plain)
        mixed = (1.0 - share) * none + share * all_of_it
        text = f"labels smoothed by {share:.6g}"
        yield _Candidate(
            "label-smoothing", text, apart(loss, mixed), "use the same label smoothing in both"
        )
    axis = 2 if logits.ndim == 3 else 1
    shifted = np.exp(logits - logits.max(axis=axis, keepdims=True))
    p = shifted / shifted.sum(axis=axis, keepdims=True)
    value, outer = cross_entropy(p, labels)
    inner = p * (outer - (outer * p).sum(axis=axis, keepdims=True))
    yield _Candidate(
        "softmax-twice", "softmax twice: the loss takes probabilities for logits",
        apart(value, inner), "give the loss logits",
    )  # fmt: skip


def _of_gradient(
    judge: Judge, row: Row, rows: Sequence[Row], target: Array | None
) -> Iterator[_Candidate]:
    """Frozen, cut off, shared, or every gradient times a factor."""
    both = row.both
    assert both is not None
    a, b = judge.a.framework, judge.b.framework
    if row.rel_l2 is None or both.b.gradient() is None:
        if both.b.frozen or both.a.frozen:
            which, where = ("second", b) if both.b.frozen else ("first", a)
            others = [r for r in rows if r.quantity == GRADIENT and "frozen" in r.problem]
            more = f" and {len(others) - 1} others" if len(others) > 1 else ""
            yield _Candidate(
                "frozen", f"{row.name}{more}: frozen in the {which} model only", 0.0,
                f"set {_FREEZE[where]} there",
            )  # fmt: skip
            return
        yield _cut_off(row)
        return
    mine, theirs = both.a.gradient(), both.b.gradient()
    assert mine is not None
    assert theirs is not None
    if not theirs.any():
        yield _cut_off(row)
    yield from _shared(judge, both, mine, theirs)
    yield from _times(judge, mine, theirs)


def _cut_off(row: Row) -> _Candidate:
    return _Candidate(
        "cut-off", f"no gradient reaches {row.other}: the second cuts it off after this layer", 0.0,
        "look for detach, stop_gradient, no_grad or an operation without a gradient behind it",
    )  # fmt: skip


def _shared(judge: Judge, both: Both, mine: Array, theirs: Array) -> Iterator[_Candidate]:
    """One array in several places of one model, but several arrays in the other."""
    for one, own, who in (
        ("a", mine, "first"), ("b", theirs, "second"),
    ):  # fmt: skip
        side, twin = (both.a, "b") if one == "a" else (both.b, "a")
        places = [p for p in judge.arrays if getattr(p, one).slot.key == side.slot.key]
        keys = {getattr(p, twin).slot.key for p in places}
        if len(places) < 2 or len(keys) < 2:
            continue
        parts = [getattr(p, twin).gradient() for p in places]
        if any(part is None or part.shape != own.shape for part in parts):
            continue
        total = np.sum(parts, axis=0)
        names = ", ".join(getattr(p, twin).name for p in places)
        yield _Candidate(
            "not-shared", f"one array in the {who} model is several in the other: {names}",
            relative(total - own, norm(own)), "share the weight there, as the other model does",
        )  # fmt: skip


def _times(judge: Judge, mine: Array, theirs: Array) -> Iterator[_Candidate]:
    square = float((mine * mine).sum())
    factor = float((mine * theirs).sum()) / square if square else 0.0
    if not factor:
        return
    off, count = relative(theirs - factor * mine, norm(theirs)), 0
    for both in judge.arrays:
        one, other = both.a.gradient(), both.b.gradient()
        if one is None or other is None or judge.only_rounding(both) or count == MOST_LISTED:
            continue
        scaled = relative(other - factor * one, norm(other))
        off, count = max(off, scaled), count + 1
    batch = len(judge.a.step.outputs[0])
    words = _factor(factor, {"batch": batch})
    yield _Candidate(
        "gradient-scaled", f"every gradient is {words}", off,
        "divide by the batch exactly once: in the loss, or in the step",
    )  # fmt: skip


def _of_statistic(
    judge: Judge, row: Row, rows: Sequence[Row], target: Array | None
) -> Iterator[_Candidate]:
    """Another momentum, none, or the variance over another number of values."""
    both = row.both
    assert both is not None
    framework = both.b.ran.framework
    before, after, batch = both.b.before(), both.b.after(), batch_statistic(both)
    size = norm(expected_statistic(both))
    if np.array_equal(before, after):
        yield _Candidate(
            "not-updated", "the second model keeps its running statistics: it is frozen, or told "
            "to use them", 0.0, "let the layer train: training=True, trainable=True",
        )  # fmt: skip
        return
    if batch is None or both.momentum is None:
        return
    partner = _partner(judge, both)
    for factor, what in ((1.0, ""), (0.0, "variance")):
        scale = unbiased(both, framework)
        if factor == 0.0:
            n = both.count
            if both.role != "running_var" or n < 2:
                return
            scale = (n - 1) / n * scale if framework == "pt" else n / (n - 1)
        move = batch * scale - before
        square = float((move * move).sum())
        share = float((move * (after - before)).sum()) / square if square else 0.0
        off = relative(before + share * move - after, size)
        if partner is not None and not what:
            off = max(off, _with_share(partner, share))
        right = both.momentum
        text = f"momentum {1 - share:.6g}, but should be {1 - right:.6g} (the share of the old)"
        if abs(share - (1 - right)) < 1e-6:
            text += ": taken for the share of the new"
        if what:
            divisor = "n - 1" if framework != "pt" else "n"
            same = abs(share - right) < 1e-6
            text = f"the batch's variance over {divisor}" + ("" if same else f", and {text}")
        fix = _MOMENTUM[framework].format(share=right, kept=1 - right) if not what else ""
        yield _Candidate("variance-divisor" if what else "momentum", text, off, fix)


def _partner(judge: Judge, both: Both) -> Both | None:
    """Return the layer's running mean for its variance, and the other way round."""
    other = next(role for role in STATISTICS if role != both.role)
    found = (p for p in judge.arrays if p.layer == both.layer and p.role == other)
    return next(found, None)


def _with_share(both: Both, share: float) -> float:
    expected = expected_statistic(both, share)
    return relative(both.b.after() - expected, norm(expected))


def _of_weight(
    judge: Judge, row: Row, rows: Sequence[Row], target: Array | None
) -> Iterator[_Candidate]:
    """The step with another rate, decay or eps, of gradients that agree."""
    both = row.both
    assert both is not None
    before, moved = both.b.before(), both.b.moved()
    expected = judge.expected_weight(both) - before
    size = max(norm(moved), 1e-30)
    if not moved.any():
        yield _Candidate(
            "not-stepped", f"{row.other} isn't updated, though it has a gradient", 0.0,
            "give the optimizer all parameters",
        )  # fmt: skip
        return
    square = float((expected * expected).sum())
    factor = float((expected * moved).sum()) / square if square else 0.0
    off = relative(moved - factor * expected, size)
    batch = len(judge.a.step.outputs[0])
    yield _Candidate("rate", f"the step is {_factor(factor, {'batch': batch})}", off,
                     "use the same learning rate, and divide by the batch once")  # fmt: skip
    first, gradient = judge.optimizers[0], both.b.gradient()
    if gradient is None:
        return
    fitted = np.linalg.lstsq(
        np.stack([expected.ravel(), before.ravel()], 1), moved.ravel(), rcond=None
    )[0]
    if isinstance(first, Optimizer):
        yield from _variants(judge, both, first, gradient, moved, size)
        rate = first.settings["lr"]
    else:
        rate = 1.0
    share, decay = float(fitted[0]), -float(fitted[1])
    left = relative(moved - share * expected - -decay * before, size)
    times = "" if abs(share - 1) < 1e-6 else f" and the step {share:.6g} times as large"
    amount = f"{decay / rate:.6g} times lr" if isinstance(first, Optimizer) else f"{decay:.6g}"
    yield _Candidate(
        "decay-decoupled", f"weights decay by {amount} apart from the gradient{times}", left,
        "use the same weight decay: none, or the same in both",
    )  # fmt: skip


def _variants(
    judge: Judge, both: Both, first: Optimizer, gradient: Array, moved: Array, size: float
) -> Iterator[_Candidate]:
    """The same optimizer, told something else, or with another framework's convention."""
    before, framework = both.b.before(), both.b.ran.framework

    def apart(framework: str, g: Array, **other: Any) -> float:
        return relative(first.stepped(framework, before, g, **other) - before - moved, size)

    for other, title in (("pt", "PyTorch"), ("tf", "Keras"), ("mx", "MXNet")):
        if other != framework and first.convention(other) != first.convention(framework):
            yield _Candidate(
                "convention", f"the step is {first.kind} as {title} has it", apart(other, gradient)
            )
    if first.kind == "Adam":
        right = first.settings.get("eps", 1e-8)
        for eps in (1e-7, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-10, 1e-12):
            if eps != right:
                text = f"eps {eps:g}, but should be {right:g}"
                yield _Candidate("eps", text, apart(framework, gradient, eps=eps), f"eps={right:g}")
    batch = len(judge.a.step.outputs[0])
    for factor, what in ((batch, "summed over"), (1 / batch, "divided again by")):
        text = f"the gradient is {what} the batch of {batch} before the step"
        yield _Candidate("gradient-scaled", text, apart(framework, gradient * factor))
    coupled = _coupled(first, framework, before, gradient, moved)
    if coupled is not None:
        text = f"weight decay {coupled:.6g} coupled: added to the gradient"
        off = apart(framework, gradient, weight_decay=coupled)
        yield _Candidate("decay-coupled", text, off, "use the same weight decay in both")


def _coupled(
    first: Optimizer, framework: str, before: Array, gradient: Array, moved: Array
) -> float | None:
    """Return the weight decay that, added to the gradient, gives one step of Adam or SGD."""
    if not before.any():
        return None
    lr = first.settings["lr"]
    if first.kind == "SGD":
        ahead = 1.0 + first.settings["momentum"] if first.settings.get("nesterov") else 1.0
        g = -moved / (lr * ahead)
    else:  # a first step of Adam is nearly lr times the sign: only known candidates can be tried
        known = (0.1, 0.01, 0.05, 0.001, 1e-4, 5e-4, 1e-5, 4e-5, 2.0**-8)
        offs = [norm(first.stepped(framework, before, gradient, weight_decay=d) - before - moved)
                for d in known]  # fmt: skip
        return known[int(np.argmin(offs))]
    return float(((g - gradient) * before).sum() / (before * before).sum())
