"""Mistakes of batch norm and of local response norm: constants, statistics, what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from .fixes import fix
from .forward import channel_sums
from .suspect import Array, Candidate, SuspectLayer


def _terms(layer: SuspectLayer) -> tuple[Array, Array, Array, Array, float]:
    """Return weight, bias, mean, variance and eps, with neutral values for missing ones."""
    w = layer.weights
    count = layer.reference.shape[1]
    ones, zeros = np.ones(count), np.zeros(count)
    return (
        w.get("weight", ones), w.get("bias", zeros), w.get("running_mean", zeros),
        w.get("running_var", ones), float(layer.get("eps") or 0.0),
    )  # fmt: skip


def _line(layer: SuspectLayer) -> tuple[Array, Array] | None:
    """Return per channel what was multiplied with and added, if that is all that was done."""
    if not layer.same_shape or layer.inputs[0].shape != layer.seen.shape:
        return None
    x = np.moveaxis(layer.inputs[0], 1, 0).reshape(layer.seen.shape[1], -1)
    y = np.moveaxis(layer.seen, 1, 0).reshape(layer.seen.shape[1], -1)
    mean_x, mean_y = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    power = ((x - mean_x) ** 2).sum(axis=1)
    if (power <= 0).any():
        return None
    slope = ((x - mean_x) * (y - mean_y)).sum(axis=1) / power
    shift = mean_y[:, 0] - slope * mean_x[:, 0]
    left = np.abs(slope[:, None] * x + shift[:, None] - y).max()
    return (slope, shift) if left <= 10 * layer.rough * np.abs(y).max() else None


def eps(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another eps, which the channels' slopes reveal; or eps outside the root."""
    weight, _, _, var, right = _terms(layer)
    mistake = partial(Candidate, fix=fix(layer, "eps", eps=right))
    outside = f"eps is added to the root, and not under it ({right:g})"
    yield mistake("eps-outside", outside, layer.but(eps_outside=True), 2)
    known = (1e-5, 1e-3, 2e-5, 1e-4, 1e-6, 1e-7, 1e-8, 0.0, 1e-2, 0.1, 1.0)
    values: dict[float, int] = {}
    line = _line(layer)
    if line is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (weight / line[0]) ** 2 - var
        # Where the variance is smallest, eps is least drowned in rounding.
        found = found[np.argsort(var)][: max(1, len(var) // 8)]
        fitted = float(np.median(found[np.isfinite(found)])) if np.isfinite(found).any() else 0.0
        if fitted > 0:
            values = {float(f"{fitted:.0e}"): 1, float(f"{fitted:.2e}"): 2, fitted: 3}
    values = {**dict.fromkeys(known, 1), **{v: c for v, c in values.items() if v not in known}}
    for value, cost in values.items():
        if abs(value - right) > 1e-12 * right:
            near = value and right and abs(value / right - 1) < 1e-3
            text = f"eps {value:{'.12g' if near else 'g'}}, but should be {right:g}"
            yield mistake("eps", text, layer.but(eps=value), cost)


def statistics(layer: SuspectLayer) -> Iterator[Candidate]:
    """Running statistics exchanged, not loaded, biased or not; or the batch's own."""
    plain = partial(Candidate, fix=fix(layer, "as-reference"))
    if "running_var" in layer.weights:
        _, _, mean, var, right = _terms(layer)
        load = partial(Candidate, fix=fix(layer, "statistics"))
        text = "running mean and running variance exchanged"
        for variance, cost in ((mean, 1), (np.abs(mean), 2)):
            swapped = layer.weighing(running_mean=var, running_var=variance)
            yield load("statistics-swapped", text, swapped, cost)
        ones, zeros = np.ones_like(var), np.zeros_like(mean)
        for what, fresh in (
            ("running mean and variance", {"running_mean": zeros, "running_var": ones}),
            ("the running mean", {"running_mean": zeros}),
            ("the running variance", {"running_var": ones}),
        ):
            text = f"{what} not loaded: still as initialised"
            yield load("statistics-not-loaded", text, layer.weighing(**fresh))
        square = layer.weighing(running_var=(var + right) ** 2 - right)
        text = "divided by the variance, and not by its root"
        yield plain("variance-not-rooted", text, square, 2)
        text = "the running variance holds standard deviations"
        yield load("variance-rooted", text, layer.weighing(running_var=var**0.5), 2)
    text = "the batch's own mean and variance, as in training; should be the running ones"
    training = partial(Candidate, "training-mode", fix=fix(layer, "inference"))
    yield training(text, layer.but(statistics="batch", unbiased=False))
    unbiased = layer.but(statistics="batch", unbiased=True)
    yield training(f"{text} (variance over n - 1)", unbiased, 2)
    if layer.reference.ndim == 4:
        text = "every image's own mean and variance: an instance norm"
        yield plain("instance-norm", text, layer.but(statistics="instance"), 2)
    yield from _biased(layer)


def _biased(layer: SuspectLayer) -> Iterator[Candidate]:
    """The running variance times n / (n - 1), or its inverse."""
    weight, _, _, var, right = _terms(layer)
    line = _line(layer)
    if line is None or "running_var" not in layer.weights:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = ((weight / line[0]) ** 2 - right) / var
    factor = float(np.median(factors))
    if not np.isfinite(factor) or not factor > 0 or abs(factor - 1) < 1e-12:
        return
    larger = factor if factor > 1 else 1 / factor
    n = round(larger / (larger - 1))
    exact = n > 1 and abs(larger - n / (n - 1)) < 1e-9 * larger
    ratio = (n / (n - 1)) if exact else larger
    said = f"n / (n - 1) with n = {n}" if exact else f"{larger:.6g}"
    which = "times" if factor > 1 else "divided by"
    text = f"the running variance {which} {said}"
    text += ": unbiased" if exact and factor > 1 else ": biased" if exact else ""
    changed = layer.weighing(running_var=var * (ratio if factor > 1 else 1 / ratio))
    yield Candidate("variance-biased", text, changed, 2 if exact else 4,
                    fix=fix(layer, "biased-variance"))  # fmt: skip


def affine(layer: SuspectLayer) -> Iterator[Candidate]:
    """Weight or bias missing or exchanged; no centring."""
    weight, bias, mean, _, _ = _terms(layer)
    mistake = partial(Candidate, fix=fix(layer, "scale-and-shift"))
    if "weight" in layer.weights:
        missing = layer.weighing(weight=None)
        yield mistake("gamma-missing", "no weight (gamma): it stays 1", missing)
        plus = layer.weighing(weight=weight + 1)
        yield mistake("gamma-plus-one", "1 is added to the weight (gamma)", plus, 2)
        swapped = layer.weighing(weight=bias, bias=weight)
        yield mistake("gamma-beta-swapped", "weight and bias (gamma and beta) exchanged", swapped)
    if bias.any():
        yield mistake("beta-missing", "no bias (beta): it stays 0", layer.weighing(bias=None))
    uncentred = layer.weighing(running_mean=np.zeros_like(mean))
    yield Candidate("mean-not-subtracted", "the mean isn't subtracted", uncentred, 3,
                    fix=fix(layer, "as-reference"))  # fmt: skip
    for how, moved in (
        ("in reverse order", lambda array: array[::-1]),
        ("shifted by 1", lambda array: np.roll(array, 1)),
        ("shifted by -1", lambda array: np.roll(array, -1)),
    ):
        changed = layer.weighing(**{name: moved(array) for name, array in layer.weights.items()})
        text = f"weight, bias, mean and variance {how}"
        yield Candidate("norm-order", text, changed, 3, fix=fix(layer, "statistics"))


def fitted(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another bias or mean, or another weight or variance: whichever would explain it."""
    line = _line(layer)
    if line is None:
        return
    mistake = partial(Candidate, fix=fix(layer, "scale-and-shift"))
    weight, bias, mean, var, right = _terms(layer)
    slope, shift = line
    expected = weight / np.sqrt(var + right)
    if np.abs(slope - expected).max() <= 100 * layer.rough * np.abs(expected).max():
        moved = shift - (bias - mean * expected)
        count = int((np.abs(moved) > 1e-9 * np.abs(layer.reference).max()).sum())
        other = layer.weighing(bias=bias + moved)
        if np.allclose(np.sort(bias + moved), np.sort(bias), rtol=1e-7) and count > 1:
            yield mistake("bias-order", "the bias (beta) in another order", other, 3)
        else:
            text = f"another bias or running mean in {count} of {len(bias)} channels"
            yield mistake("norm-bias-other", text, other, 6)
        return
    factor = slope / expected
    text = f"another weight or variance in {int((np.abs(factor - 1) > 1e-9).sum())} channels"
    scaled = layer.weighing(weight=weight * factor)
    yield mistake("norm-weight-other", text, scaled, 6)
    text = "another weight or variance, and another bias or mean"
    both = scaled.weighing(bias=shift + mean * slope)
    yield Candidate("norm-other", text, both, 9, fix=fix(layer, "statistics"))


def lrn_constants(layer: SuspectLayer) -> Iterator[Candidate]:
    """Other constants: known conventions, and any others that fit a straight line."""
    size, alpha = int(layer.get("size")), float(layer.get("alpha"))
    beta, k = float(layer.get("beta")), float(layer.get("k"))
    line = fix(layer, "lrn", size=size, alpha=alpha, beta=beta, k=k,
               radius=size // 2, alpha_each=alpha / size)  # fmt: skip

    def changed(text: str, cost: int = 1, **constants: float) -> Candidate:
        return Candidate("lrn-constants", text, layer.but(**constants), cost, fix=line)

    text = f"alpha isn't divided by the size, as TensorFlow has it; should be {alpha:g} / {size}"
    yield changed(text, alpha=alpha * size)
    yield changed("alpha is divided by the size twice", alpha=alpha / size)
    yield changed("TensorFlow's defaults: radius 5, bias 1, alpha 1, beta 0.5",
                  size=11, alpha=11.0, beta=0.5, k=1.0)  # fmt: skip
    for other in (0.0, 1.0, 2.0):
        if other != k:
            yield changed(f"k {other:g}, but should be {k:g}", k=other)
    for other in (0.5, 0.75, 1.0):
        if other != beta:
            yield changed(f"beta {other:g}, but should be {beta:g}", beta=other)
    for wide in (1, 2, 3, 4, 6, 7, 9, 11):
        if wide != size:
            text = f"over {wide} channels, but should be {size}"
            yield changed(text, size=wide)
            yield changed(f"{text} (alpha / {size})", 2, size=wide, alpha=alpha / size * wide)
    if layer.same_shape:
        yield from _fitted_constants(layer, changed)


def _fitted_constants(
    layer: SuspectLayer, changed: Callable[..., Candidate]
) -> Iterator[Candidate]:
    """Solve (x / y)^(1 / beta) = k + alpha / size * sum for alpha and k."""
    x, y = layer.inputs[0], layer.seen
    used = np.abs(y) > 1e-3 * np.abs(y).max()
    with np.errstate(all="ignore"):
        ratio = (x / y)[used]
    if ratio.size < 3 or not np.isfinite(ratio).all() or (ratio <= 0).any():
        return
    for size in dict.fromkeys((int(layer.get("size")), 3, 5, 7, 9, 11)):
        total = channel_sums(x**2, size)[used]
        for beta in dict.fromkeys((float(layer.get("beta")), 0.5, 0.75, 1.0)):
            slope, k = np.polyfit(total, ratio ** (1 / beta), 1)
            alpha, shown = float(f"{slope * size:.6g}"), float(f"{k:.6g}")
            text = f"size {size}, alpha {alpha:g}, beta {beta:g}, k {shown:g}"
            yield changed(text, 3, size=size, alpha=alpha, beta=beta, k=shown)
            yield changed(text, 4, size=size, alpha=float(slope * size), beta=beta, k=float(k))


def lrn_kind(layer: SuspectLayer) -> Iterator[Candidate]:
    """Sums over neighbours in the image instead of over channels."""
    size = int(layer.get("size"))

    def within(x: Array) -> Array:
        before, after = size // 2, (size - 1) // 2
        padded = np.pad(x**2, ((0, 0), (0, 0), (before, after), (before, after)))
        height, width = x.shape[2:]
        total = sum(
            padded[:, :, i : i + height, j : j + width] for i in range(size) for j in range(size)
        )
        scale = layer.get("alpha") / size**2
        return x / (layer.get("k") + scale * np.asarray(total)) ** layer.get("beta")

    text = "sums over neighbours in the image, but should be over channels"
    spatial = replace(layer, kind="output").then("within channels", within, elementwise=False)
    yield Candidate("lrn-within-channels", text, spatial, fix=fix(layer, "as-reference"))


NORM = (eps, statistics, affine, fitted)
LRN = (lrn_constants, lrn_kind)
