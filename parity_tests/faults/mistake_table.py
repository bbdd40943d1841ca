"""The mistakes, a table: name, causes that may be named, layer, what is computed, words said."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

import inception_np.pools as pools

from .mistakes import (
    Mistake,
    act,
    adaptive,
    added,
    ahead,
    avg_pool,
    away_from_zero,
    b,
    both,
    by_pillow,
    concat,
    conv,
    convolve,
    dense,
    dropout,
    dropped,
    fed,
    first,
    flatten,
    global_pool,
    in_bfloat16,
    in_float32,
    in_tf32,
    kernel_is,
    local_norm,
    lrn,
    max_pool,
    norm,
    normed,
    on_input,
    on_output,
    one_less,
    output,
    own_statistics,
    photos,
    pillow,
    pooled,
    rescale,
    residual,
    resize,
    rng,
    row,
    single,
    some_nan,
    taken_at,
    transform,
    w,
    wired,
    wrong,
    x,
)


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
    yield m("small bias shifted", "bias-order", lambda: conv(outs=60, biases=3e-6),
            lambda s: convolve(x(s), w(s), np.roll(b(s), 2), 1, both(1, 1)), "shifted by 2")
    yield m("one weight 1e-6 off", "one-weight", conv, kernel_is(one_less), "weight[2, 1, 0, 2]")
    yield m("other weights", "other-weights", lambda: conv((14, 14), 3),
            kernel_is(lambda k: rng(60).standard_normal(k.shape)))
    yield m("weights of zero", "weights-zero", conv, kernel_is(np.zeros_like))
    yield m("weights times 3", "weights-scaled", conv, kernel_is(lambda k: 3 * k), "times 3")
    yield m("in bfloat16", "downcast", conv, in_bfloat16, "bfloat16")
    yield m("in float32", "downcast", conv, in_float32, "float32")
    yield m("weights in float16", "downcast", conv,
            kernel_is(lambda k: k.astype(np.float16).astype(np.float64)), "float16")
    yield m("with TF32", "tf32", single, in_tf32, "10 bits")
    yield m("with TF32, ties to even", "tf32", lambda: single(12), in_tf32, "10 bits")
    yield m("with TF32, ties away", "tf32", lambda: single(12),
            lambda s: in_tf32(s, away_from_zero), "10 bits")
    yield m("padding in float32", "padding", single,
            lambda s: convolve(x(s), w(s), b(s), 1, both(0, 2)).astype(np.float32), "0 before")
    yield m("surplus ReLU", "activation-surplus", conv, on_output(lambda y: np.maximum(y, 0)))
    yield m("images exchanged", "batch-order", conv, on_output(lambda y: y[::-1]))
    yield m("output transposed", "image-turned", lambda: conv((9, 9)),
            on_output(lambda y: y.swapaxes(2, 3)))
    yield m("a NaN", "not-finite", conv, on_output(some_nan), "first at [0, 1, 2, 3]")
    yield m("twice as large", "output-scaled", act, on_output(lambda y: 2 * y), "times 2")
    yield m("dropout after it", "dropout-active", conv, on_output(lambda y: dropped(y, 0.3)))
    yield m("channels dropped", "dropout-active", conv, on_output(lambda y: dropped(y, 0.4, True)),
            "whole channels")
    yield Mistake("fed from a later one", ("layer-order",), ahead, "takes b3, but should be")
    yield Mistake("fed from another", ("wired-otherwise",), wired, "takes b1.norm")
    yield from _of_norms(m)
    yield from _of_pools(m)
    yield from _of_the_rest(m)


def _of_residuals(m: Any) -> Iterator[Mistake]:
    def summed(shortcut: float, scale: float) -> Any:
        return lambda s: shortcut * s.inputs[0] + scale * s.inputs[1]

    yield m("residual not scaled", "residual-scale", residual, summed(1, 1), "isn't scaled")
    yield m("residual times 0.2", "residual-scale", residual, summed(1, 0.2),
            "by 0.2, but should be by 0.17")
    yield m("scale a millionth off", "residual-scale", residual, summed(1, 0.17 * (1 + 1e-6)),
            "0.17000017")
    yield m("plain sum, scaled", "residual-scale", added, summed(1, 0.1),
            "by 0.1, but should be by 1")
    yield m("shortcut scaled", "shortcut-exchanged", residual, summed(0.17, 1), "exchanged")
    yield m("ReLU on the residual", "activation-surplus", residual,
            lambda s: s.inputs[0] + 0.17 * np.maximum(s.inputs[1], 0), "term 2 before the sum")
    yield m("no shortcut", "branch-missing", residual, summed(0, 0.17), "term 1")
    yield m("whole sum scaled", "residual-scale", residual, summed(0.17, 0.17), "the whole sum")
    yield m("shortcut tripled", "residual-scale", residual, summed(3, 0.17),
            "multiplied by 3 and 0.17")


def _of_resizing(m: Any) -> Iterator[Mistake]:
    def in_single(i: Any, n: int, have: int) -> Any:
        return i.astype(np.float32) * (np.float32(have) / np.float32(n))

    for size in ((9, 11), (5, 4)):
        right = partial(resize, size=size)
        yield m(f"half-pixel centres to {size}", "resize", right,
                taken_at(lambda i, n, have: (i + 0.5) * have / n - 0.5),
                "by a bilinear rule with half-pixel centres, but")
        yield m(f"aligned corners to {size}", "resize", right,
                taken_at(lambda i, n, have: i * (have - 1) / (n - 1)), "aligned corners")
        yield m(f"TensorFlow 1's rule to {size}", "resize", partial(resize, True, size),
                taken_at(lambda i, n, have: i * have / n), "by TensorFlow 1's")
        yield m(f"nearest pixel to {size}", "resize", right,
                taken_at(lambda i, n, have: i * have // n), "nearest pixel, by corners")
        yield m(f"half-pixel centres in float32 to {size}", "resize", right,
                lambda s: taken_at(lambda i, n, have: (i + 0.5) * have / n - 0.5)(s)
                .astype(np.float32), "; in float32")
        yield m(f"positions in float32 to {size}", "downcast", right, taken_at(in_single),
                "positions of pixels")
        yield m(f"the right rule in float32 to {size}", "downcast", right,
                lambda s: taken_at(in_single)(s).astype(np.float32), "resized in float32")
    shrunk = partial(resize, size=(4, 3))
    yield m("antialiased", "resize", shrunk, by_pillow(Image.Resampling.BILINEAR),
            "an antialiased bilinear rule")
    yield m("bicubic", "resize", shrunk, by_pillow(Image.Resampling.BICUBIC),
            "an antialiased bicubic rule")
    yield m("mean of areas", "resize", partial(resize, size=(7, 2)),
            lambda s: x(s).reshape(2, 3, 7, 2, 3).mean(axis=-1), "the mean over the area")
    yield m("another size", "resize-size", resize,
            lambda s: resize(size=(9, 12)).reference,
            "resized to 9x12, but should be to 9x11")
    yield m("not resized", "layer-missing", resize, x)
    yield m("resized, BGR", "channel-order", resize, lambda s: s.reference[:, ::-1], "BGR")


def _of_rescaling(m: Any) -> Iterator[Mistake]:
    yield m("x for 2x - 1", "layer-missing", rescale, x)
    yield m("2x - 1 twice", "layer-doubled", rescale, lambda s: 4 * x(s) - 3)
    yield m("2x for 2x - 1", "input-transform", rescale, lambda s: 2 * x(s), "nothing added")
    yield m("2x - 1 of pixels 0 … 255", "input-transform", rescale, lambda s: 510 * x(s) - 1,
            "images in 0 … 255 are given to")
    yield m("pixels over 127.5, less 1", "input-transform", rescale, lambda s: x(s) / 127.5 - 1,
            "given to a layer for 0 … 255")
    yield m("ImageNet's for 2x - 1", "input-transform", rescale,
            lambda s: (x(s) - row(0.485, 0.456, 0.406)) / row(0.229, 0.224, 0.225), "ImageNet's")
    yield m("255x for 2x - 1", "input-transform", rescale, lambda s: 255 * x(s),
            "come out as: pixels 0 … 255")
    yield m("4x + 3 for 2x - 1", "input-transform", rescale, lambda s: 4 * x(s) + 3,
            "times 4 plus 3, but should be times 2 plus -1")
    yield m("2x - 1, BGR", "channel-order", rescale, lambda s: 2 * x(s)[:, ::-1] - 1, "BGR")
    yield m("input transform solved for", "input-transform", transform, lambda s: 4 * x(s) + 3,
            "times 4 plus 3")


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
    yield m("no pool, on four pixels", "layer-missing", lambda: max_pool(3, 1, 1, size=(2, 2)), x)
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
    yield m("a branch of zeros", "branch-missing", concat,
            lambda s: np.concatenate([s.inputs[0], 0 * s.inputs[1], *s.inputs[2:]], axis=1),
            "zeros in place of branch 2")
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
    yield m("bicubic filter", "resize", photos, pillow(Image.Resampling.BICUBIC), "bicubic")
    yield m("nearest pixel", "resize", photos, pillow(Image.Resampling.NEAREST), "nearest")
    yield m("squeezed, not cut", "resize", photos, pillow(Image.Resampling.BILINEAR, True),
            "squeezed")
    yield m("images mirrored", "image-turned", fed, lambda s: x(s)[:, :, :, ::-1], "mirrored")
    yield m("NHWC taken for NCHW", "layout", fed,
            lambda s: x(s).transpose(0, 2, 3, 1).reshape(x(s).shape))
    yield m("input transform missing", "layer-missing", transform, x)
    yield m("input transform only scaled", "input-transform", transform,
            lambda s: x(s) * np.reshape(s.attributes["scale"], (3, 1, 1)), "nothing added")
    yield m("logits over 2", "output-scaled", output, on_output(lambda y: y / 2))
    yield m("all zeros", "constant", output, on_output(np.zeros_like))
    yield m("shortcut missing", "branch-missing", added, x, "term 2")
    yield from _of_residuals(m)
    yield from _of_resizing(m)
    yield from _of_rescaling(m)
# fmt: on


MISTAKES = tuple(mistakes())
