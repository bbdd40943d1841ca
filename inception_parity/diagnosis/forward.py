"""What a layer computes, with whatever mistake describes it: float64, NumPy alone.

Not `inception_np`: its layers can't be wrong, and these have to be able to be, with
paddings that differ per side, dilation, offsets, fills.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np

from .activations import activated
from .interpolation import resized
from .normalisations import normalised
from .recurrences import recurrent
from .suspect import Array, Pads, SuspectLayer

Inputs = Sequence[Array]
Channels = Sequence[int] | None  # those wanted of the output; None: all
_Function = Callable[[SuspectLayer, Inputs, Channels], Array]
UNFIT = "its arrays and settings don't fit each other"  # NumPy's own words say less
FEW = 8  # channels of a convolution that are computed in another way than all of them


class CannotComputeError(Exception):
    """With this mistake the layer is impossible: a window larger than its input, say."""


def compute(layer: SuspectLayer, channels: Channels = None) -> Array:
    """Return the layer's output, or some channels of it.

    Raises:
        CannotComputeError: a layer with this mistake can't be computed.
    """
    before = layer.kept.get("before")
    known = None if before is None else before.kept.get("output")
    posts = layer.post if known is None else layer.post[-1:]
    early = channels if all(post.elementwise for post in posts) else None
    try:
        with np.errstate(all="ignore"):  # what a mistake makes may be huge, or not a number
            if known is None:
                y = _LAYERS.get(layer.kind, _known_output)(layer, layer.inputs, early)
            else:
                y = take(known, early)
            for post in posts:
                y = post.apply(y)
        return take(y, channels) if early is None else y
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise CannotComputeError(UNFIT) from error


def output_of(layer: SuspectLayer) -> Array:
    """Return the layer's output, computed once for all who ask; it mustn't be changed.

    Raises:
        CannotComputeError: as `compute`.
    """
    if "output" not in layer.kept:
        layer.kept["output"] = compute(layer)
    output: Array = layer.kept["output"]
    return output


def matching_output(layer: SuspectLayer) -> Array:
    """Return the layer's output, to be compared value by value with what was observed.

    Raises:
        CannotComputeError: it can't be computed, or has another shape.
    """
    y = output_of(layer)
    if not layer.same_shape or y.shape != layer.seen.shape:
        raise CannotComputeError(f"shape {y.shape}, but something else was seen")
    return y


def residual(layer: SuspectLayer) -> Array:
    """Return what is observed beyond what the layer gives; raises as `matching_output`."""
    return layer.seen - matching_output(layer)


def take(array: Array, channels: Channels) -> Array:
    """Return some channels, or all."""
    return array if channels is None or array.ndim < 2 else array[:, list(channels)]


def pad(x: Array, pads: Pads, mode: str, fill: float) -> Array:
    """Pad (N, C, H, W); negative pads crop."""
    (top, bottom), (left, right) = pads
    height, width = x.shape[2:]
    x = x[:, :, max(0, -top) : height - max(0, -bottom), max(0, -left) : width - max(0, -right)]
    sides = [(0, 0), (0, 0), (max(0, top), max(0, bottom)), (max(0, left), max(0, right))]
    if not any(sides[2] + sides[3]):
        return x
    if mode == "constant":
        return np.pad(x, sides, constant_values=fill)
    padding_mode: Any = mode
    return np.pad(x, sides, mode=padding_mode)


def same_pads(size: Sequence[int], kernel: Any, stride: Any, dilation: Any = (1, 1)) -> Any:
    """Return TensorFlow's SAME padding along any number of axes; the odd zero goes to the end."""
    pads = []
    for length, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        zeros = max((math.ceil(length / s) - 1) * s + (k - 1) * d + 1 - length, 0)
        pads.append((zeros // 2, zeros - zeros // 2))
    return tuple(pads)


def padded(layer: SuspectLayer, x: Array, fill: float) -> Array:
    """Return a window layer's input, padded, without the rows and columns it skips."""
    fill = fill if layer.get("fill") is None else layer.get("fill")
    x = pad(x, layer.get("pads"), layer.get("pad_mode"), fill)
    down, right = layer.get("offset")
    return x[:, :, down:, right:]


def _out(length: int, kernel: int, stride: int, dilation: int) -> int:
    size = (length - dilation * (kernel - 1) - 1) // stride + 1
    if length <= 0 or size <= 0:
        raise CannotComputeError("the window is larger than the input")
    return size


def kernel_of(layer: SuspectLayer) -> tuple[int, int]:
    """Return (height, width) of the window."""
    if layer.kind == "conv":
        return layer.weights["weight"].shape[2], layer.weights["weight"].shape[3]
    height, width = layer.get("kernel")
    return int(height), int(width)


def window_views(layer: SuspectLayer, x: Array) -> Iterator[tuple[tuple[int, int], Array]]:
    """Yield ((u, v), view): for each element of the window, what it sees at all positions."""
    kernel, stride, dilation = kernel_of(layer), layer.get("stride"), layer.get("dilation")
    height = _out(x.shape[2], kernel[0], stride[0], dilation[0])
    width = _out(x.shape[3], kernel[1], stride[1], dilation[1])
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            top, left = u * dilation[0], v * dilation[1]
            yield (u, v), x[
                :, :, top : top + (height - 1) * stride[0] + 1 : stride[0],
                left : left + (width - 1) * stride[1] + 1 : stride[1],
            ]  # fmt: skip


def _conv(layer: SuspectLayer, inputs: Inputs, channels: Channels) -> Array:
    weight, groups = layer.weights["weight"], int(layer.get("groups"))
    x = padded(layer, inputs[0], 0.0)
    rows = list(range(len(weight)) if channels is None else channels)
    if x.ndim != 4 or weight.shape[1] * groups != x.shape[1] or len(weight) % groups:
        raise CannotComputeError("the kernel has other channels than the input")
    if groups == 1 and len(rows) <= FEW:
        return _with_bias(layer, _few_channels(layer, x, weight[rows]), rows)
    group_of = [row // (len(weight) // groups) for row in rows]
    y: Any = sum(
        _tap(weight[rows, :, u, v], seen, groups, group_of)
        for (u, v), seen in window_views(layer, x)
    )
    return _with_bias(layer, y, rows)


def _tap(taps: Array, seen: Array, groups: int, group_of: list[int]) -> Array:
    """Return what one element of the kernel, for each output channel, makes of what it sees."""
    if groups == 1:
        flat = np.matmul(taps, seen.reshape(*seen.shape[:2], -1))
        return np.reshape(flat, (len(seen), len(taps), *seen.shape[2:]))
    if taps.shape[1] == 1:  # depthwise
        return taps[:, 0, None, None] * seen[:, group_of]
    parts = seen.reshape(len(seen), groups, taps.shape[1], *seen.shape[2:])
    chosen = [np.tensordot(parts[:, g], t, axes=([1], [0]))
              for g, t in zip(group_of, taps, strict=True)]  # fmt: skip
    return np.stack(chosen, axis=1)


def _few_channels(layer: SuspectLayer, x: Array, weight: Array) -> Array:
    """Return a convolution to few channels: products with all of `x`, of which parts are added.

    That copies no windows of `x`, which is most of the work where there are few channels.
    """
    stride, dilation = layer.get("stride"), layer.get("dilation")
    out, channels, rows, columns = weight.shape
    height = _out(x.shape[2], rows, stride[0], dilation[0])
    width = _out(x.shape[3], columns, stride[1], dilation[1])
    flat = x.reshape(*x.shape[:2], -1)
    y = np.zeros((len(x), out, height, width))
    for u in range(rows):
        taps = weight[:, :, u].transpose(2, 0, 1).reshape(-1, channels)
        product = np.matmul(taps, flat).reshape(len(x), columns, out, *x.shape[2:])
        top = u * dilation[0]
        for v in range(columns):
            left = v * dilation[1]
            y += product[
                :, v, :, top : top + (height - 1) * stride[0] + 1 : stride[0],
                left : left + (width - 1) * stride[1] + 1 : stride[1],
            ]  # fmt: skip
    return y


def _dense(layer: SuspectLayer, inputs: Inputs, channels: Channels) -> Array:
    weight = layer.weights["weight"]
    if inputs[0].ndim > 2:  # the features are along the last axis, and the channels steps
        return take(inputs[0] @ weight.T + layer.weights.get("bias", 0.0), channels)
    rows = list(range(len(weight)) if channels is None else channels)
    return _with_bias(layer, inputs[0] @ weight[rows].T, rows)


def _with_bias(layer: SuspectLayer, y: Array, rows: list[int]) -> Array:
    bias = layer.weights.get("bias")
    return y if bias is None else y + per_channel(bias[rows], y.ndim)


def per_channel(array: Any, ndim: int) -> Any:
    """Shape (C,) so that it multiplies (N, C, …)."""
    return np.reshape(array, (-1,) + (1,) * (ndim - 2)) if np.ndim(array) else array


def _norm(layer: SuspectLayer, inputs: Inputs, channels: Channels) -> Array:
    x, w = take(inputs[0], channels), layer.weights
    get: dict[str, Any] = {k: v if channels is None else v[list(channels)] for k, v in w.items()}
    mean, var = get.get("running_mean", np.float64(0.0)), get.get("running_var", np.float64(1.0))
    if layer.get("statistics") in ("batch", "instance"):
        axes = (0, *range(2, x.ndim)) if layer.get("statistics") == "batch" else (2, 3)
        mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
        count = x.size // mean.size
        var = var * count / max(1, count - 1) if layer.get("unbiased") else var
    else:
        mean, var = per_channel(mean, x.ndim), per_channel(var, x.ndim)
    eps = float(layer.get("eps") or 0.0)
    root = np.sqrt(var) + eps if layer.get("eps_outside") else np.sqrt(var + eps)
    y = (x - mean) / root * per_channel(get.get("weight", np.float64(1.0)), x.ndim)
    return y + per_channel(get.get("bias", np.float64(0.0)), x.ndim)


def _after_ceil(layer: SuspectLayer, shape: tuple[int, ...]) -> Pads:
    """Return what is added at the end, so that ceil mode has all its windows.

    PyTorch's rule: a window has to start in the input, or in the padding before it.
    """
    if not layer.get("ceil"):
        return (0, 0), (0, 0)
    more = []
    for length, k, s, d, (before, after) in zip(
        shape[2:], layer.get("kernel"), layer.get("stride"), layer.get("dilation"),
        layer.get("pads"), strict=True,
    ):  # fmt: skip
        reach = length + before + after - d * (k - 1) - 1
        count = -(-reach // s) + 1
        if (count - 1) * s >= length + before:
            count -= 1
        more.append((0, max(0, (count - 1) * s - reach)))
    return more[0], more[1]


def _max_pool(layer: SuspectLayer, x: Array) -> Array:
    beyond = _after_ceil(layer, x.shape)
    x = pad(padded(layer, x, -np.inf), beyond, "constant", -np.inf)
    return np.array(reduce(np.maximum, (seen for _, seen in window_views(layer, x))))


def _avg_pool(layer: SuspectLayer, x: Array) -> Array:
    beyond = _after_ceil(layer, x.shape)
    ones = np.ones((1, 1, *x.shape[2:]))
    counted = padded(layer.but(fill=None), ones, 1.0 if layer.get("count_include_pad") else 0.0)
    counted = pad(counted, beyond, "constant", 0.0)
    x = pad(padded(layer, x, 0.0), beyond, "constant", 0.0)
    total, count = (sum(seen for _, seen in window_views(layer, each)) for each in (x, counted))
    divisors: dict[str, Any] = {"never": 1, "window": np.prod(kernel_of(layer))}
    return np.array(total / divisors.get(layer.get("divide"), count))


def _adaptive_pool(layer: SuspectLayer, x: Array) -> Array:
    (rows, columns), (height, width) = layer.get("output"), x.shape[2:]
    y = np.empty((*x.shape[:2], rows, columns))
    value_of = np.max if layer.get("reduce") == "max" else np.mean
    for i in range(rows):
        for j in range(columns):
            window = x[
                :, :, i * height // rows : -(-(i + 1) * height // rows),
                j * width // columns : -(-(j + 1) * width // columns),
            ]  # fmt: skip
            y[:, :, i, j] = value_of(window, axis=(2, 3))
    return y


def _global_pool(layer: SuspectLayer, x: Array) -> Array:
    value_of: Any = {"max": np.max, "sum": np.sum}.get(layer.get("reduce"), np.mean)
    return np.array(value_of(x, axis=(2, 3), keepdims=layer.reference.ndim == 4))


def _act(layer: SuspectLayer, inputs: Inputs, channels: Channels) -> Array:
    whole = layer.get("function") in ("softmax", "log_softmax")
    x = inputs[0] if whole else take(inputs[0], channels)
    y = activated(x, layer.attributes)
    if y is None:
        raise CannotComputeError(f"no activation {layer.get('function')!r}")
    return take(y, channels) if whole else y


def _prelu(layer: SuspectLayer, x: Array) -> Array:
    weight = layer.weights["weight"]
    slope = per_channel(weight, x.ndim) if weight.ndim == 1 else weight
    return np.where(x < 0, slope * x, x)


def _flatten(layer: SuspectLayer, x: Array) -> Array:
    x = x.transpose(0, *(1 + np.array(layer.get("order")))) if layer.get("order") else x
    return x.reshape(len(x), -1)


def _lrn(layer: SuspectLayer, x: Array) -> Array:
    size = int(layer.get("size"))
    total = channel_sums(x**2, size)
    return np.array(x / (layer.get("k") + layer.get("alpha") / size * total) ** layer.get("beta"))


def channel_sums(x: Array, size: int) -> Array:
    """Return the sum over the `size` channels around each."""
    before, after = size // 2, (size - 1) // 2
    x = np.pad(x, ((0, 0), (before, after), (0, 0), (0, 0)))
    count = x.shape[1] - size + 1
    return np.array(sum(x[:, i : i + count] for i in range(size)))


def _affine(layer: SuspectLayer, x: Array) -> Array:
    scale, shift = (per_channel(np.asarray(layer.get(a)), x.ndim) for a in ("scale", "shift"))
    return np.array(x * scale + shift)


def _slice(layer: SuspectLayer, x: Array) -> Array:
    if layer.get("ranges"):
        for where, range_ in layer.get("ranges").items():
            x = x[(slice(None),) * int(where) + (slice(*map(int, range_)),)]
        return x
    if layer.get("index") is None:
        raise CannotComputeError("what is taken isn't known")
    index, where = int(layer.get("index")), int(layer.get("axis"))
    return np.take(x, index, axis=where)


def _resize(layer: SuspectLayer, x: Array) -> Array:
    return resized(x, layer.get("rule"), layer.get("size"), bool(layer.get("single")))


def _identity(layer: SuspectLayer, inputs: Inputs, channels: Channels) -> Array:
    return take(inputs[0] if inputs else layer.reference, channels)


def _known_output(layer: SuspectLayer, inputs: Inputs, channels: Channels) -> Array:
    return take(layer.reference, channels)


def _by_channel(function: Callable[..., Array]) -> _Function:
    """Make an output's channels out of the same channels of the input, and of those alone."""
    return lambda layer, inputs, channels: function(layer, take(inputs[0], channels))


def _whole(function: Callable[..., Array]) -> _Function:
    """Make the whole output, of which some channels are taken."""
    return lambda layer, inputs, channels: take(function(layer, *inputs), channels)


def _add(layer: SuspectLayer, first: Array, *others: Array) -> Array:
    shortcut, residual = layer.get("shortcut_scale"), layer.get("residual_scale")
    total: Array = shortcut * first + residual * np.sum(others, axis=0)
    return total


_LAYERS: dict[str, _Function] = {
    "conv": _conv,
    "dense": _dense,
    "norm": _norm,
    "max_pool": _by_channel(_max_pool),
    "avg_pool": _by_channel(_avg_pool),
    "adaptive_pool": _by_channel(_adaptive_pool),
    "global_pool": _by_channel(_global_pool),
    "act": _act,
    "prelu": _whole(_prelu),
    "concat": _whole(lambda layer, *xs: np.concatenate(xs, axis=int(layer.get("axis") or 1))),
    "add": _whole(_add),
    "flatten": _whole(_flatten),
    "layer_norm": _whole(normalised),
    "rms_norm": _whole(normalised),
    "group_norm": _whole(normalised),
    "instance_norm": _whole(normalised),
    "lrn": _whole(_lrn),
    "lstm": _whole(recurrent),
    "gru": _whole(recurrent),
    "rnn": _whole(recurrent),
    "slice": _whole(_slice),
    "affine": _whole(_affine),
    "resize": _by_channel(_resize),
    "dropout": _identity,
    "input": _identity,
    "output": _identity,
}
