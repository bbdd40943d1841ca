"""Small layers with one mistake each, computed here in plain NumPy, for the diagnosis to name.

Nothing of `inception_parity.diagnosis` computes here: the right outputs come from
the oracle's layers, the wrong ones from the lines below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

import inception_np.layers as layers
import inception_np.pools as pools
from inception_parity.data.images import load, photographs
from inception_parity.diagnosis import SuspectLayer
from inception_parity.numerics import to_dtype


@dataclass(frozen=True)
class Mistake:
    """One layer gone wrong: the causes that may be named for it, and words of the text."""

    name: str
    causes: tuple[str, ...]
    layer: Callable[[], SuspectLayer]
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


# A layer of each kind, right so far: `observed` is the reference.


def conv(size: Any = (12, 11), ins: int = 5, outs: int = 6, kernel: Any = 3, stride: int = 1,
         padding: Any = 1, bias: bool = True, biases: float = 1.0) -> SuspectLayer:  # fmt: skip
    layer = layers.Conv2d(ins, outs, kernel, stride, padding, bias)
    layer.weight = rng(2).standard_normal(layer.weight.shape)
    weights = {"weight": layer.weight}
    if bias:
        layer.bias = weights["bias"] = biases * rng(3).standard_normal(outs)
    x = images(ins, *size)
    y = layer(x)
    top, left = layer.padding
    attributes = {"stride": layer.stride, "pads": ((top, top), (left, left))}
    return SuspectLayer("c", "conv", (x,), y, y, attributes, weights, "pt")


def norm() -> SuspectLayer:
    x = 3 * images(7, 6, 5) + rng(4).standard_normal((7, 1, 1))
    layer = layers.BatchNorm2d(7, 1e-3)
    layer.weight, layer.bias = rng(5).uniform(0.5, 2, 7), rng(6).standard_normal(7)
    layer.running_mean = rng(7).standard_normal(7)
    layer.running_var = rng(8).uniform(0.01, 4, 7)
    y = layer(x)
    return SuspectLayer("n", "norm", (x,), y, y, {"eps": 1e-3}, layer.arrays(), "tf")


def max_pool(kernel: int = 3, stride: int = 2, padding: int = 1, ceil: bool = False,
             size: Any = (12, 11)) -> SuspectLayer:  # fmt: skip
    x = images(4, *size) - 3  # negative values, so that zeros in the padding would win
    y = pools.MaxPool(kernel, stride, padding, ceil)(x)
    attributes = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "pads": both(padding, padding),
                  "ceil": ceil}  # fmt: skip
    return SuspectLayer("m", "max_pool", (x,), y, y, attributes, backend="mx")


def avg_pool(kernel: int = 3, stride: int = 1, padding: int = 1, counted: bool = False,
             size: Any = (9, 8)) -> SuspectLayer:  # fmt: skip
    x = images(4, *size)
    y = pools.AvgPool(kernel, stride, padding, count_include_pad=counted)(x)
    attributes = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "pads": both(padding, padding),
                  "count_include_pad": counted}  # fmt: skip
    return SuspectLayer("a", "avg_pool", (x,), y, y, attributes, backend="tf")


def adaptive() -> SuspectLayer:
    x = images(4, 14, 13)
    y = pools.AdaptiveAvgPool(4)(x)
    return SuspectLayer("p", "adaptive_pool", (x,), y, y, {"output": (4, 4)}, backend="pt")


def global_pool() -> SuspectLayer:
    x = images(9, 5, 4)
    y = pools.GlobalAvgPool()(x)
    return SuspectLayer("g", "global_pool", (x,), y, y, backend="pt")


def act() -> SuspectLayer:
    x = 4 * images(5, 6, 7) - 2
    y = layers.ReLU()(x)
    return SuspectLayer("r", "act", (x,), y, y, backend="pt")


def dense(ins: int = 36, outs: int = 10) -> SuspectLayer:
    x = rng(9).standard_normal((3, ins))
    layer = layers.Linear(ins, outs)
    layer.weight, layer.bias = rng(10).standard_normal((outs, ins)), rng(11).standard_normal(outs)
    y = layer(x)
    return SuspectLayer("d", "dense", (x,), y, y, {}, layer.arrays(), "tf")


def concat() -> SuspectLayer:
    xs = [images(c, 4, 5, 20 + i) for i, c in enumerate((3, 4, 4, 2))]
    y = layers.Concat()(*xs)
    return SuspectLayer("j", "concat", tuple(xs), y, y, backend="pt")


def flatten() -> SuspectLayer:
    x = images(3, 4, 5)
    y = layers.Flatten()(x)
    return SuspectLayer("f", "flatten", (x,), y, y, backend="tf")


def lrn() -> SuspectLayer:
    x = 20 * images(12, 4, 5)
    y = layers.LocalResponseNorm(5, 1e-4, 0.75, 1.0)(x)
    constants = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
    return SuspectLayer("l", "lrn", (x,), y, y, constants, backend="mx")


def dropout() -> SuspectLayer:
    x = rng(12).standard_normal((3, 200))
    return SuspectLayer("o", "dropout", (x,), x, x, {"p": 0.4}, backend="pt")


def fed() -> SuspectLayer:
    x = np.tanh(images(3, 10, 12))
    return SuspectLayer("input", "input", (x,), x, x, backend="pt")


def files(count: int = 2) -> tuple[Any, ...]:
    return tuple(photographs()[:count])


def photos() -> SuspectLayer:
    x = load(files(), (40, 44), 3)
    return SuspectLayer("input", "input", (x,), x, x, backend="tf", sources=files())


def pillow(how: Any, squeezed: bool = False) -> Callable[[SuspectLayer], Any]:
    """Return how the photographs come out of another filter, or without the cut."""

    def read(file: Any) -> Any:
        image = Image.open(file).convert("RGB")
        width, height = image.size
        if not squeezed:
            across, down = min(width, round(height * 44 / 40)), min(height, round(width * 40 / 44))
            left, top = (width - across) // 2, (height - down) // 2
            image = image.crop((left, top, left + across, top + down))
        pixels = np.asarray(image.resize((44, 40), how), dtype=np.float64)
        return (2 * pixels.transpose(2, 0, 1) - 255) / 256

    return lambda s: np.stack([read(file) for file in files()])


def single(bits: int = 24) -> SuspectLayer:
    """A convolution in float32, with the limit that float32 has there.

    With factors of `bits` significant bits: those of 12 are as often as not ties for 11.
    """
    layer = conv(ins=16)
    small = [in_bits(a, bits).astype(np.float64) for a in (x(layer), w(layer))]
    bias = b(layer).astype(np.float32).astype(np.float64)
    y = convolve(*small, bias, 1, both(1, 1))
    weights = {"weight": small[1], "bias": bias}
    return replace(layer, inputs=(small[0],), weights=weights, reference=y, observed=y,
                   dtype="float32", limit=2e-6)  # fmt: skip


def in_bits(a: Any, bits: int, ties: Callable[[Any], Any] = np.round) -> Any:
    mantissa, exponent = np.frexp(a)
    return np.ldexp(ties(mantissa * 2**bits) / 2**bits, exponent).astype(np.float32)


def away_from_zero(a: Any) -> Any:
    return np.trunc(a + np.copysign(0.5, a))


def in_tf32(s: SuspectLayer, ties: Callable[[Any], Any] = np.round) -> Any:
    factors = (in_bits(a, 11, ties) for a in (x(s), w(s)))
    return convolve(*factors, b(s).astype(np.float32), 1, both(1, 1))


def transform() -> SuspectLayer:
    x = images(3, 5, 6)
    layer = layers.TransformInput()
    y = layer(x)
    return SuspectLayer("t", "affine", (x,), y, y, {"scale": layer.scale, "shift": layer.shift})


def output() -> SuspectLayer:
    x = rng(13).standard_normal((4, 10))
    return SuspectLayer("logits", "output", (x,), x, x, backend="tf")


def added() -> SuspectLayer:
    xs = images(5, 4, 6, 30), images(5, 4, 6, 31)
    return SuspectLayer("s", "add", xs, xs[0] + xs[1], xs[0] + xs[1], backend="pt")


def residual() -> SuspectLayer:
    xs = images(5, 4, 6, 30), images(5, 4, 6, 31)
    y = xs[0] + 0.17 * xs[1]
    return SuspectLayer("s", "add", xs, y, y, {"residual_scale": 0.17}, backend="tf")


def resize(half_pixel_centres: bool = False, size: Any = (9, 11)) -> SuspectLayer:
    x = images(3, 7, 6)
    y = layers.Resize(size, half_pixel_centres)(x)
    rule = "centres" if half_pixel_centres else "corners"
    return SuspectLayer("z", "resize", (x,), y, y, {"size": size, "rule": rule}, backend="pt")


def rescale() -> SuspectLayer:
    x = 1 / (1 + np.exp(-images(3, 5, 6, 34)))
    y = layers.Rescale(2.0, -1.0)(x)
    return SuspectLayer("u", "affine", (x,), y, y, {"scale": 2.0, "shift": -1.0}, backend="mx")


# The mistakes.


def wrong(
    make: Callable[[], SuspectLayer], compute: Callable[..., Any]
) -> Callable[[], SuspectLayer]:
    """Return a function to a layer whose observed output is `compute(layer)`."""

    def layer() -> SuspectLayer:
        right = make()
        return replace(right, observed=np.asarray(compute(right), dtype=np.float64))

    return layer


def w(layer: SuspectLayer) -> Any:
    return layer.weights["weight"]


def b(layer: SuspectLayer) -> Any:
    return layer.weights.get("bias")


def x(layer: SuspectLayer) -> Any:
    return layer.inputs[0]


def kernel_is(change: Callable[[Any], Any]) -> Callable[[SuspectLayer], Any]:
    return lambda s: convolve(x(s), change(w(s)), b(s), 1, both(1, 1))


def on_output(change: Callable[[Any], Any]) -> Callable[[SuspectLayer], Any]:
    return lambda s: change(s.reference)


def on_input(change: Callable[[Any], Any]) -> Callable[[SuspectLayer], Any]:
    return lambda s: convolve(change(x(s)), w(s), b(s), 1, both(1, 1))


def normed(s: SuspectLayer, eps: float = 1e-3, **others: Any) -> Any:
    v = {**s.weights, **others}
    v = {k: np.reshape(a, (-1, 1, 1)) for k, a in v.items()}
    return (x(s) - v["running_mean"]) / np.sqrt(v["running_var"] + eps) * v["weight"] + v["bias"]


def own_statistics(ddof: int) -> Callable[[SuspectLayer], Any]:
    def compute(s: SuspectLayer) -> Any:
        axes = (0, 2, 3)
        return normed(s, running_mean=x(s).mean(axes), running_var=x(s).var(axes, ddof=ddof))

    return compute


def local_norm(size: int, alpha: float, beta: float, k: float) -> Callable[[SuspectLayer], Any]:
    return lambda s: layers.LocalResponseNorm(size, alpha, beta, k)(x(s))


def in_bfloat16(s: SuspectLayer) -> Any:
    def short(a: Any) -> Any:
        return to_dtype(a, "bfloat16").astype(np.float64)

    return short(convolve(short(x(s)), short(w(s)), short(b(s)), 1, both(1, 1)))


def in_float32(s: SuspectLayer) -> Any:
    small = [a.astype(np.float32) for a in (x(s), w(s), b(s))]
    return convolve(*small, 1, both(1, 1))


def one_less(a: Any) -> Any:
    a = a.copy()
    a[2, 1, 0, 2] *= 1 + 1e-6
    return a


def dropped(y: Any, p: float, channels: bool = False) -> Any:
    shape = (*y.shape[:2], 1, 1) if channels else y.shape
    return y * (rng(40).random(shape) >= p) / (1 - p)


def taken_at(source: Callable[[Any, int, int], Any]) -> Callable[[SuspectLayer], Any]:
    """Interpolate linearly between two pixels, along one axis after the other.

    Args:
        source: takes the numbers of the result's pixels, how many there are and how many
            the image has, and returns their positions in the image; weights have their dtype.
    """

    def compute(s: SuspectLayer) -> Any:
        y = x(s)
        for axis, size in ((2, s.get("size")[0]), (3, s.get("size")[1])):
            have = y.shape[axis]
            at = np.clip(source(np.arange(size), size, have), 0, have - 1)
            first = at.astype(int)
            second, share = (
                np.minimum(first + 1, have - 1),
                (at % 1).reshape(-1, *(1,) * (3 - axis)),
            )
            y = np.take(y, first, axis) * (1 - share) + np.take(y, second, axis) * share
        return y

    return compute


def by_pillow(how: Any) -> Callable[[SuspectLayer], Any]:
    """Resize each channel with Pillow, in float32."""

    def compute(s: SuspectLayer) -> Any:
        height, width = s.get("size")
        planes = x(s).reshape(-1, *x(s).shape[2:]).astype(np.float32)
        done = [np.asarray(Image.fromarray(p).resize((width, height), how)) for p in planes]
        return np.stack(done).reshape(*x(s).shape[:2], height, width)

    return compute


def row(*values: float) -> Any:
    return np.reshape(values, (-1, 1, 1))


def some_nan(y: Any) -> Any:
    y = y.copy()
    y[0, 1, 2, 3] = np.nan
    return y


def first(size: Any = (12, 11)) -> SuspectLayer:
    return conv(size, ins=3)


def ahead() -> SuspectLayer:
    layer = conv()
    later = images(5, 12, 11, 52)
    seen = convolve(later, w(layer), b(layer), 1, both(1, 1))
    return replace(layer, observed=seen, later={"b2.act": lambda: x(layer), "b3": lambda: later})


def wired() -> SuspectLayer:
    layer = conv()
    other = images(5, 12, 11, 50)
    decoy = images(5, 12, 11, 51)
    seen = convolve(other, w(layer), b(layer), 1, both(1, 1))
    others = {"b2.act": lambda: decoy, "b1.norm": lambda: other}
    return replace(layer, observed=seen, others=others)
