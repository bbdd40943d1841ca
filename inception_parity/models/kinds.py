"""Kinds that are described alike for every framework: windows, pools, reductions, paddings, …"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..diagnosis.arrays import same_pads
from .layers import Settings
from .layouts import LAST, Tag
from .operations import Call, Described


def reshape(call: Call) -> Described:
    """Return a flattening, if the result has two axes, or another reshaping."""
    return ("flatten" if len(call.output.shape) == 2 else "reshape"), {}


def dense(call: Call) -> Described:
    """Return a dense layer, if what the input is multiplied by is a parameter."""
    return ("dense" if "weight" in call.weights else call.name), {}


def clip(low: Any, high: Any) -> Described:
    """Return values cut at both ends, or a ReLU if that is what it is."""
    if low == 0 and high in (6, None):
        return "act", {"function": "relu6" if high == 6 else "relu"}
    return "act", {"function": "clip", "low": low, "high": high}


def reduction(
    reduce: str, axes: str, kind: str = "", keep: str = "keepdims keepdim keep_dims"
) -> Callable[[Call], Described]:
    """Return what describes a mean or maximum over some axes.

    Args:
        reduce: `mean`, `max` or `sum`.
        axes: the argument that has them.
        kind: what it is, if it isn't a global pool; `reduce` by default.
        keep: the argument that says whether the axes are kept.
    """

    def described(call: Call) -> Described:
        where = sorted(call.axis(each) for each in np.ravel(call.get(axes, ())))
        every = list(range(2, len(call.x.shape)))
        if reduce != "sum" and len(every) > 1 and where == every:
            return "global_pool", {"reduce": reduce}
        kept = bool(call.get(keep)) or len(call.output.shape) == len(call.x.shape)
        return kind or reduce, {"axes": where, "keep": kept}

    return described


def whole_cut(
    sizes: Sequence[int], output: Sequence[int], window: Settings, before: Any = None
) -> list[tuple[int, int]]:
    """Return what a transposed convolution cuts off its whole output on each side.

    Args:
        sizes: the input's, along the spatial axes.
        output: the output's.
        window: kernel, stride and dilation.
        before: what is cut before; by default the smaller half.
    """
    found = []
    for i, (size, out) in enumerate(zip(sizes, output, strict=True)):
        reach = window["dilation"][i] * (window["kernel"][i] - 1) + 1
        total = (int(size) - 1) * window["stride"][i] + reach - int(out)
        first = max(0, total) // 2 if before is None else int(before[i])
        found.append((first, total - first))
    return found


def adaptive_pool(output: Any, sizes: Sequence[int], reduce: str) -> Described:
    """Return a pool to a stated size, which is a global pool if every side is 1.

    Args:
        output: the size, one number for all axes or one for each; None: as it is.
        sizes: the input's, along the spatial axes.
        reduce: `mean` or `max`.
    """
    wanted = output if isinstance(output, (tuple, list)) else (output,) * len(sizes)
    sides = tuple(own if side is None else side for side, own in zip(wanted, sizes, strict=True))
    if set(sides) == {1}:
        return "global_pool", {"reduce": reduce}
    return "adaptive_pool", {"output": sides, "reduce": reduce}


def window(
    kernel: Sequence[int],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = None,
    sizes: Sequence[int] = (),
) -> Settings:
    """Return the settings of what moves over the spatial axes.

    Args:
        kernel: its size along each.
        stride: one number for all axes, or one for each.
        padding: the same; or a pair for each, (before, after); or a framework's word: `same`, …
        dilation: like `stride`; None for what has none.
        sizes: the input's, which `same` depends on.
    """
    axes = len(kernel)
    stride = per_axis(stride, axes)
    steps = per_axis(1 if dilation is None else dilation, axes)
    word = padding.upper() if isinstance(padding, str) else ""
    pads: Any
    if word.startswith("SAME"):
        pads = same_pads(sizes, kernel, stride, steps)
        if word == "SAME_LOWER":
            pads = [pair[::-1] for pair in pads]
    elif word == "CAUSAL":
        pads = [(steps[0] * (kernel[0] - 1), 0)]
    elif word:  # VALID, or ONNX's NOTSET without pads
        pads = [(0, 0)] * axes
    elif isinstance(padding, (tuple, list)) and isinstance(padding[0], (tuple, list)):
        pads = padding
    else:
        pads = [(side, side) for side in per_axis(padding, axes)]
    found = {"kernel": tuple(kernel), "stride": stride, "pads": pads}
    return found if dilation is None else {**found, "dilation": steps}


def per_axis(value: Any, axes: int) -> tuple[int, ...]:
    """Return one number per axis, from one for all or one for each."""
    values = tuple(int(v) for v in value) if isinstance(value, (tuple, list)) else (int(value),)
    return values * axes if len(values) == 1 else values


def window_pool(
    reduce: str, window: Settings, ceil: Any = False, count_include_pad: Any = False
) -> Described:
    """Return a pool over windows.

    Args:
        reduce: `mean` or `max`.
        window: its settings.
        ceil: whether a last window may reach beyond the input.
        count_include_pad: whether a mean counts its padding.
    """
    if reduce == "mean":
        counts = bool(count_include_pad)
        return "avg_pool", {**window, "ceil": bool(ceil), "count_include_pad": counts}
    return "max_pool", {"dilation": (1,) * len(window["kernel"]), **window, "ceil": bool(ceil)}


def zero_pad(
    pads: Sequence[Any], tag: Tag = None, mode: str = "constant", fill: Any = 0.0
) -> Described:
    """Return a padding, of which the spatial axes are kept.

    Args:
        pads: (before, after) for every axis.
        tag: the input's layout.
        mode: `constant`, `reflect`, …
        fill: the constant, a number or an array of one.
    """
    spatial = pads[1:-1] if tag == LAST else pads[2:]
    return "pad", {"pads": spatial, "mode": mode, "fill": number(fill)}


def group_norm(groups: int, eps: float, call: Call) -> Described:
    """Return a group norm, or an instance norm if every channel is a group of its own."""
    channels = int(call.x.shape[-1 if call.tag == LAST else 1])
    if groups in (-1, channels):
        return "instance_norm", {"eps": eps}
    return "group_norm", {"groups": groups, "eps": eps}


def last_axes(call: Call, count: int) -> tuple[int, ...]:
    """Return the last so many axes of the first activation, in the shared layout."""
    ndim = len(call.x.shape)
    return tuple(sorted(call.axis(axis) for axis in range(ndim - count, ndim)))


def indexed(key: Any, call: Call) -> Described:
    """Return a Python index: one element along an axis, or a range along each."""
    shape = call.x.shape
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(each is Ellipsis for each in keys):
        at = next(i for i, each in enumerate(keys) if each is Ellipsis)
        used = sum(each is not None for each in keys) - 1
        keys[at : at + 1] = [slice(None)] * (len(shape) - used)
    if not all(each is None or isinstance(each, (int, slice)) for each in keys):
        return "slice", {}
    added = any(each is None for each in keys)
    keys = [each for each in keys if each is not None]
    keys += [slice(None)] * (len(shape) - len(keys))
    full = [
        isinstance(each, slice) and each.indices(int(size)) == (0, int(size), 1)
        for each, size in zip(keys, shape, strict=True)
    ]
    if all(full):
        return "reshape", {}
    if added or (any(isinstance(k, int) for k in keys) and full.count(False) > 1):
        return "slice", {}
    where = full.index(False)
    if isinstance(keys[where], int):
        return taken(where, keys[where], call)
    ranges = {
        str(call.axis(i)): each.indices(int(size))
        for i, (each, size) in enumerate(zip(keys, shape, strict=True))
        if not full[i]
    }
    kept = [end - begin == 1 for begin, end, _ in ranges.values()]
    if len(kept) == 1 and all(kept):
        _, settings = taken(where, next(iter(ranges.values()))[0], call)
        return "narrow", settings  # as a slice, but the axis is kept
    return "slice", {"ranges": ranges}


def taken(where: int, index: int, call: Call) -> Described:
    """Return one element along an axis: of several, or the only one."""
    size = int(call.x.shape[where])
    if size == 1:
        return "reshape", {}
    index %= size
    return "slice", {"axis": call.axis(where), "index": -1 if index == size - 1 else index}


def resize(call: Call, rule: str, size: Sequence[int]) -> Described:
    """Return a resize of images to (height, width); one without a known rule is as it is called."""
    if not rule or len(size) != 2:
        return call.name, {}
    return "resize", {"rule": rule, "size": tuple(int(side) for side in size)}


def number(value: Any) -> float:
    """Return the number that an array of one element holds."""
    return float(np.ravel(value)[0])
