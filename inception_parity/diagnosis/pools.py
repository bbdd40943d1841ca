"""Mistakes of pools: window, ceil mode, what is counted, maximum or mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .forward import same_pads
from .mends import layer_line, words
from .site import Candidate, Pads, Site
from .windows import NONE, out_size, say_pads


def count(site: Site) -> Iterator[Candidate]:
    """Whether the mean counts the padding, and by what it is divided."""
    counted = bool(site.get("count_include_pad"))
    is_, should = ("counts", "shouldn't") if not counted else ("doesn't count", "should")
    text = f"the average pool {is_} its padding, but {should}"
    yield Candidate(
        "pad-counted", text, count_mend(counted), site.but(count_include_pad=not counted)
    )
    window = "every window is divided by its full size, also where it reaches beyond the padding"
    mend = layer_line(site)
    yield Candidate("pad-counted", window, mend, site.but(divide="window"), 2)
    yield Candidate("sum-for-mean", "the sum of the window, not its mean", mend,
                    site.but(divide="never"))  # fmt: skip


def count_mend(counted: bool) -> dict[str, str]:
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


def exchanged(site: Site) -> Iterator[Candidate]:
    """Maximum for mean, mean for maximum."""
    mend = layer_line(site)
    if site.kind == "max_pool":
        text = "the mean of each window, but should be the maximum"
        for counted in (False, True):
            mean = replace(site.but(count_include_pad=counted), kind="avg_pool")
            said = text + (" (counting the padding)" if counted else "")
            yield Candidate("average-for-max", said, mend, mean)
    elif site.kind == "avg_pool":
        text = "the maximum of each window, but should be the mean"
        yield Candidate("max-for-average", text, mend, replace(site, kind="max_pool"))
    else:
        text = "the maximum, but should be the mean"
        yield Candidate("max-for-average", text, mend, site.but(reduce="max"))
        yield Candidate("sum-for-mean", "the sum, but should be the mean", mend,
                        site.but(reduce="sum"))  # fmt: skip


def ceil(site: Site) -> Iterator[Candidate]:
    """Ceil mode, or none."""
    on = bool(site.get("ceil"))
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
    mend = words(
        pt=f"ceil_mode={on}", tf=keras, mx=f"ceil_mode={on}", onnx=f"ceil_mode = {int(on)}",
        other=f"ceil_mode={on}",
    )  # fmt: skip
    yield Candidate("ceil-mode", text, mend, site.but(ceil=not on))


def window(site: Site) -> Iterator[Candidate]:
    """Another window, with some padding that gives the size that was seen."""
    right = tuple(site.get("kernel"))
    stride = tuple(site.get("stride"))
    for side in range(1, max(right) + 3):
        if (side, side) == right:
            continue
        other = site.but(kernel=(side, side), ceil=False)
        size = site.inputs[0].shape[2:]
        same = same_pads(size, (side, side), stride)
        options: dict[Pads, None] = {site.get("pads"): None, same: None, NONE: None}
        sides = [(i, j) for i in range(min(side, 4)) for j in range(min(side, 4))]
        options.update({(p, p): None for p in sides})
        for pads in options:
            if out_size(other, pads) != site.seen.shape[2:]:
                continue
            text = f"a window of {side}x{side}, but should be {right[0]}x{right[1]}"
            said = text if pads == site.get("pads") else f"{text} (padded {say_pads(pads)})"
            mend = layer_line(site, extra=f"window {right[0]}x{right[1]}")
            cost = 1 if pads in (site.get("pads"), same) else 2
            yield Candidate("window", said, mend, other.but(pads=pads), cost)


def window_and_stride(site: Site) -> Iterator[Candidate]:
    """Windows of one size in place of adaptive or global ones, or the other way round."""
    height, width = site.seen.shape[2:] if site.seen.ndim == 4 else (1, 1)
    rows, columns = site.inputs[0].shape[2:]
    mend = layer_line(site)
    if site.kind in ("avg_pool", "max_pool"):
        adaptive = replace(site.but(output=(height, width)), kind="adaptive_pool")
        if site.kind == "max_pool":
            adaptive = adaptive.but(reduce="max")
        text = f"an adaptive pool to {height}x{width}, but should be windows of one size"
        yield Candidate("adaptive", text, mend, adaptive, 2)
        return
    options = [(side, step) for side in range(1, 9) for step in range(1, 9)]
    whole = rows // height, rows - (height - 1) * (rows // height)
    for side, step in dict.fromkeys([(whole[1], whole[0]), *options]):
        fixed = replace(
            site.but(kernel=(side, side), stride=(step, step), pads=NONE), kind="avg_pool"
        )
        if side <= min(rows, columns) and out_size(fixed, NONE) == (height, width):
            text = f"windows of {side}x{side} at stride {step}, but should be {_adaptive(site)}"
            yield Candidate("adaptive", text, mend, fixed, 2)


def _adaptive(site: Site) -> str:
    if site.kind == "global_pool":
        return "one over all of the image"
    return "adaptive: from floor(i H / n) to ceil((i + 1) H / n)"


MAX = (exchanged, ceil, window, window_and_stride)
AVERAGE = (count, exchanged, ceil, window, window_and_stride)
WHOLE = (exchanged, window_and_stride)
