"""What a layer computes, with whatever mistake describes it: float64, NumPy alone.

Not `inception_np`: its layers can't be wrong, and these have to be able to be, with
paddings that differ per side, dilation, offsets, fills.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .suspect import Array, Pads, Post, SuspectLayer

Channels = Sequence[int] | None  # those wanted of the output; None: all
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
    if before is not None and "output" in before.kept:
        return _then(layer.post[-1], before.kept["output"], channels)
    early = channels if all(post.elementwise for post in layer.post) else None
    inputs = []
    for array in layer.inputs:
        for pre in layer.pre:
            array = pre.apply(array)
        inputs.append(array)
    compute_kind = _LAYERS.get(layer.kind, _known_output)
    try:
        with np.errstate(all="ignore"):  # what a mistake makes may be huge, or not a number
            y = compute_kind(layer, inputs, early)
            for post in layer.post:
                y = post.apply(y)
        return y if channels is None or early is not None else take(y, channels)
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise CannotComputeError(UNFIT) from error


def _then(post: Post, y: Array, channels: Channels) -> Array:
    """Return what is left of a known output after something was done to it."""
    try:
        with np.errstate(all="ignore"):
            if post.elementwise:
                return post.apply(take(y, channels))
            return take(post.apply(y), channels)
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


def window_views(x: Array, kernel: Any, stride: Any, dilation: Any) -> Any:
    """Yield ((u, v), view): for each element of the window, what it sees at all positions."""
    height = _out(x.shape[2], kernel[0], stride[0], dilation[0])
    width = _out(x.shape[3], kernel[1], stride[1], dilation[1])
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            top, left = u * dilation[0], v * dilation[1]
            yield (u, v), x[
                :, :, top : top + (height - 1) * stride[0] + 1 : stride[0],
                left : left + (width - 1) * stride[1] + 1 : stride[1],
            ]  # fmt: skip


def _conv(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    weight, bias = layer.weights["weight"], layer.weights.get("bias")
    x, groups = padded(layer, inputs[0], 0.0), int(layer.get("groups"))
    rows = list(range(len(weight)) if channels is None else channels)
    if x.ndim != 4 or weight.shape[1] * groups != x.shape[1] or len(weight) % groups:
        raise CannotComputeError("the kernel has other channels than the input")
    y: Any = 0.0
    if groups == 1 and len(rows) <= FEW:
        y = _few_channels(x, weight[rows], layer.get("stride"), layer.get("dilation"))
        return y + bias[rows][:, None, None] if bias is not None else y
    per_group = len(weight) // groups
    for (u, v), seen in window_views(
        x, weight.shape[2:], layer.get("stride"), layer.get("dilation")
    ):
        taps = weight[rows, :, u, v]
        if groups == 1:
            flat = np.matmul(taps, seen.reshape(*seen.shape[:2], -1))
            y = y + flat.reshape(len(seen), len(rows), *seen.shape[2:])
        elif weight.shape[1] == 1:  # depthwise
            y = y + taps[:, 0, None, None] * seen[:, [r // per_group for r in rows]]
        else:
            parts = seen.reshape(len(seen), groups, weight.shape[1], *seen.shape[2:])
            chosen = [np.tensordot(parts[:, r // per_group], t, axes=([1], [0]))
                      for r, t in zip(rows, taps, strict=True)]  # fmt: skip
            y = y + np.stack(chosen, axis=1)
    return y + bias[rows][:, None, None] if bias is not None else y


def _few_channels(x: Array, weight: Array, stride: Any, dilation: Any) -> Array:
    """Return a convolution to few channels: products with all of `x`, of which parts are added.

    That copies no windows of `x`, which is most of the work where there are few channels.
    """
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


def _dense(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    weight, bias = layer.weights["weight"], layer.weights.get("bias")
    rows = list(range(len(weight)) if channels is None else channels)
    y: Array = inputs[0] @ weight[rows].T
    return y + bias[rows] if bias is not None else y


def per_channel(array: Any, ndim: int) -> Any:
    """Shape (C,) so that it multiplies (N, C, …)."""
    return np.reshape(array, (-1,) + (1,) * (ndim - 2)) if np.ndim(array) else array


def _norm(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
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


def _max_pool(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    x = take(inputs[0], channels)
    beyond = _after_ceil(layer, x.shape)
    x = pad(padded(layer, x, -np.inf), beyond, "constant", -np.inf)
    y: Any = None
    for _, seen in window_views(x, layer.get("kernel"), layer.get("stride"), layer.get("dilation")):
        y = seen if y is None else np.maximum(y, seen)
    return np.array(y)


def _avg_pool(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    x = take(inputs[0], channels)
    beyond = _after_ceil(layer, x.shape)
    ones = np.ones((1, 1, *x.shape[2:]))
    counted = padded(layer.but(fill=None), ones, 1.0 if layer.get("count_include_pad") else 0.0)
    counted = pad(counted, beyond, "constant", 0.0)
    x = pad(padded(layer, x, 0.0), beyond, "constant", 0.0)
    kernel, steps = layer.get("kernel"), (layer.get("stride"), layer.get("dilation"))
    total = sum(seen for _, seen in window_views(x, kernel, *steps))
    count = sum(seen for _, seen in window_views(counted, kernel, *steps))
    if layer.get("divide") == "never":
        return np.array(total)
    return np.array(total / (kernel[0] * kernel[1] if layer.get("divide") == "window" else count))


def _adaptive_pool(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    x = take(inputs[0], channels)
    (rows, columns), (height, width) = layer.get("output"), x.shape[2:]
    y = np.empty((*x.shape[:2], rows, columns))
    reduce = np.max if layer.get("reduce") == "max" else np.mean
    for i in range(rows):
        for j in range(columns):
            window = x[
                :, :, i * height // rows : -(-(i + 1) * height // rows),
                j * width // columns : -(-(j + 1) * width // columns),
            ]  # fmt: skip
            y[:, :, i, j] = reduce(window, axis=(2, 3))
    return y


def _global_pool(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    x = take(inputs[0], channels)
    reduce: dict[str, Callable[..., Array]] = {"max": np.max, "sum": np.sum}
    keep = layer.reference.ndim == 4
    return reduce.get(layer.get("reduce"), np.mean)(x, axis=(2, 3), keepdims=keep)


_ERF_STEP, _ERF_END = 1 / 32, 6.0  # beyond which erf is 1 in float64


def _erf_table() -> Array:
    """Return erf's Taylor coefficients, up to the 7th, at every step from 0 to the end."""
    at = np.arange(0, _ERF_END + _ERF_STEP, _ERF_STEP)
    terms = [np.array([math.erf(a) for a in at]), 2 / math.sqrt(math.pi) * np.exp(-(at**2))]
    for n in range(1, 7):  # of the derivatives: d[n + 1] = -2 a d[n] - 2 (n - 1) d[n - 1]
        terms.append(-2 * at * terms[n] - 2 * (n - 1) * terms[n - 1] * (n > 1))
    return np.stack([term / math.factorial(n) for n, term in enumerate(terms)])


_ERF = _erf_table()


def erf(x: Array) -> Array:
    """Return the error function, to float64's precision; NumPy has none."""
    size = np.fmin(np.abs(x), _ERF_END)
    at = np.rint(size / _ERF_STEP).astype(np.intp)
    apart = size - at * _ERF_STEP
    y: Any = 0.0
    for terms in _ERF[::-1]:
        y = y * apart + terms[at]
    return np.array(np.sign(x) * y)


def softmax(x: Array) -> Array:
    """Return the softmax along the channels."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "selu": lambda x: 1.0507009873554805 * np.where(
        x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0.0))
    ),
    "softplus": lambda x: np.logaddexp(0.0, x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: (
        0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0.0, 1.0),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0.0, 1.0),
    "abs": np.abs,
    "linear": lambda x: x,
}  # fmt: skip


def _act(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    name = layer.get("function")
    if name == "softmax":
        return take(softmax(inputs[0]), channels)
    if name not in ACTIVATIONS:
        raise CannotComputeError(f"no activation {name!r}")
    return ACTIVATIONS[name](take(inputs[0], channels))


def _concat(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    return take(np.concatenate(inputs, axis=int(layer.get("axis") or 1)), channels)


def _add(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    return take(np.sum(inputs, axis=0), channels)


def _flatten(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    x = inputs[0]
    x = x.transpose(0, *(1 + np.array(layer.get("order")))) if layer.get("order") else x
    return take(x.reshape(len(x), -1), channels)


def _lrn(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    x, size = inputs[0], int(layer.get("size"))
    total = channel_sums(x**2, size)
    y = x / (layer.get("k") + layer.get("alpha") / size * total) ** layer.get("beta")
    return take(y, channels)


def channel_sums(x: Array, size: int) -> Array:
    """Return the sum over the `size` channels around each."""
    before, after = size // 2, (size - 1) // 2
    x = np.pad(x, ((0, 0), (before, after), (0, 0), (0, 0)))
    count = x.shape[1] - size + 1
    return np.array(sum(x[:, i : i + count] for i in range(size)))


def _affine(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    x = inputs[0]
    y = x * per_channel(np.asarray(layer.get("scale")), x.ndim)
    return take(y + per_channel(np.asarray(layer.get("shift")), x.ndim), channels)


def _identity(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    return take(inputs[0] if inputs else layer.reference, channels)


def _known_output(layer: SuspectLayer, inputs: list[Array], channels: Channels) -> Array:
    return take(layer.reference, channels)


_LAYERS: dict[str, Callable[[SuspectLayer, list[Array], Channels], Array]] = {
    "conv": _conv,
    "dense": _dense,
    "norm": _norm,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_pool": _adaptive_pool,
    "global_pool": _global_pool,
    "act": _act,
    "concat": _concat,
    "add": _add,
    "flatten": _flatten,
    "lrn": _lrn,
    "affine": _affine,
    "dropout": _identity,
    "input": _identity,
    "output": _identity,
}
