"""Mistakes that any layer may have: something done to its output, or instead of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .activations import ACTIVATIONS, SLOPED, SLOPES, softmax
from .fixes import fix
from .forward import matching_output, output_of
from .suspect import Array, Candidate, SuspectLayer


def activations(layer: SuspectLayer) -> Iterator[Candidate]:
    """A surplus activation."""
    mistake = partial(Candidate, "activation-surplus", fix=fix(layer, "no-activation"))
    for name, function in ACTIVATIONS.items():
        if name != "linear":
            what = {"relu": "a ReLU", "relu6": "a ReLU cut at 6"}.get(name, name)
            text = f"{what} is applied to its output, but shouldn't be"
            yield mistake(text, layer.then(name, function), 1 if name == "relu" else 2)
    if layer.kind != "act":
        for what, function, cost in (
            ("a softmax", softmax, 1 if layer.reference.ndim == 2 else 3),
            ("a log-softmax", lambda y: np.log(softmax(y)), 2),
        ):
            text = f"{what} is applied to its output, but shouldn't be: logits are compared"
            yield mistake(text, layer.then(what, function, elementwise=False), cost)


def other_activation(layer: SuspectLayer) -> Iterator[Candidate]:
    """The wrong activation."""
    right = layer.get("function")
    line = fix(layer, "as-reference" if right == "relu" else "activation", function=right)
    mistake = partial(Candidate, "other-activation", fix=line)
    for name in ACTIVATIONS:
        if name not in (right, "linear"):
            text = f"{name}, but should be {right}"
            other = layer.but(function=name, slope=SLOPES.get(name))
            yield mistake(text, other, 1 if name in _ALIKE.get(right, ()) else 2)
    if not layer.same_shape or not layer.inputs or right == "leaky_relu":
        return
    slope = _slope_below(layer)
    if slope and np.isfinite(slope):
        slope = float(f"{slope:.6g}")
        leaky = layer.but(function="leaky_relu", slope=slope)
        yield mistake(f"a leaky ReLU of slope {slope:g}, but should be {right}", leaky, 2)


# What is most often taken for another.
_ALIKE = {
    "relu": ("relu6",), "gelu": ("gelu_tanh",), "gelu_tanh": ("gelu",), "silu": ("hard_swish",),
    "hard_swish": ("silu",), "sigmoid": ("hard_sigmoid",), "hard_sigmoid": ("sigmoid",),
    "leaky_relu": ("relu",), "elu": ("selu",), "softmax": ("sigmoid",),
}  # fmt: skip


def _slope_below(layer: SuspectLayer) -> float:
    """Return the slope of a line through what became of negative numbers."""
    x, y = layer.inputs[0], layer.seen
    below = x < 0
    power = float((x[below] ** 2).sum())
    return float((x[below] * y[below]).sum()) / power if power else 0.0


def slopes(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another slope, or factor, of an activation that has one."""
    name = str(layer.get("function"))
    if name not in SLOPED:
        return
    right = float(layer.attributes.get("slope") or SLOPES[name])
    line = fix(layer, "slope", slope=right)
    known = {"hard_sigmoid": (0.2, 1 / 6), "leaky_relu": (0.01, 0.1, 0.2, 0.25, 0.3)}
    values = dict.fromkeys(known.get(name, (0.25, 0.5, 1.0, 1.702)), 1)
    fitted = _slope_below(layer) if name == "leaky_relu" and layer.same_shape else 0.0
    if np.isfinite(fitted) and fitted:
        values = {fitted: 2, float(f"{fitted:.6g}"): 1, **values}
    for slope, cost in values.items():
        if abs(slope - right) > 1e-12 * right:
            near = abs(slope / right - 1) < 1e-5
            text = f"slope {slope:{'.12g' if near else 'g'}}, but should be {right:g}"
            yield Candidate("slope", text, layer.but(slope=slope), cost, fix=line)


def other_axis(layer: SuspectLayer) -> Iterator[Candidate]:
    """A softmax along another axis."""
    if layer.get("function") not in ("softmax", "log_softmax"):
        return
    right = int(layer.attributes.get("axis", 1))
    line = fix(layer, "axis", axis=right)
    for axis in range(layer.inputs[0].ndim):
        if axis != right:
            text = f"softmax along axis {axis}, but should be along axis {right}"
            yield Candidate("softmax-axis", text, layer.but(axis=axis), fix=line)
    both = {"softmax": "log_softmax", "log_softmax": "softmax"}
    other = both[str(layer.get("function"))]
    text = f"{other}, but should be {layer.get('function')}"
    line = fix(layer, "activation", function=layer.get("function"))
    yield Candidate("other-activation", text, layer.but(function=other), fix=line)


def prelu(layer: SuspectLayer) -> Iterator[Candidate]:
    """PReLU's slopes shared, or for other channels than they should be; or another activation."""
    weight = layer.weights["weight"]
    line = fix(layer, "prelu-weight")
    mistake = partial(Candidate, "prelu-slopes", fix=line)
    text = "one slope for all channels, their mean"
    yield mistake(text, layer.weighing(weight=np.full_like(weight, weight.mean())))
    text = "the first channel's slope for all channels"
    yield mistake(text, layer.weighing(weight=np.full_like(weight, weight.flat[0])))
    for value in (0.25, 0.0, 0.01):
        text = f"the slopes stay {value:g}, as they are before they are loaded"
        yield mistake(text, layer.weighing(weight=np.full_like(weight, value)))
    if weight.ndim == 1 and weight.size > 1:
        yield mistake("the slopes in reverse order", layer.weighing(weight=weight[::-1]), 2)
        x = layer.inputs[0]
        for axis in range(2, x.ndim):
            if x.shape[axis] == weight.size:
                text = f"the slopes along axis {axis}, but should be along axis 1"
                sides = [weight.size if i == axis else 1 for i in range(x.ndim)]
                yield mistake(text, layer.weighing(weight=weight.reshape(sides)))


def clipped(layer: SuspectLayer) -> Iterator[Candidate]:
    """Cut at its largest or smallest value."""
    if not layer.same_shape:
        return
    low, high = float(layer.seen.min()), float(layer.seen.max())
    for value, bounds in ((high, {"a_min": -np.inf, "a_max": high}),
                          (low, {"a_min": low, "a_max": np.inf})):  # fmt: skip
        cut = layer.then("cut", partial(np.clip, **bounds))
        text = f"the output is cut at {value:.6g}"
        yield Candidate("clipped", text, cut, 3, fix=fix(layer, "no-clipping"))


_MISSING = {  # kind -> cause, and what it is called
    "act": ("activation-missing", "the activation"),
    "prelu": ("activation-missing", "the activation"),
    "norm": ("norm-missing", "batch norm"),
    "lrn": ("lrn-missing", "local response norm"),
    "layer_norm": ("norm-missing", "layer norm"),
    "rms_norm": ("norm-missing", "RMS norm"),
    "group_norm": ("norm-missing", "group norm"),
    "instance_norm": ("norm-missing", "instance norm"),
}


def missing(layer: SuspectLayer) -> Iterator[Candidate]:
    """The layer does nothing: its output is its input."""
    if layer.kind not in ("input", "output", "dropout") and len(layer.inputs) == 1:
        cause, what = _MISSING.get(layer.kind, ("layer-missing", "the layer"))
        text = f"{what} is missing: its output is its input"
        yield Candidate(cause, text, replace(layer, kind="output"), 0, fix=fix(layer, "put-here"))


def twice(layer: SuspectLayer) -> Iterator[Candidate]:
    """The layer is applied twice."""
    same = layer.inputs and layer.inputs[0].shape == layer.reference.shape
    if same and len(layer.inputs) == 1 and layer.kind not in ("input", "output", "dropout"):
        again, line = layer.fed(output_of(layer)), fix(layer, "apply-once")
        yield Candidate("layer-doubled", "the layer is applied twice", again, 2, fix=line)


def times(layer: SuspectLayer) -> Iterator[Candidate]:
    """The output times a number, or something added to all of it."""
    y = matching_output(layer)
    power = float(np.vdot(y, y))
    factor = float(np.vdot(y, layer.seen)) / power if power else 0.0
    shift = float((layer.seen - y).mean())
    if np.isfinite(factor) and factor and abs(factor - 1) > 1e-12:
        value = float(f"{factor:.9g}")
        scaled = layer.then("scaled", lambda z: value * z)
        text = f"the output times {value:.6g}"
        yield Candidate("output-scaled", text, scaled, 4, fix=fix(layer, "no-scaling"))
    if np.isfinite(shift) and shift:
        added = layer.then("added", lambda z: z + shift)
        text = f"{shift:.6g} is added to the output"
        yield Candidate("output-shifted", text, added, 4, fix=fix(layer, "no-shift"))


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
    yield Candidate("dropout-active", text, dropped, 3, fix=fix(layer, "inference"))


def dropout_scale(layer: SuspectLayer) -> Iterator[Candidate]:
    """Scaled in inference, as dropout was first published."""
    p = float(layer.get("p") or 0.0)
    mistake = partial(Candidate, "dropout-scaled", fix=fix(layer, "inverted-dropout"))
    for factor, text in ((1 - p, f"values times 1 - p = {1 - p:g}"),
                         (1 / (1 - p) if p < 1 else 1.0, "values over 1 - p")):  # fmt: skip
        scaled = layer.then("scaled", partial(np.multiply, factor))
        yield mistake(f"{text} in inference, but should stay as they are", scaled)


def turned(layer: SuspectLayer) -> Iterator[Candidate]:
    """The image transposed or mirrored after the layer."""
    if layer.reference.ndim != 4:
        return
    mistake = partial(Candidate, cost=2, fix=fix(layer, "height-first"))
    for text, change in (
        ("height and width of the output are exchanged", lambda y: y.swapaxes(2, 3)),
        ("the output is mirrored", lambda y: y[:, :, :, ::-1]),
        ("the output is upside down", lambda y: y[:, :, ::-1]),
    ):
        yield mistake("image-turned", text, layer.then("turned", change))
    layout = "the output's numbers in the order of another layout: reshaped, not transposed"
    shape = layer.reference.shape
    for change in (
        lambda y: y.transpose(0, 2, 3, 1).reshape(shape),
        lambda y: y.reshape(shape[0], *shape[2:], shape[1]).transpose(0, 3, 1, 2),
    ):
        yield mistake("layout", layout, layer.then("reshaped", change, elementwise=False))


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
        moved = layer.then("reordered", partial(np.take, indices=order, axis=axis), False)
        yield Candidate(cause, text, moved, cost, fix=fix(layer, "order", what=what))


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
        yield Candidate("constant", text, filled, 2, fix=fix(layer, "look-at-input"))


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
    shown = replace(layer, observed=rest).then("", lambda y: np.where(bad, 0.0, y), False)
    yield Candidate("not-finite", text, shown, fix=fix(layer, "look-for-cause"))


def clue(layer: SuspectLayer) -> str:
    """Say where the difference lies, if nothing explains it."""
    if not layer.same_shape:
        return f"shape {layer.seen.shape}, but should be {layer.reference.shape}"
    apart = np.abs(layer.seen - layer.reference) > layer.rough * np.abs(layer.reference).max()
    share = apart.mean()
    if not share:
        return "no single value stands out"
    said = [f"{share:.0%} of the values differ" if share > 0.01 else
            f"{int(apart.sum())} of {apart.size} values differ"]  # fmt: skip
    channels = np.flatnonzero(apart.any(axis=(0, *range(2, apart.ndim))))
    if len(channels) < apart.shape[1]:
        few = ", ".join(map(str, channels[:6])) + (", …" if len(channels) > 6 else "")
        said.append(f"in {len(channels)} of {apart.shape[1]} channels ({few})")
    if apart.ndim == 4 and min(apart.shape[2:]) > 4 and not apart[:, :, 2:-2, 2:-2].any():
        said.append("at the border only")
    images = np.flatnonzero(apart.any(axis=tuple(range(1, apart.ndim))))
    if len(images) < len(apart):
        said.append(f"in {len(images)} of {len(apart)} images")
    return ", ".join(said)


ANY = (
    missing, activations, dropout, constant, broken_values, reordered, turned, times, clipped,
    twice,
)  # fmt: skip
