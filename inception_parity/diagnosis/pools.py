"""Mistakes of pools: window, ceil mode, what is counted, maximum or mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .fixes import layer_line, words
from .forward import same_pads
from .suspect import Candidate, Pads, SuspectLayer
from .windows import NONE, out_size, say_pads


def count(layer: SuspectLayer) -> Iterator[Candidate]:
    """Whether the mean counts the padding, and by what it is divided."""
    counted = bool(layer.get("count_include_pad"))
    is_, should = ("counts", "shouldn't") if not counted else ("doesn't count", "should")
    text = f"the average pool {is_} its padding, but {should}"
    yield Candidate(
        "pad-counted", text, count_fix(counted), layer.but(count_include_pad=not counted)
    )
    window = "every window is divided by its full size, also where it reaches beyond the padding"
    fix = layer_line(layer)
    yield Candidate("pad-counted", window, fix, layer.but(divide="window"), 2)
    yield Candidate("sum-for-mean", "the sum of the window, not its mean", fix,
                    layer.but(divide="never"))  # fmt: skip


def count_fix(counted: bool) -> dict[str, str]:
    """Return how a framework is told whether an average pool counts its padding."""
    keras = (
        'ZeroPadding2D before AveragePooling2D(…, padding="valid"), which counts the zeros'
        if counted
        else 'AveragePooling2D(…, padding="same"), which never counts the padding'
    )
    return dict(words(
        pt=f"nn.AvgPool2d(…, count_include_pad={counted})", tf=keras,
        mx=f"nn.AvgPool2D(…, count_include_pad={counted})",
        onnx=f"count_include_pad = {int(counted)}",
        other=f"count_include_pad={counted}",
    ))  # fmt: skip


def exchanged(layer: SuspectLayer) -> Iterator[Candidate]:
    """The maximum instead of the mean, or vice versa."""
    fix = layer_line(layer)
    if layer.kind == "max_pool":
        text = "the mean of each window, but should be the maximum"
        for counted in (False, True):
            mean = replace(layer.but(count_include_pad=counted), kind="avg_pool")
            said = text + (" (counting the padding)" if counted else "")
            yield Candidate("average-for-max", said, fix, mean)
    elif layer.kind == "avg_pool":
        text = "the maximum of each window, but should be the mean"
        yield Candidate("max-for-average", text, fix, replace(layer, kind="max_pool"))
    else:
        text = "the maximum, but should be the mean"
        yield Candidate("max-for-average", text, fix, layer.but(reduce="max"))
        yield Candidate("sum-for-mean", "the sum, but should be the mean", fix,
                        layer.but(reduce="sum"))  # fmt: skip


def ceil(layer: SuspectLayer) -> Iterator[Candidate]:
    """Ceil mode, or none."""
    on = bool(layer.get("ceil"))
    text = (
        "floor mode, but should be ceil mode: the last rows and columns aren't looked at"
        if on
        else "ceil mode, but should be floor mode: a last window reaches beyond the input"
    )
    keras = (
        "ops.pad(x, …, constant_values=-inf) at the end, so that the last window fits"
        if on
        else 'padding="valid", with the padding stated before'
    )
    fix = words(
        pt=f"ceil_mode={on}", tf=keras, mx=f"ceil_mode={on}", onnx=f"ceil_mode = {int(on)}",
        other=f"ceil_mode={on}",
    )  # fmt: skip
    yield Candidate("ceil-mode", text, fix, layer.but(ceil=not on))


def window(layer: SuspectLayer) -> Iterator[Candidate]:
    """Another window, with some padding that gives the size that was seen."""
    right = tuple(layer.get("kernel"))
    stride = tuple(layer.get("stride"))
    for side in range(1, max(right) + 3):
        if (side, side) == right:
            continue
        other = layer.but(kernel=(side, side), ceil=False)
        size = layer.inputs[0].shape[2:]
        same = same_pads(size, (side, side), stride)
        options: dict[Pads, None] = {layer.get("pads"): None, same: None, NONE: None}
        sides = [(i, j) for i in range(min(side, 4)) for j in range(min(side, 4))]
        options.update({(p, p): None for p in sides})
        for pads in options:
            if out_size(other, pads) != layer.seen.shape[2:]:
                continue
            text = f"a window of {side}x{side}, but should be {right[0]}x{right[1]}"
            said = text if pads == layer.get("pads") else f"{text} (padded {say_pads(pads)})"
            fix = layer_line(layer, extra=f"window {right[0]}x{right[1]}")
            cost = 1 if pads in (layer.get("pads"), same) else 2
            yield Candidate("window", said, fix, other.but(pads=pads), cost)


def window_and_stride(layer: SuspectLayer) -> Iterator[Candidate]:
    """Windows of one size instead of adaptive or global ones, or vice versa."""
    height, width = layer.seen.shape[2:] if layer.seen.ndim == 4 else (1, 1)
    rows, columns = layer.inputs[0].shape[2:]
    fix = layer_line(layer)
    if layer.kind in ("avg_pool", "max_pool"):
        adaptive = replace(layer.but(output=(height, width)), kind="adaptive_pool")
        if layer.kind == "max_pool":
            adaptive = adaptive.but(reduce="max")
        text = f"an adaptive pool to {height}x{width}, but should be windows of one size"
        yield Candidate("adaptive", text, fix, adaptive, 2)
        return
    options = [(side, step) for side in range(1, 9) for step in range(1, 9)]
    whole = rows // height, rows - (height - 1) * (rows // height)
    for side, step in dict.fromkeys([(whole[1], whole[0]), *options]):
        fixed = replace(
            layer.but(kernel=(side, side), stride=(step, step), pads=NONE), kind="avg_pool"
        )
        if side <= min(rows, columns) and out_size(fixed, NONE) == (height, width):
            text = f"windows of {side}x{side} at stride {step}, but should be {_adaptive(layer)}"
            yield Candidate("adaptive", text, fix, fixed, 2)


def _adaptive(layer: SuspectLayer) -> str:
    if layer.kind == "global_pool":
        return "one over all of the image"
    return "adaptive: from floor(i H / n) to ceil((i + 1) H / n)"


MAX = (exchanged, ceil, window, window_and_stride)
AVERAGE = (count, exchanged, ceil, window, window_and_stride)
WHOLE = (exchanged, window_and_stride)
