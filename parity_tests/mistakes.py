"""Small layers with one mistake each, computed here in plain NumPy, for the diagnosis to name.

Nothing of `inception_parity.diagnosis` computes here: the right outputs come from
the oracle's layers, the wrong ones from the lines below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import inception_np.layers as layers
import inception_np.pools as pools
from inception_parity.diagnosis import Site
from inception_parity.numerics import to_dtype


@dataclass(frozen=True)
class Mistake:
    """One layer gone wrong: the causes that may be named for it, and words of the text."""

    name: str
    causes: tuple[str, ...]
    site: Callable[[], Site]
    says: str = ""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def images(channels: int, height: int, width: int, seed: int = 1) -> Any:
    """Not symmetric in any direction: a slope and noise."""
    x = rng(seed).standard_normal((2, channels, height, width))
    return x + np.linspace(-1, 1, height)[:, None] + 2 * np.linspace(0, 1, width)


def convolve(x: Any, w: Any, b: Any = None, stride: int = 1, pads: Any = ((0, 0), (0, 0)),
             step: int = 1, mode: str = "constant", value: float = 0.0) -> Any:  # fmt: skip
    how: dict[str, Any] = {"constant_values": value} if mode == "constant" else {}
    x = np.pad(x, ((0, 0), (0, 0), *pads), mode=mode, **how)  # type: ignore[call-overload]
    reach = [(k - 1) * step + 1 for k in w.shape[2:]]
    seen = sliding_window_view(x, reach, axis=(2, 3))[:, :, ::stride, ::stride, ::step, ::step]
    y = np.einsum("nchwuv,ocuv->nohw", seen, w)
    return y if b is None else y + b[:, None, None]


def pooled(x: Any, kernel: int, stride: int, pads: Any, how: Any, value: float) -> Any:
    x = np.pad(x, ((0, 0), (0, 0), *pads), constant_values=value)
    seen = sliding_window_view(x, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    return how(seen, axis=(-2, -1))


def both(before: int, after: int) -> Any:
    return (before, after), (before, after)


# A site of each kind, right so far: `observed` is the reference.


def conv(size: Any = (12, 11), ins: int = 5, outs: int = 6, kernel: Any = 3, stride: int = 1,
         padding: Any = 1, bias: bool = True) -> Site:  # fmt: skip
    layer = layers.Conv2d(ins, outs, kernel, stride, padding, bias)
    layer.weight = rng(2).standard_normal(layer.weight.shape)
    weights = {"weight": layer.weight}
    if bias:
        layer.bias = weights["bias"] = rng(3).standard_normal(outs)
    x = images(ins, *size)
    y = layer(x)
    top, left = layer.padding
    attributes = {"stride": layer.stride, "pads": ((top, top), (left, left))}
    return Site("c", "conv", (x,), y, y, attributes, weights, "pt")


def norm() -> Site:
    x = 3 * images(7, 6, 5) + rng(4).standard_normal((7, 1, 1))
    layer = layers.BatchNorm2d(7, 1e-3)
    layer.weight, layer.bias = rng(5).uniform(0.5, 2, 7), rng(6).standard_normal(7)
    layer.running_mean = rng(7).standard_normal(7)
    layer.running_var = rng(8).uniform(0.01, 4, 7)
    y = layer(x)
    return Site("n", "norm", (x,), y, y, {"eps": 1e-3}, layer.arrays(), "tf")


def max_pool(kernel: int = 3, stride: int = 2, padding: int = 1, ceil: bool = False,
             size: Any = (12, 11)) -> Site:  # fmt: skip
    x = images(4, *size) - 3  # negative values, so that zeros in the padding would win
    y = pools.MaxPool(kernel, stride, padding, ceil)(x)
    attributes = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "pads": both(padding, padding),
                  "ceil": ceil}  # fmt: skip
    return Site("m", "max_pool", (x,), y, y, attributes, backend="mx")


def avg_pool(kernel: int = 3, stride: int = 1, padding: int = 1, counted: bool = False,
             size: Any = (9, 8)) -> Site:  # fmt: skip
    x = images(4, *size)
    y = pools.AvgPool(kernel, stride, padding, count_include_pad=counted)(x)
    attributes = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "pads": both(padding, padding),
                  "count_include_pad": counted}  # fmt: skip
    return Site("a", "avg_pool", (x,), y, y, attributes, backend="tf")


def adaptive() -> Site:
    x = images(4, 14, 13)
    y = pools.AdaptiveAvgPool(4)(x)
    return Site("p", "adaptive_pool", (x,), y, y, {"output": (4, 4)}, backend="pt")


def global_pool() -> Site:
    x = images(9, 5, 4)
    y = pools.GlobalAvgPool()(x)
    return Site("g", "global_pool", (x,), y, y, backend="pt")


def act() -> Site:
    x = 4 * images(5, 6, 7) - 2
    y = layers.ReLU()(x)
    return Site("r", "act", (x,), y, y, backend="pt")


def dense(ins: int = 36, outs: int = 10) -> Site:
    x = rng(9).standard_normal((3, ins))
    layer = layers.Linear(ins, outs)
    layer.weight, layer.bias = rng(10).standard_normal((outs, ins)), rng(11).standard_normal(outs)
    y = layer(x)
    return Site("d", "dense", (x,), y, y, {}, layer.arrays(), "tf")


def concat() -> Site:
    xs = [images(c, 4, 5, 20 + i) for i, c in enumerate((3, 4, 4, 2))]
    y = layers.Concat()(*xs)
    return Site("j", "concat", tuple(xs), y, y, backend="pt")


def flatten() -> Site:
    x = images(3, 4, 5)
    y = layers.Flatten()(x)
    return Site("f", "flatten", (x,), y, y, backend="tf")


def lrn() -> Site:
    x = 20 * images(12, 4, 5)
    y = layers.LocalResponseNorm(5, 1e-4, 0.75, 1.0)(x)
    constants = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
    return Site("l", "lrn", (x,), y, y, constants, backend="mx")


def dropout() -> Site:
    x = rng(12).standard_normal((3, 200))
    return Site("o", "dropout", (x,), x, x, {"p": 0.4}, backend="pt")


def fed() -> Site:
    x = np.tanh(images(3, 10, 12))
    return Site("input", "input", (x,), x, x, backend="pt")


def transform() -> Site:
    x = images(3, 5, 6)
    layer = layers.TransformInput()
    y = layer(x)
    return Site("t", "affine", (x,), y, y, {"scale": layer.scale, "shift": layer.shift})


def output() -> Site:
    x = rng(13).standard_normal((4, 10))
    return Site("logits", "output", (x,), x, x, backend="tf")


def added() -> Site:
    xs = images(5, 4, 6, 30), images(5, 4, 6, 31)
    return Site("s", "add", xs, xs[0] + xs[1], xs[0] + xs[1], backend="pt")


# The mistakes.


def wrong(make: Callable[[], Site], compute: Callable[..., Any]) -> Callable[[], Site]:
    """Return a function to a site whose observed output is `compute(site)`."""

    def site() -> Site:
        right = make()
        return replace(right, observed=np.asarray(compute(right), dtype=np.float64))

    return site


def w(site: Site) -> Any:
    return site.weights["weight"]


def b(site: Site) -> Any:
    return site.weights.get("bias")


def x(site: Site) -> Any:
    return site.inputs[0]


def kernel_is(change: Callable[[Any], Any]) -> Callable[[Site], Any]:
    return lambda s: convolve(x(s), change(w(s)), b(s), 1, both(1, 1))


def on_output(change: Callable[[Any], Any]) -> Callable[[Site], Any]:
    return lambda s: change(s.reference)


def on_input(change: Callable[[Any], Any]) -> Callable[[Site], Any]:
    return lambda s: convolve(change(x(s)), w(s), b(s), 1, both(1, 1))


def normed(s: Site, eps: float = 1e-3, **others: Any) -> Any:
    v = {**s.weights, **others}
    v = {k: np.reshape(a, (-1, 1, 1)) for k, a in v.items()}
    return (x(s) - v["running_mean"]) / np.sqrt(v["running_var"] + eps) * v["weight"] + v["bias"]


def own_statistics(ddof: int) -> Callable[[Site], Any]:
    def compute(s: Site) -> Any:
        axes = (0, 2, 3)
        return normed(s, running_mean=x(s).mean(axes), running_var=x(s).var(axes, ddof=ddof))

    return compute


def local_norm(size: int, alpha: float, beta: float, k: float) -> Callable[[Site], Any]:
    return lambda s: layers.LocalResponseNorm(size, alpha, beta, k)(x(s))


def in_bfloat16(s: Site) -> Any:
    def short(a: Any) -> Any:
        return to_dtype(a, "bfloat16").astype(np.float64)

    return short(convolve(short(x(s)), short(w(s)), short(b(s)), 1, both(1, 1)))


def in_float32(s: Site) -> Any:
    small = [a.astype(np.float32) for a in (x(s), w(s), b(s))]
    return convolve(*small, 1, both(1, 1))


def one_less(a: Any) -> Any:
    a = a.copy()
    a[2, 1, 0, 2] *= 1 + 1e-6
    return a


def dropped(y: Any, p: float, channels: bool = False) -> Any:
    shape = (*y.shape[:2], 1, 1) if channels else y.shape
    return y * (rng(40).random(shape) >= p) / (1 - p)


def row(*values: float) -> Any:
    return np.reshape(values, (-1, 1, 1))


def some_nan(y: Any) -> Any:
    y = y.copy()
    y[0, 1, 2, 3] = np.nan
    return y


def first(size: Any = (12, 11)) -> Site:
    return conv(size, ins=3)


def wired() -> Site:
    site = conv()
    other = images(5, 12, 11, 50)
    decoy = images(5, 12, 11, 51)
    seen = convolve(other, w(site), b(site), 1, both(1, 1))
    others = {"b2.act": lambda: decoy, "b1.norm": lambda: other}
    return replace(site, observed=seen, others=others)


# fmt: off
def mistakes() -> Iterator[Mistake]:
    """Yield every mistake."""

    def m(name: str, causes: str, make: Any, compute: Any, says: str = "") -> Mistake:
        return Mistake(name, tuple(causes.split("|")), wrong(make, compute), says)

    stem = lambda: conv((12, 12), 3, 6, 7, 2, 3)  # noqa: E731
    yield m("SAME at stride 2", "padding", stem,
            lambda s: convolve(x(s), w(s), b(s), 2, both(2, 3)), "SAME padding (2 before and 3")
    yield m("SAME for none", "padding", lambda: conv((12, 12), 3, 4, 3, 2, 0),
            lambda s: convolve(x(s), w(s), b(s), 2, both(0, 1)), "SAME")
    yield m("no padding", "padding", conv, lambda s: convolve(x(s), w(s), b(s)), "no padding")
    yield m("padding after only", "padding", conv,
            lambda s: convolve(x(s), w(s), b(s), 1, both(0, 2)), "asymmetric")
    yield m("padding before only", "padding", conv,
            lambda s: convolve(x(s), w(s), b(s), 1, both(2, 0)), "asymmetric")
    yield m("reflected padding", "padding-mode", conv,
            lambda s: convolve(x(s), w(s), b(s), 1, both(1, 1), mode="reflect"), "reflected")
    yield m("padding of 0.5", "padding-value", conv,
            lambda s: convolve(x(s), w(s), b(s), 1, both(1, 1), value=0.5), "0.5")
    yield m("dilation 2", "dilation", conv,
            lambda s: convolve(x(s), w(s), b(s), 1, both(2, 2), step=2), "dilation 2")
    yield m("dilation 2, padding kept", "dilation", lambda: conv(padding=2),
            lambda s: convolve(x(s), w(s), b(s), 1, both(2, 2), step=2), "dilation 2")
    yield m("stride 1 for 2", "stride", lambda: conv(stride=2),
            lambda s: convolve(x(s), w(s), b(s), 1, both(1, 1)), "stride 1")
    yield m("first window a pixel late", "stride-offset", lambda: conv((12, 12), 5, 6, 1, 2, 0),
            lambda s: convolve(x(s)[:, :, 1:, 1:], w(s), b(s), 2), "row and column 1")
    yield m("flipped kernel", "kernel-flipped", conv, kernel_is(lambda k: k[:, :, ::-1, ::-1]))
    yield m("mirrored kernel", "kernel-flipped", conv, kernel_is(lambda k: k[:, :, :, ::-1]))
    yield m("transposed kernel", "kernel-transposed", conv, kernel_is(lambda k: k.swapaxes(2, 3)))
    yield m("7x1 for 1x7", "kernel-transposed", lambda: conv(kernel=(1, 7), padding=(0, 3)),
            lambda s: convolve(x(s), w(s).swapaxes(2, 3), b(s), 1, ((3, 3), (0, 0))))
    yield m("in for out", "kernel-io", lambda: conv(outs=5), kernel_is(lambda k: k.swapaxes(0, 1)))
    yield m("HWIO reshaped", "kernel-reshaped", conv,
            kernel_is(lambda k: k.transpose(2, 3, 1, 0).reshape(k.shape)))
    yield m("input channels reversed", "channel-order", conv, kernel_is(lambda k: k[:, ::-1]))
    yield m("output channels reversed", "channel-order", conv, on_output(lambda y: y[:, ::-1]))
    yield m("BGR at the first layer", "channel-order", first, on_input(lambda a: a[:, ::-1]),
            "BGR")
    yield m("0 … 255 at the first layer", "scale", first, on_input(lambda a: 128 * a + 127.5),
            "times 128 plus 127.5")
    yield m("mean and std at the first layer", "scale", first,
            on_input(lambda a: a * np.reshape([1, 2, 3], (3, 1, 1)) + 0.5))
    yield m("image transposed at the first layer", "image-turned|kernel-transposed + image-turned",
            lambda: first((11, 11)), on_input(lambda a: a.swapaxes(2, 3)))
    yield m("no bias", "bias-missing", conv, lambda s: convolve(x(s), w(s), None, 1, both(1, 1)))
    yield m("bias twice", "bias-doubled", conv,
            lambda s: convolve(x(s), w(s), 2 * b(s), 1, both(1, 1)))
    yield m("bias shifted", "bias-order", conv,
            lambda s: convolve(x(s), w(s), np.roll(b(s), 1), 1, both(1, 1)), "shifted by 1")
    yield m("one weight 1e-6 off", "one-weight", conv, kernel_is(one_less), "weight[2, 1, 0, 2]")
    yield m("other weights", "other-weights", lambda: conv((14, 14), 3),
            kernel_is(lambda k: rng(60).standard_normal(k.shape)))
    yield m("weights of zero", "weights-zero", conv, kernel_is(np.zeros_like))
    yield m("weights times 3", "weights-scaled", conv, kernel_is(lambda k: 3 * k), "times 3")
    yield m("in bfloat16", "downcast", conv, in_bfloat16, "bfloat16")
    yield m("in float32", "downcast", conv, in_float32, "float32")
    yield m("weights in float16", "downcast", conv,
            kernel_is(lambda k: k.astype(np.float16).astype(np.float64)), "float16")
    yield m("surplus ReLU", "activation-surplus", conv, on_output(lambda y: np.maximum(y, 0)))
    yield m("images exchanged", "batch-order", conv, on_output(lambda y: y[::-1]))
    yield m("output transposed", "image-turned", lambda: conv((9, 9)),
            on_output(lambda y: y.swapaxes(2, 3)))
    yield m("a NaN", "not-finite", conv, on_output(some_nan), "first at [0, 1, 2, 3]")
    yield m("twice as large", "output-scaled", act, on_output(lambda y: 2 * y), "times 2")
    yield m("dropout after it", "dropout-active", conv, on_output(lambda y: dropped(y, 0.3)))
    yield m("channels dropped", "dropout-active", conv, on_output(lambda y: dropped(y, 0.4, True)),
            "whole channels")
    yield Mistake("fed from another", ("wired-otherwise",), wired, "takes b1.norm")
    yield from _of_norms(m)
    yield from _of_pools(m)
    yield from _of_the_rest(m)


def _of_norms(m: Any) -> Iterator[Mistake]:
    yield m("eps 1e-5", "eps", norm, lambda s: normed(s, 1e-5), "1e-05, but should be 0.001")
    yield m("eps 3.7e-4", "eps", norm, lambda s: normed(s, 3.7e-4), "0.00037")
    yield m("eps a millionth off", "eps", norm, lambda s: normed(s, 1e-3 * (1 + 1e-6)))
    yield m("no gamma", "gamma-missing", norm, lambda s: normed(s, weight=np.ones(7)))
    yield m("no beta", "beta-missing", norm, lambda s: normed(s, bias=np.zeros(7)))
    yield m("gamma and beta exchanged", "gamma-beta-swapped", norm,
            lambda s: normed(s, weight=b(s), bias=w(s)))
    yield m("statistics swapped", "statistics-swapped", norm,
            lambda s: normed(s, running_mean=s.weights["running_var"],
                             running_var=np.abs(s.weights["running_mean"])))
    yield m("statistics not loaded", "statistics-not-loaded", norm,
            lambda s: normed(s, running_mean=np.zeros(7), running_var=np.ones(7)))
    yield m("variance not loaded", "statistics-not-loaded", norm,
            lambda s: normed(s, running_var=np.ones(7)), "the running variance")
    yield m("variance unbiased", "variance-biased", norm,
            lambda s: normed(s, running_var=s.weights["running_var"] * 60 / 59), "n = 60")
    yield m("training mode", "training-mode", norm, own_statistics(0))
    yield m("training mode, unbiased", "training-mode", norm, own_statistics(1), "n - 1")
    yield m("no batch norm", "norm-missing", norm, x)
    yield m("another beta", "norm-bias-other", norm,
            lambda s: normed(s, bias=rng(70).standard_normal(7)))
    yield m("eps and no gamma", "eps + gamma-missing|gamma-missing + eps", norm,
            lambda s: normed(s, 1e-5, weight=np.ones(7)))
    yield m("LRN alpha undivided", "lrn-constants", lrn, local_norm(5, 5e-4, 0.75, 1.0), "divided")
    yield m("LRN k 2", "lrn-constants", lrn, local_norm(5, 1e-4, 0.75, 2.0), "k 2")
    yield m("LRN over 3", "lrn-constants", lrn, local_norm(3, 1e-4, 0.75, 1.0), "over 3")
    yield m("LRN with others", "lrn-constants", lrn, local_norm(5, 3e-3, 0.5, 1.5), "alpha 0.003")
    yield m("no LRN", "lrn-missing", lrn, x)


def _of_pools(m: Any) -> Iterator[Mistake]:
    infinite = -np.inf
    yield m("SAME max pool", "padding", lambda: max_pool(size=(12, 12)),
            lambda s: pooled(x(s), 3, 2, both(0, 1), np.max, infinite), "SAME")
    yield m("mean for max", "average-for-max", max_pool,
            lambda s: pools.AvgPool(3, 2, 1, count_include_pad=True)(x(s)), "mean")
    yield m("ceil for floor", "ceil-mode", lambda: max_pool(size=(12, 12)),
            lambda s: pooled(x(s), 3, 2, both(1, 2), np.max, infinite), "ceil mode")
    yield m("floor for ceil", "ceil-mode", lambda: max_pool(3, 2, 0, True, (12, 12)),
            lambda s: pooled(x(s), 3, 2, both(0, 0), np.max, infinite), "floor mode")
    yield m("window 2 for 3", "window", lambda: max_pool(3, 1, 1),
            lambda s: pooled(x(s), 2, 1, both(0, 1), np.max, infinite), "2x2")
    yield m("zeros in a max pool's padding", "padding-value", max_pool,
            lambda s: pooled(x(s), 3, 2, both(1, 1), np.max, 0.0), "zeros")
    yield m("pool of stride 1", "stride", max_pool,
            lambda s: pooled(x(s), 3, 1, both(1, 1), np.max, infinite), "stride 1")
    yield m("padding counted", "pad-counted", avg_pool,
            lambda s: pooled(x(s), 3, 1, both(1, 1), np.mean, 0.0), "counts")
    yield m("padding not counted", "pad-counted", lambda: avg_pool(counted=True),
            lambda s: pools.AvgPool(3, 1, 1, count_include_pad=False)(x(s)), "doesn't count")
    yield m("max for mean", "max-for-average", avg_pool,
            lambda s: pooled(x(s), 3, 1, both(1, 1), np.max, infinite))
    yield m("sum for mean", "sum-for-mean", lambda: avg_pool(5, 3, 0, size=(14, 14)),
            lambda s: pooled(x(s), 5, 3, both(0, 0), np.sum, 0.0))
    yield m("adaptive for fixed", "adaptive", lambda: avg_pool(5, 3, 0, size=(14, 14)),
            lambda s: pools.AdaptiveAvgPool(4)(x(s)), "adaptive")
    yield m("fixed for adaptive", "adaptive", adaptive,
            lambda s: pooled(x(s), 4, 3, both(0, 0), np.mean, 0.0),
            "4x4")
    yield m("max for global mean", "max-for-average", global_pool,
            lambda s: x(s).max(axis=(2, 3), keepdims=True))


def _of_the_rest(m: Any) -> Iterator[Mistake]:
    yield m("no ReLU", "activation-missing", act, x)
    yield m("ReLU cut at 6", "other-activation", act, on_output(lambda y: np.minimum(y, 6)),
            "relu6")
    yield m("leaky ReLU", "other-activation", act, lambda s: np.where(x(s) < 0, 0.01 * x(s), x(s)),
            "slope 0.01")
    yield m("tanh", "other-activation", act, lambda s: np.tanh(x(s)), "tanh")
    yield m("dense transposed", "dense-transposed", lambda: dense(12, 12),
            lambda s: x(s) @ w(s) + b(s))
    yield m("dense reshaped", "dense-transposed", dense,
            lambda s: x(s) @ w(s).T.reshape(w(s).shape).T + b(s))
    yield m("HWC into a dense layer", "flatten-order", dense,
            lambda s: x(s).reshape(3, 4, 3, 3).transpose(0, 2, 3, 1).reshape(3, 36) @ w(s).T + b(s),
            "H, W, C")
    yield m("classes shifted", "channel-order", dense, on_output(lambda y: np.roll(y, 1, axis=1)),
            "shifted by 1")
    yield m("softmax on the logits", "activation-surplus", dense,
            on_output(lambda y: np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)), "softmax")
    yield m("branches exchanged", "branch-order", concat,
            lambda s: np.concatenate([s.inputs[i] for i in (0, 2, 1, 3)], axis=1), "2 and 3")
    yield m("branches in any order", "branch-order", concat,
            lambda s: np.concatenate([s.inputs[i] for i in (1, 2, 3, 0)], axis=1), "2, 3, 4, 1")
    yield m("a branch twice", "branch-repeated", concat,
            lambda s: np.concatenate([s.inputs[i] for i in (0, 1, 1, 3)], axis=1),
            "branch 2 twice")
    yield m("flattened as HWC", "flatten-order", flatten,
            lambda s: x(s).transpose(0, 2, 3, 1).reshape(2, -1), "H, W, C")
    yield m("dropout in inference", "dropout-active", dropout, lambda s: dropped(x(s), 0.4),
            "p = 0.4")
    yield m("scaled in inference", "dropout-scaled", dropout, lambda s: x(s) * 0.6)
    yield m("BGR", "channel-order", fed, lambda s: x(s)[:, ::-1], "BGR")
    yield m("0 … 1", "scale", fed, lambda s: (128 * x(s) + 127.5) / 255, "over 255")
    yield m("ImageNet's mean and std", "scale", fed,
            lambda s: ((128 * x(s) + 127.5) / 255 - row(0.485, 0.456, 0.406))
            / row(0.229, 0.224, 0.225),
            "ImageNet")
    yield m("BGR and Caffe's mean", "channel-order + scale|scale + channel-order", fed,
            lambda s: 128 * x(s)[:, ::-1] + 127.5 - row(103.939, 116.779, 123.68),
            "BGR")
    yield m("images mirrored", "image-turned", fed, lambda s: x(s)[:, :, :, ::-1], "mirrored")
    yield m("NHWC taken for NCHW", "layout", fed,
            lambda s: x(s).transpose(0, 2, 3, 1).reshape(x(s).shape))
    yield m("input transform missing", "layer-missing", transform, x)
    yield m("input transform only scaled", "input-transform", transform,
            lambda s: x(s) * np.reshape(s.attributes["scale"], (3, 1, 1)), "nothing added")
    yield m("logits over 2", "output-scaled", output, on_output(lambda y: y / 2))
    yield m("all zeros", "constant", output, on_output(np.zeros_like))
    yield m("shortcut missing", "branch-missing", added, x, "term 2")
# fmt: on


MISTAKES = tuple(mistakes())
