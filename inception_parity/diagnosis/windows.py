"""Mistakes of every layer with windows: padding, dilation, stride, where the first window is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from . import fixes
from .arrays import CannotComputeError, kernel_of, same_pads
from .forward import compute, output_of
from .suspect import Candidate, Pads, SuspectLayer

NONE: Pads = ((0, 0), (0, 0))


def out_size(layer: SuspectLayer, pads: Pads) -> tuple[int, ...]:
    """Return (height, width) of the output, in floor mode."""
    return tuple(
        (length + sum(side) - d * (k - 1) - 1) // s + 1
        for length, side, k, s, d in zip(
            layer.inputs[0].shape[2:], pads, kernel_of(layer), layer.get("stride"),
            layer.get("dilation"), strict=True,
        )
    )  # fmt: skip


def say_pads(pads: Pads) -> str:
    """Write pads: `2 before and 3 after`, or both directions."""
    (top, bottom), (left, right) = pads
    if (top, bottom) == (left, right):
        return f"{top} on each side" if top == bottom else f"{top} before and {bottom} after"
    if top == bottom and left == right:
        return f"{top} in height and {left} in width"
    return f"{top}, {bottom} in height and {left}, {right} in width"


def padding(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another padding: SAME, none at all, more on one side than on the other."""
    mistake = partial(Candidate, "padding", fix=fixes.padding(layer))
    right, wanted = layer.get("pads"), layer.seen.shape[2:]
    kernel = kernel_of(layer)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, layer.get("dilation"), strict=True)]
    steps = layer.get("stride"), layer.get("dilation")
    same = same_pads(layer.inputs[0].shape[2:], kernel, *steps)
    options: dict[Pads, None] = {same: None, NONE: None}
    per_side = [[(i, j) for i in range(r) for j in range(r)] for r in reach]
    if max(reach) <= 3 or min(reach) == 1:
        options.update(dict.fromkeys(product(per_side[0], per_side[1])))
    elif reach[0] == reach[1]:
        options.update({(side, side): None for side in per_side[0]})
    for pads in options:
        if pads == right or out_size(layer, pads) != wanted:
            continue
        if pads == same:
            what = f"SAME padding ({say_pads(pads)})"
        elif pads == NONE:
            what = "no padding"
        else:
            uneven = pads[0][0] != pads[0][1] or pads[1][0] != pads[1][1]
            what = f"{'asymmetric ' if uneven else ''}padding: {say_pads(pads)}"
        text = f"{what}, but should be {say_pads(right)}"
        yield mistake(text, layer.but(pads=pads, ceil=False), 1 if pads in (same, NONE) else 2)


def padding_values(layer: SuspectLayer) -> Iterator[Candidate]:
    """Padded with something other than zeros, or -infinity in a max pool."""
    if not any(np.ravel(layer.get("pads"))):
        return
    right = "-infinity" if layer.kind == "max_pool" else "zeros"
    mistake = partial(Candidate, fix=fixes.argument(layer, f"padding of {right}"))
    for mode, what in (("reflect", "the image reflected"), ("edge", "its edge repeated"),
                       ("wrap", "its opposite side")):  # fmt: skip
        text = f"padding holds {what}, but should hold {right}"
        yield mistake("padding-mode", text, layer.but(pad_mode=mode), 2)
    if layer.kind == "max_pool":
        text = "padding holds zeros, which win over negative values, but should hold -infinity"
        yield mistake("padding-value", text, layer.but(fill=0.0))
    elif layer.same_shape:
        value = _fitted_fill(layer)
        if value is not None:
            text = f"padding holds {value:.6g}, but should hold zeros"
            yield mistake("padding-value", text, layer.but(fill=value), 3)


def _fitted_fill(layer: SuspectLayer) -> float | None:
    """Return the value that a padding would need to hold, by least squares."""
    try:
        base = output_of(layer)
        effect = compute(layer.but(fill=1.0)) - base
    except CannotComputeError:
        return None
    size = float(np.vdot(effect, effect))
    if not size or base.shape != layer.seen.shape:
        return None
    value = float(np.vdot(effect, layer.seen - base)) / size
    return value if np.isfinite(value) and value else None


def dilation(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another dilation, with the same padding or one that keeps the size."""
    right, right_pads = layer.get("dilation"), layer.get("pads")
    if max(kernel_of(layer)) == 1:
        return
    mistake = partial(
        Candidate, "dilation", cost=1 if layer.kind == "conv" else 3,  # few dilate a pool
        fix=fixes.argument(layer, f"dilation {right[0]}"),
    )  # fmt: skip
    for d in (1, 2, 3, 4):
        if (d, d) == tuple(right):
            continue
        wide = layer.but(dilation=(d, d))
        text = f"dilation {d}, but should be {right[0]}"
        if out_size(wide, right_pads) == layer.seen.shape[2:]:
            yield mistake(text, wide)
        (top, bottom), (left, right_) = right_pads
        pads: Pads = (d * top, d * bottom), (d * left, d * right_)
        if pads != right_pads and out_size(wide, pads) == layer.seen.shape[2:]:
            yield mistake(f"{text} (padded {say_pads(pads)})", wide.but(pads=pads))


def stride(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another stride; where it gives more than was seen, cut to size."""
    right = tuple(layer.get("stride"))
    mistake = partial(Candidate, "stride", fix=fixes.argument(layer, f"stride {_short(right)}"))
    height, width = layer.seen.shape[2:]
    for steps in ((1, 1), (2, 2), (3, 3), (4, 4), (1, 2), (2, 1)):
        changed = layer.but(stride=steps)
        out = out_size(changed, layer.get("pads"))
        if steps == right or min(out) < 1 or out[0] < height or out[1] < width:
            continue
        text = f"stride {_short(steps)}, but should be {_short(right)}"
        if out == (height, width):
            yield mistake(text, changed)
        elif min(right) > 1 and min(steps) > 1:
            cut = changed.then("cut to size", lambda y: y[:, :, :height, :width])
            yield mistake(f"{text}; cut to {height}x{width}", cut, 3)


def offset(layer: SuspectLayer) -> Iterator[Candidate]:
    """Windows that start later than they should, where no padding can say so."""
    if any(np.ravel(layer.get("pads"))):
        return
    mistake = partial(Candidate, "stride-offset", fix=fixes.fix(layer, "as-reference"))
    for late in range(1, max(layer.get("stride"))):
        text = f"the first window starts at row and column {late} instead of 0"
        for after in (0, late):
            pads = ((0, after), (0, after))
            yield mistake(text, layer.but(pads=pads, offset=(late, late)))


def _short(size: tuple[int, ...]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


EVERY = (padding, padding_values, dilation, stride, offset)
