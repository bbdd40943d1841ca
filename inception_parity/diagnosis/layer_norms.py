"""Mistakes of layer, group, instance and RMS norm: eps, axes, groups, scale and shift."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np

from .fixes import argument, fix
from .normalisations import axes_of, gathered, most_groups, spread, standard_eps
from .suspect import Candidate, SuspectLayer

_KNOWN = (1e-5, 1e-3, 1e-6, 1e-12, 1e-8, 2e-5, 1e-4, 1e-7, 0.0, 1e-2, 0.1, 1.0)


def eps(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another eps, which the slopes reveal; or eps outside the root."""
    right = float(layer.get("eps") or 0.0)
    mistake = partial(Candidate, fix=fix(layer, "eps", eps=right))
    outside = f"eps is added to the root, and not under it ({right:g})"
    yield mistake("eps-outside", outside, layer.but(eps_outside=True), 2)
    values = {**dict.fromkeys(_KNOWN, 1), **standard_eps(_fitted_eps(layer))}
    values = {value: 1 if value in _KNOWN else cost for value, cost in values.items()}
    for value, cost in values.items():
        if abs(value - right) > 1e-12 * right:
            near = value and right and abs(value / right - 1) < 1e-3
            text = f"eps {value:{'.12g' if near else 'g'}}, but should be {right:g}"
            yield mistake("eps", text, layer.but(eps=value), cost)


def _fitted_eps(layer: SuspectLayer) -> float:
    """Return the eps that the least varying values show; not a number if there is none."""
    if not layer.same_shape or layer.inputs[0].shape != layer.seen.shape:
        return float("nan")
    y = layer.seen
    for role in ("bias", "weight"):
        if role in layer.weights:
            array = spread(layer, layer.weights[role], y.ndim)
            y = y - array if role == "bias" else y / array
    x, y = (gathered(layer, each).reshape(-1, gathered(layer, each).shape[-1])
            for each in (layer.inputs[0], y))  # fmt: skip
    if layer.kind != "rms_norm":
        x = x - x.mean(axis=1, keepdims=True)
    power = (x**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (x * y).sum(axis=1) / power
        found = 1 / slope**2 - power / x.shape[1]
    found = found[np.argsort(power)][: max(1, len(power) // 8)]
    found = found[np.isfinite(found)]
    return float(np.median(found)) if found.size else float("nan")


def affine(layer: SuspectLayer) -> Iterator[Candidate]:
    """Weight or bias missing or exchanged, or 1 added to the weight."""
    mistake = partial(Candidate, fix=fix(layer, "scale-and-shift"))
    weight, bias = layer.weights.get("weight"), layer.weights.get("bias")
    if weight is not None:
        text = "no weight (gamma): it stays 1"
        yield mistake("gamma-missing", text, layer.weighing(weight=None))
        text = "1 is added to the weight (gamma)"
        yield mistake("gamma-plus-one", text, layer.weighing(weight=weight + 1), 2)
        text = "1 is missing in the weight (gamma): it is kept as a difference from 1"
        yield mistake("gamma-plus-one", text, layer.weighing(weight=weight - 1), 2)
    if bias is not None:
        text = "no bias (beta): it stays 0"
        yield mistake("beta-missing", text, layer.weighing(bias=None))
    if weight is not None and bias is not None:
        swapped = layer.weighing(weight=bias, bias=weight)
        yield mistake("gamma-beta-swapped", "weight and bias (gamma and beta) exchanged", swapped)
        text = "neither weight nor bias (gamma and beta)"
        neither = layer.weighing(weight=None, bias=None)
        yield mistake("gamma-missing", text, neither, 2)


def statistics(layer: SuspectLayer) -> Iterator[Candidate]:
    """The mean not subtracted, or subtracted by an RMS norm; variance over n - 1."""
    mistake = partial(Candidate, fix=fix(layer, "as-reference"))
    if layer.kind == "rms_norm":
        text = "the mean is subtracted, as a layer norm does, but shouldn't be"
        yield mistake("mean-subtracted", text, layer.but(centred=True))
    else:
        text = "the mean isn't subtracted, as in an RMS norm, but should be"
        yield mistake("mean-not-subtracted", text, layer.but(centred=False))
    text = "divided by a standard deviation over n - 1"
    yield mistake("variance-biased", text, layer.but(unbiased=True), 2)


def over(layer: SuspectLayer) -> Iterator[Candidate]:
    """Values of other axes, or of other groups, normalised together."""
    x = layer.inputs[0]
    right = _said(layer)
    plain = layer.kind in ("layer_norm", "rms_norm")
    if plain:
        own = axes_of(layer, x.ndim)
        mistake = partial(Candidate, "norm-axes", fix=argument(layer, right))
        for count in range(1, x.ndim):
            for axes in combinations(range(1, x.ndim), count):
                if axes != own and _fits(layer, axes):
                    text = f"over the axes {_listed(axes)}, but should be over {_listed(own)}"
                    yield mistake(text, layer.but(axes=axes))
    if x.ndim < 3:
        return
    channels, groups = x.shape[1], int(layer.get("groups") or 1)
    if layer.kind != "instance_norm" and not plain:
        text = f"groups of every {groups}th channel, but should be of neighbours"
        line = fix(layer, "as-reference")
        yield Candidate("norm-groups", text, layer.but(interleaved=True), 2, fix=line)
    line = argument(layer, right)
    if not plain and all(array.shape == (channels,) for array in layer.weights.values()):
        text = f"over the channels of every place, as a layer norm, but should be {right}"
        other = replace(layer.but(axes=(1,)), kind="layer_norm")
        yield Candidate("norm-axes", text, other, fix=line)
    for count in most_groups(channels) if not plain or own == tuple(range(1, x.ndim)) else ():
        if count == {"group_norm": groups, "instance_norm": channels}.get(layer.kind):
            continue
        other = replace(layer.but(groups=count), kind="group_norm")
        what = {1: "all channels together", channels: "each channel by itself"}
        text = f"{what.get(count, f'{count} groups of channels')}, but should be {right}"
        yield Candidate("norm-groups", text, other, 1 if count in what else 2, fix=line)


def _fits(layer: SuspectLayer, axes: tuple[int, ...]) -> bool:
    """Return whether weights and biases have the shape that other axes need."""
    sizes = [layer.inputs[0].shape[axis] for axis in axes]
    shapes = [array.shape for array in layer.weights.values()]
    return all(shape in (tuple(sizes), (int(np.prod(sizes)),)) for shape in shapes)


def _said(layer: SuspectLayer) -> str:
    if layer.kind == "group_norm":
        return f"{int(layer.get('groups'))} groups"
    if layer.kind == "instance_norm":
        return "each channel by itself"
    return f"axes {_listed(axes_of(layer, layer.inputs[0].ndim))}"


def _listed(axes: tuple[int, ...]) -> str:
    return ", ".join(map(str, axes))


NORMS = (eps, affine, statistics, over)
