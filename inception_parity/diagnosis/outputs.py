"""Mistakes that any layer may have: something done to its output, or instead of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .fixes import INFERENCE, layer_line, layer_name, words
from .forward import ACTIVATIONS, matching_output, output_of, softmax
from .suspect import Array, Candidate, Fix, SuspectLayer

_WITHOUT: Fix = words(
    tf="activation=None, and no activation after it", other="no activation after it"
)


def activations(layer: SuspectLayer) -> Iterator[Candidate]:
    """A surplus activation."""
    for name in ACTIVATIONS:
        if name == "linear":
            continue
        what = {"relu": "a ReLU", "relu6": "a ReLU cut at 6"}.get(name, name)
        text = f"{what} is applied to its output, but shouldn't be"
        cost = 1 if name == "relu" else 2
        surplus = layer.then(name, ACTIVATIONS[name])
        yield Candidate("activation-surplus", text, _WITHOUT, surplus, cost)
    if layer.kind != "act":
        for what, function, cost in (
            ("a softmax", softmax, 1 if layer.reference.ndim == 2 else 3),
            ("a log-softmax", lambda y: np.log(softmax(y)), 2),
        ):
            text = f"{what} is applied to its output, but shouldn't be: logits are compared"
            surplus = layer.then(what, function, elementwise=False)
            yield Candidate("activation-surplus", text, _WITHOUT, surplus, cost)


def other_activation(layer: SuspectLayer) -> Iterator[Candidate]:
    """The wrong activation."""
    right = layer.get("function")
    fix = layer_line(layer)
    for name in ACTIVATIONS:
        if name not in (right, "linear"):
            text = f"{name}, but should be {right}"
            yield Candidate("other-activation", text, fix, layer.but(function=name),
                            1 if name == "relu6" else 2)  # fmt: skip
    if not layer.same_shape or not layer.inputs:
        return
    x, y = layer.inputs[0], layer.seen
    below = x < 0
    power = float((x[below] ** 2).sum())
    slope = float((x[below] * y[below]).sum()) / power if power else 0.0
    if slope and np.isfinite(slope):
        slope = float(f"{slope:.6g}")
        leaky = replace(layer, kind="output", attributes={}).then(
            "leaky", lambda z: np.where(z < 0, slope * z, z)
        )
        text = f"a leaky ReLU of slope {slope:g}, but should be {right}"
        yield Candidate("other-activation", text, fix, leaky, 2)


def clipped(layer: SuspectLayer) -> Iterator[Candidate]:
    """Cut at its largest or smallest value."""
    if not layer.same_shape:
        return
    low, high = float(layer.seen.min()), float(layer.seen.max())
    fix = words(other="no clipping")
    for text, bounds in (
        (f"cut at {high:.6g}", (-np.inf, high)), (f"cut at {low:.6g}", (low, np.inf)),
    ):  # fmt: skip
        cut = layer.then("cut", partial(np.clip, a_min=bounds[0], a_max=bounds[1]))
        yield Candidate("clipped", f"the output is {text}", fix, cut, 3)


_MISSING = {  # kind -> cause, and what it is called
    "act": ("activation-missing", "the activation"),
    "norm": ("norm-missing", "batch norm"),
    "lrn": ("lrn-missing", "local response norm"),
}


def missing(layer: SuspectLayer) -> Iterator[Candidate]:
    """The layer does nothing: its output is its input."""
    if layer.kind not in ("input", "output", "dropout") and len(layer.inputs) == 1:
        cause, what = _MISSING.get(layer.kind, ("layer-missing", "the layer"))
        text = f"{what} is missing: its output is its input"
        fix = words(other=f"{layer_name(layer)} here")
        yield Candidate(cause, text, fix, replace(layer, kind="output"), 0)


def twice(layer: SuspectLayer) -> Iterator[Candidate]:
    """The layer is applied twice."""
    same = layer.inputs and layer.inputs[0].shape == layer.reference.shape
    if same and len(layer.inputs) == 1 and layer.kind not in ("input", "output", "dropout"):
        again = layer.fed(output_of(layer))
        text = "the layer is applied twice"
        yield Candidate("layer-doubled", text, words(other="apply it once"), again, 2)


def times(layer: SuspectLayer) -> Iterator[Candidate]:
    """The output times a number, or something added to all of it."""
    y = matching_output(layer)
    power = float(np.vdot(y, y))
    factor = float(np.vdot(y, layer.seen)) / power if power else 0.0
    shift = float((layer.seen - y).mean())
    if np.isfinite(factor) and factor and abs(factor - 1) > 1e-12:
        value = float(f"{factor:.9g}")
        text, fix = f"the output times {value:.6g}", words(other="don't scale the output")
        yield Candidate("output-scaled", text, fix, layer.then("scaled", lambda z: value * z), 4)
    if np.isfinite(shift) and shift:
        text, fix = f"{shift:.6g} is added to the output", words(other="add nothing")
        yield Candidate("output-shifted", text, fix, layer.then("added", lambda z: z + shift), 4)


def dropout(layer: SuspectLayer) -> Iterator[Candidate]:
    """Dropout that is active: values are either gone, or all larger by the same factor."""
    y = matching_output(layer)
    there = np.abs(y) > 1e-9 * np.abs(y).max(initial=0.0)
    gone = there & (layer.seen == 0)
    kept = there & ~gone
    if not gone.any() or not kept.any():
        return
    ratio = layer.seen[kept] / y[kept]
    factor = float(np.median(ratio))
    if np.abs(ratio - factor).max() > 1e3 * layer.rough * abs(factor) or factor < 0.5:
        return
    mask = np.where(gone, 0.0, factor)
    share = gone.sum() / there.sum()
    whole = y.ndim == 4 and bool((gone.any(axis=(2, 3)) == (gone | ~there).all(axis=(2, 3))).all())
    p = 1 - 1 / factor
    text = f"dropout is active: {share:.0%} of the values are gone, the others times {factor:.4g}"
    text += f" (p = {p:.4g})" if p > 1e-9 else " (not scaled)"
    text += "; whole channels" if whole else ""
    dropped = layer.then("dropout", lambda z: z * mask, elementwise=False)
    yield Candidate("dropout-active", text, INFERENCE, dropped, 3)


def dropout_scale(layer: SuspectLayer) -> Iterator[Candidate]:
    """Scaled in inference, as dropout was first published."""
    p = float(layer.get("p") or 0.0)
    fix = words(other="inverted dropout: scale in training, nothing in inference")
    for factor, text in ((1 - p, f"values times 1 - p = {1 - p:g}"),
                         (1 / (1 - p) if p < 1 else 1.0, "values over 1 - p")):  # fmt: skip
        scaled = layer.then("scaled", partial(np.multiply, factor))
        said = f"{text} in inference, but should stay as they are"
        yield Candidate("dropout-scaled", said, fix, scaled)


def turned(layer: SuspectLayer) -> Iterator[Candidate]:
    """The image transposed or mirrored after the layer."""
    if layer.reference.ndim != 4:
        return
    fix = words(other="height before width, as the reference has it")
    for text, change in (
        ("height and width of the output are exchanged", lambda y: y.swapaxes(2, 3)),
        ("the output is mirrored", lambda y: y[:, :, :, ::-1]),
        ("the output is upside down", lambda y: y[:, :, ::-1]),
    ):
        yield Candidate("image-turned", text, fix, layer.then("turned", change), 2)
    layout = "the output's numbers in the order of another layout: reshaped, not transposed"
    shape = layer.reference.shape
    for change in (
        lambda y: y.transpose(0, 2, 3, 1).reshape(shape),
        lambda y: y.reshape(shape[0], *shape[2:], shape[1]).transpose(0, 3, 1, 2),
    ):
        yield Candidate("layout", layout, fix, layer.then("reshaped", change, False), 2)


def reordered(layer: SuspectLayer) -> Iterator[Candidate]:
    """Channels, or images, in another order, found by matching them."""
    y = matching_output(layer)
    for axis, cause, what in ((1, "channel-order", "channels"), (0, "batch-order", "images")):
        order = _matched(np.moveaxis(y, axis, 0), np.moveaxis(layer.seen, axis, 0))
        if order is None:
            continue
        n = len(order)
        plain = list(order)
        change, cost = f"in another order ({', '.join(map(str, plain[:6]))}, …)", 4
        by = -plain[0] % n
        if plain == list(range(n))[::-1]:
            change, cost = "reversed", 2
        elif np.array_equal(plain, np.roll(range(n), by)):
            change, cost = f"shifted by {by if by <= n // 2 else by - n}", 2
        text = f"the output's {what} are {change}"
        fix = words(other=f"{what} in the reference's order; for kernels see their layout")
        moved = layer.then("reordered", partial(np.take, indices=order, axis=axis), False)
        yield Candidate(cause, text, fix, moved, cost)


def _matched(truth: Array, seen: Array) -> NDArray[np.intp] | None:
    """Return for each of `seen` which of `truth` it is; None if it is as it should be."""
    count = len(truth)
    if count < 2:
        return None
    a, b = truth.reshape(count, -1), seen.reshape(count, -1)
    rng = np.random.default_rng(0)
    probes = rng.standard_normal((a.shape[1], 3))
    marks, found = a @ probes, b @ probes
    if not np.isfinite(found).all():
        return None
    order = np.empty(count, dtype=np.intp)
    for start in range(0, count, 64):  # small pieces, that stay in the cache
        some = found[start : start + 64]
        apart = sum(np.abs(np.subtract.outer(some[:, i], marks[:, i])) for i in range(3))
        order[start : start + 64] = np.argmin(apart, axis=1)
    identity = np.array_equal(order, np.arange(count))
    return None if identity or len(set(order.tolist())) < 2 else order


def constant(layer: SuspectLayer) -> Iterator[Candidate]:
    """All zeros, or one value everywhere."""
    if layer.observed is None or not layer.seen.size:
        return
    value = float(layer.seen.flat[0])
    if (layer.seen == value).all():
        text = f"every value is {value:g}: nothing is computed, or all is gone"
        filled = layer.then("filled", lambda y: np.full(y.shape, value), elementwise=False)
        yield Candidate("constant", text, words(other="see what the layer is given"), filled, 2)


def broken_values(layer: SuspectLayer) -> Iterator[Candidate]:
    """Some values not finite, the others right."""
    if not layer.same_shape or np.isfinite(layer.seen).all():
        return
    bad = ~np.isfinite(layer.seen)
    rest = np.where(bad, 0.0, layer.seen)
    at = [int(i) for i in np.argwhere(bad)[0]]
    nans = int(np.isnan(layer.seen).sum())
    text = (
        f"{nans} NaN and {int(bad.sum()) - nans} infinite of {bad.size} values, the first at "
        f"{at}; the others are right"
    )
    fix = words(other="look there for a division by 0, a root of a negative, an overflow")
    shown = replace(layer, observed=rest).then("", lambda y: np.where(bad, 0.0, y), False)
    yield Candidate("not-finite", text, fix, shown, 1)


def clue(layer: SuspectLayer) -> str:
    """Say where the difference lies, if nothing explains it."""
    if not layer.same_shape:
        return f"shape {layer.seen.shape}, but should be {layer.reference.shape}"
    apart = np.abs(layer.seen - layer.reference) > layer.rough * np.abs(layer.reference).max()
    share = apart.mean()
    if not share:
        return "no single value stands out"
    words_ = [f"{share:.0%} of the values differ" if share > 0.01 else
              f"{int(apart.sum())} of {apart.size} values differ"]  # fmt: skip
    channels = np.flatnonzero(apart.any(axis=(0, *range(2, apart.ndim))))
    if len(channels) < apart.shape[1]:
        few = ", ".join(map(str, channels[:6])) + (", …" if len(channels) > 6 else "")
        words_.append(f"in {len(channels)} of {apart.shape[1]} channels ({few})")
    if apart.ndim == 4 and min(apart.shape[2:]) > 4 and not apart[:, :, 2:-2, 2:-2].any():
        words_.append("at the border only")
    images = np.flatnonzero(apart.any(axis=tuple(range(1, apart.ndim))))
    if len(images) < len(apart):
        words_.append(f"in {len(images)} of {len(apart)} images")
    return ", ".join(words_)


ANY = (
    missing, activations, dropout, constant, broken_values, reordered, turned, times, clipped,
    twice,
)  # fmt: skip
