"""Mistakes of layers that resize images: another rule, another size, float32 inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from ..numerics import UNIT_ROUNDOFF
from .fixes import fix
from .interpolation import RULES
from .precision import rounded
from .suspect import Candidate, SuspectLayer

_FIXES = {
    "centres": "resize-centres", "corners": "resize-corners", "aligned": "resize-aligned",
    "antialiased": "resize-antialiased", "nearest": "resize-nearest",
    "nearest-centres": "resize-nearest-centres",
}  # fmt: skip


def another_rule(layer: SuspectLayer) -> Iterator[Candidate]:
    """Resized by another rule or to another size, possibly with float32 inside."""
    if layer.seen.ndim != 4:
        return
    right, size, seen = layer.get("rule"), layer.get("size"), layer.seen.shape[2:]
    line = _as_reference(layer)
    cause, is_, should = "resize", "", ""
    if seen != tuple(size):
        cause = "resize-size"
        is_, should = (" to {}x{}".format(*shape) for shape in (seen, size))
    limit = _limit_in_float32(layer)
    for rule, what in RULES.items():
        if rule != right:
            text = f"resized{is_} by {what}, but should be{should} by {RULES[right]}"
        elif is_:
            text = f"resized{is_}, but should be{should}"
        else:
            continue
        cost = 1 + bool(is_ and rule != right)
        found = Candidate(cause, text, layer.but(rule=rule, size=seen), cost, fix=line)
        yield found
        if limit > layer.limit:
            yield replace(found, text=f"{text}; in float32", cost=cost + 1, limit=limit)


def in_float32(layer: SuspectLayer) -> Iterator[Candidate]:
    """The right rule, but float32 inside, whatever the dtype of the images."""
    if layer.dtype != "float64":
        return
    line = fix(layer, "resize-in-float64", dtype=layer.dtype)
    text = f"positions of pixels are computed in float32, but should be in {layer.dtype}"
    yield Candidate("downcast", text, layer.but(single=True), fix=line)
    if layer.same_shape and np.array_equal(rounded(layer.seen, "float32"), layer.seen):
        text = f"resized in float32, but should be in {layer.dtype}"
        evidence = "every value of its output is a number of float32"
        single = layer.but(single=True).then("rounded", partial(rounded, dtype="float32"))
        limit = _limit_in_float32(layer)
        yield Candidate("downcast", text, single, 0, fix=line, limit=limit, evidence=evidence)


def _as_reference(layer: SuspectLayer) -> str:
    """Return how the layer's framework resizes as the reference does."""
    height, width = layer.get("size")
    rule = str(layer.get("rule"))
    return fix(
        layer, _FIXES.get(rule, "resize-rule"),
        size=(height, width), height=height, width=width, rule=RULES.get(rule, rule),
    )  # fmt: skip


def _limit_in_float32(layer: SuspectLayer) -> float:
    """Return what is left of the true rule where a framework computes it in float32.

    A position near the last of n pixels is then off by up to 2 n units of roundoff, and a
    value by as much times what neighbours differ by. TensorFlow resizing noise comes to half
    of this limit, resizing photographs to less than a tenth.
    """
    if layer.dtype != "float64":
        return layer.limit
    largest = max(*layer.inputs[0].shape[2:], *layer.seen.shape[2:])
    return max(layer.limit, (2 * largest + 8) * UNIT_ROUNDOFF["float32"])


RESIZE = (another_rule, in_float32)
