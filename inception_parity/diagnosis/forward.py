"""What a layer computes, with whatever mistake describes it: float64, NumPy alone.

Not `inception_np`: its layers can't be wrong, and these have to be able to be, with
paddings that differ per side, dilation, offsets, fills.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .activations import activated
from .arrays import (
    CannotComputeError,
    Channels,
    out_side,
    padded,
    per_channel,
    take,
    window_views,
)
from .attentions import attended, attention, embedding
from .interpolation import resized
from .normalisations import normalised
from .pooling import adaptive_pool, avg_pool, global_pool, max_pool
from .recurrences import recurrent
from .suspect import Array, SuspectLayer
from .transposed import (
    padded_image,
    reduced,
    to_depth,
    to_space,
    transposed,
    unit_length,
)

Inputs = Sequence[Array]
_Function = Callable[[SuspectLayer, Inputs, Channels], Array]
UNFIT = "its arrays and settings don't fit each other"  # NumPy's own words say less
FEW = 8  # channels of a convolution that are computed in another way than all of them


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
    height = out_side(x.shape[2], rows, stride[0], dilation[0])
    width = out_side(x.shape[3], columns, stride[1], dilation[1])
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
    "max_pool": _by_channel(max_pool),
    "avg_pool": _by_channel(avg_pool),
    "adaptive_pool": _by_channel(adaptive_pool),
    "global_pool": _by_channel(global_pool),
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
    "conv_transpose": _whole(transposed),
    "depth_to_space": _whole(to_space),
    "space_to_depth": _whole(to_depth),
    "l2_normalize": _whole(unit_length),
    "mean": _whole(reduced),
    "max": _whole(reduced),
    "sum": _whole(reduced),
    "pad": _whole(padded_image),
    "attention": _whole(attention),
    "attention_core": _whole(attended),
    "embedding": _whole(embedding),
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
