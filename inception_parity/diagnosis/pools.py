"""Mistakes of pools: window, ceil mode, what is counted, maximum or mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from .arrays import same_pads
from .fixes import argument, fix
from .suspect import Candidate, Pads, SuspectLayer
from .windows import NONE, out_size, say_pads


def count(layer: SuspectLayer) -> Iterator[Candidate]:
    """Whether the mean counts the padding, and by what it is divided."""
    counted = bool(layer.get("count_include_pad"))
    is_, should = ("counts", "shouldn't") if not counted else ("doesn't count", "should")
    text = f"the average pool {is_} its padding, but {should}"
    line = fix(layer, "count-padding" if counted else "leave-padding-out")
    yield Candidate("pad-counted", text, layer.but(count_include_pad=not counted), fix=line)
    mistake = partial(Candidate, fix=fix(layer, "as-reference"))
    window = "every window is divided by its full size, also where it reaches beyond the padding"
    yield mistake("pad-counted", window, layer.but(divide="window"), 2)
    yield mistake("sum-for-mean", "the sum of the window, not its mean", layer.but(divide="never"))


def exchanged(layer: SuspectLayer) -> Iterator[Candidate]:
    """The maximum instead of the mean, or vice versa."""
    mistake = partial(Candidate, fix=fix(layer, "as-reference"))
    if layer.kind == "max_pool":
        text = "the mean of each window, but should be the maximum"
        for counted, how in ((False, ""), (True, " (counting the padding)")):
            mean = replace(layer.but(count_include_pad=counted), kind="avg_pool")
            yield mistake("average-for-max", text + how, mean)
    elif layer.kind == "avg_pool":
        text = "the maximum of each window, but should be the mean"
        yield mistake("max-for-average", text, replace(layer, kind="max_pool"))
    else:
        largest, total = layer.but(reduce="max"), layer.but(reduce="sum")
        yield mistake("max-for-average", "the maximum, but should be the mean", largest)
        yield mistake("sum-for-mean", "the sum, but should be the mean", total)


def ceil(layer: SuspectLayer) -> Iterator[Candidate]:
    """Ceil mode, or none."""
    on = bool(layer.get("ceil"))
    text = (
        "floor mode, but should be ceil mode: the last rows and columns aren't looked at"
        if on
        else "ceil mode, but should be floor mode: a last window reaches beyond the input"
    )
    line = fix(layer, "ceil-mode" if on else "floor-mode")
    yield Candidate("ceil-mode", text, layer.but(ceil=not on), fix=line)


def window(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another window, with some padding that gives the size that was seen."""
    right, padding = tuple(layer.get("kernel")), layer.get("pads")
    should = f"{right[0]}x{right[1]}"
    mistake = partial(Candidate, "window", fix=argument(layer, f"window {should}"))
    for side in range(1, max(right) + 3):
        if (side, side) == right:
            continue
        other = layer.but(kernel=(side, side), ceil=False)
        same = same_pads(layer.inputs[0].shape[2:], (side, side), layer.get("stride"))
        options: dict[Pads, None] = {padding: None, same: None, NONE: None}
        sides = [(i, j) for i in range(min(side, 4)) for j in range(min(side, 4))]
        options.update({(p, p): None for p in sides})
        for pads in options:
            if out_size(other, pads) == layer.seen.shape[2:]:
                text = f"a window of {side}x{side}, but should be {should}"
                said = text if pads == padding else f"{text} (padded {say_pads(pads)})"
                yield mistake(said, other.but(pads=pads), 1 if pads in (padding, same) else 2)


def window_and_stride(layer: SuspectLayer) -> Iterator[Candidate]:
    """Windows of one size instead of adaptive or global ones, or vice versa."""
    mistake = partial(Candidate, "adaptive", cost=2, fix=fix(layer, "as-reference"))
    height, width = layer.seen.shape[2:] if layer.seen.ndim == 4 else (1, 1)
    rows, columns = layer.inputs[0].shape[2:]
    if layer.kind in ("avg_pool", "max_pool"):
        adaptive = replace(layer.but(output=(height, width)), kind="adaptive_pool")
        if layer.kind == "max_pool":
            adaptive = adaptive.but(reduce="max")
        text = f"an adaptive pool to {height}x{width}, but should be windows of one size"
        yield mistake(text, adaptive)
        return
    options = [(side, step) for side in range(1, 9) for step in range(1, 9)]
    whole = rows // height, rows - (height - 1) * (rows // height)
    for side, step in dict.fromkeys([(whole[1], whole[0]), *options]):
        settings = {"kernel": (side, side), "stride": (step, step), "pads": NONE}
        fixed = replace(layer.but(**settings), kind="avg_pool")
        if side <= min(rows, columns) and out_size(fixed, NONE) == (height, width):
            text = f"windows of {side}x{side} at stride {step}, but should be {_adaptive(layer)}"
            yield mistake(text, fixed)


def _adaptive(layer: SuspectLayer) -> str:
    if layer.kind == "global_pool":
        return "one over all of the image"
    return "adaptive: from floor(i H / n) to ceil((i + 1) H / n)"


MAX = (exchanged, ceil, window, window_and_stride)
AVERAGE = (count, exchanged, ceil, window, window_and_stride)
WHOLE = (exchanged, window_and_stride)
