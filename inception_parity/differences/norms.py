"""Normalisation: what the numbers of batch norm mean, and local response normalisation."""

from __future__ import annotations

from typing import Any

from .topic import Answer, Topic

# Two images of two pixels: the mean is 3, the variance 5 biased, 20/3 unbiased.
BATCH = (0.0, 2.0, 4.0, 6.0)


def _defaults(share: float, eps: float, momentum: float, what: str) -> Answer:
    text = f"`momentum={momentum:g}`, `eps={eps:g}`: {what}; the new batch's share is {share:.2g}"
    return Answer(text, {"momentum": momentum, "eps": eps, "share": share})


def _trained_pt() -> Any:
    import torch

    norm = torch.nn.BatchNorm2d(1)
    norm(torch.tensor(BATCH).reshape(2, 1, 1, 2))
    return norm


def _trained_tf() -> Any:
    import keras
    import numpy as np

    norm = keras.layers.BatchNormalization()
    norm(np.reshape(BATCH, (2, 1, 2, 1)).astype("float32"), training=True)
    return norm


def _trained_mx(backward: bool = True) -> Any:
    from inception_mx._mxnet import mxnet, nn

    norm = nn.BatchNorm(in_channels=1)
    norm.initialize()
    x = mxnet.np.array(BATCH).reshape(2, 1, 1, 2)
    with mxnet.autograd.record():
        y = norm(x)
    if backward:
        y.backward()
    y.wait_to_read()
    return norm


def _defaults_pt() -> Answer:
    norm = _trained_pt()
    share = norm.running_mean.item() / 3
    return _defaults(share, norm.eps, norm.momentum, "momentum is the share of the new batch")


def _defaults_tf() -> Answer:
    norm = _trained_tf()
    share = float(norm.moving_mean[0]) / 3
    return _defaults(share, norm.epsilon, norm.momentum, "momentum is the share of the old")


def _defaults_mx() -> Answer:
    from inception_mx._mxnet import mxnet

    norm = _trained_mx()
    share = norm.running_mean.data().item() / 3
    settings = norm._kwargs
    seen = _defaults(
        share, settings["eps"], settings["momentum"], "momentum is the share of the old"
    )
    nd = mxnet.nd
    # The operator below the layer has defaults of its own: x = 1, mean 0, variance 1, gamma 2.
    one, two, zero = (nd.array([v]) for v in (1.0, 2.0, 0.0))
    y = nd.BatchNorm(one.reshape((1, 1)), two, zero, zero, one).asnumpy().item()
    text = "; the operator `nd.BatchNorm` has eps 0.001, and ignores gamma (`fix_gamma`): gamma 2 "
    text += f"makes {y:.4f} of 1"
    return seen.more(text, operator=y)


def _variance(found: float, share: float) -> Answer:
    batch = (found - (1 - share)) / share
    kind = "unbiased" if abs(batch - 20 / 3) < 0.01 else "biased" if abs(batch - 5) < 0.01 else "?"
    return Answer(f"{batch:.3f}: {kind}", {"variance": batch})


def _variance_pt() -> Answer:
    norm = _trained_pt()
    return _variance(norm.running_var.item(), norm.momentum)


def _variance_tf() -> Answer:
    norm = _trained_tf()
    return _variance(float(norm.moving_variance[0]), 1 - norm.momentum)


def _variance_mx() -> Answer:
    norm = _trained_mx()
    return _variance(norm.running_var.data().item(), 1 - norm._kwargs["momentum"])


def _updated(after_forward: float, after_backward: float) -> Answer:
    when = "forward" if after_forward else "backward" if after_backward else "never"
    text = f"{when}: the running mean is {after_forward:.2g} after the forward pass"
    if after_backward != after_forward:
        text += f", {after_backward:.2g} after the backward pass"
    return Answer(text, {"forward": after_forward, "backward": after_backward})


def _updated_pt() -> Answer:
    import torch

    norm = torch.nn.BatchNorm2d(1)
    y = norm(torch.tensor(BATCH).reshape(2, 1, 1, 2))
    forward = norm.get_buffer("running_mean").item()
    torch.autograd.backward(y.sum())
    return _updated(forward, norm.get_buffer("running_mean").item())


def _updated_tf() -> Answer:
    mean = float(_trained_tf().moving_mean[0])  # there is no backward pass that could change it
    return _updated(mean, mean)


def _updated_mx() -> Answer:
    before, after = (_trained_mx(backward).running_mean.data().item() for backward in (False, True))
    return _updated(before, after)


def _response(alpha: float, k: float, equal: float, what: str) -> Answer:
    text = f"{alpha:.4f} with alpha 1, k 1, beta 1: {what}; k is {k:g} by default"
    return Answer(text, {"output": alpha, "k": k}, f"{equal:.4f}")


def _response_pt() -> Answer:
    import torch

    import inception_pt.layers as ours

    x = torch.ones(1, 9, 1, 1)
    found = torch.nn.LocalResponseNorm(5, 1.0, 1.0, 1.0)(x)[0, 4].item()
    equal = ours.LocalResponseNorm(5, 1.0, 1.0, 1.0)(x)[0, 4].item()
    k = 1 / torch.nn.LocalResponseNorm(5, 0.0, 1.0)(x)[0, 4].item()
    return _response(found, k, equal, "alpha is divided by the size, 5")


def _response_tf() -> Answer:
    import tensorflow as tf

    import inception_tf.layers as ours

    x = tf.ones((1, 1, 1, 9))
    lrn = tf.nn.local_response_normalization
    found = lrn(x, depth_radius=2, bias=1.0, alpha=1.0, beta=1.0)[0, 0, 0, 4]
    equal = ours.LocalResponseNorm(5, 1.0, 1.0, 1.0)(x)[0, 0, 0, 4]
    k = 1 / lrn(x, alpha=0.0, beta=1.0)[0, 0, 0, 4]
    seen = _response(float(found), float(k), float(equal), "alpha is not divided")
    # With all defaults, 11 neighbours of which 9 are there: 1 / (1 + 9) ** 0.5.
    plain = float(lrn(x)[0, 0, 0, 4])
    text = f"; with all defaults {plain:.4f}: radius 5, alpha 1, beta 0.5"
    return seen.more(text, plain=plain)


def _response_mx() -> Answer:
    import inception_mx.layers as ours
    from inception_mx._mxnet import mxnet

    x = mxnet.nd.ones((1, 9, 1, 1))
    found = mxnet.nd.LRN(x, nsize=5, alpha=1.0, beta=1.0, knorm=1.0)[0, 4].asscalar()
    k = 1 / mxnet.nd.LRN(x, nsize=5, alpha=0.0, beta=1.0)[0, 4].asscalar()
    equal = ours.LocalResponseNorm(5, 1.0, 1.0, 1.0)(mxnet.np.ones((1, 9, 1, 1)))[0, 4].item()
    return _response(float(found), float(k), equal, "alpha is divided by the size, 5")


TOPICS = (
    Topic(
        "batch-norm-defaults",
        "Batch norm: momentum and eps",
        "A new batch norm sees one batch of mean 3 in training mode: how far does its running "
        "mean move?",
        "The same word means opposite things, and eps differs too: 1e-3 instead of 1e-5 matters "
        "where a channel's variance is small.",
        "`BN_MOMENTUM` and `BN_EPS` of each `layers.py` state the same thing in the framework's "
        "own terms: share 0.1, eps 1e-3 as in TF-slim; eps is an option where sources differ.",
        {"pt": _defaults_pt, "tf": _defaults_tf, "mx": _defaults_mx},
    ),
    Topic(
        "batch-norm-variance",
        "Batch norm: running variance",
        "Four values, 0, 2, 4 and 6: their variance is 5 with the divisor n and 6.667 with n - 1. "
        "Which of the two goes into the running variance?",
        "After training on the same batches, inference differs, most of all where a batch has few "
        "values per channel: in the last blocks.",
        "Before running statistics are compared, n / (n - 1) brings the batch's part to one "
        "convention, and the comparison says so. Inference from shared weights is unaffected.",
        {"pt": _variance_pt, "tf": _variance_tf, "mx": _variance_mx},
    ),
    Topic(
        "batch-norm-update",
        "Batch norm: when statistics are updated",
        "The running mean after the forward pass of a training step, and after its backward pass.",
        "In MXNet a forward pass in training mode alone, say to calibrate the statistics, changes "
        "nothing; in PyTorch every one counts, even if its loss is thrown away.",
        "Training steps here always run both passes, so all statistics are up to date when they "
        "are compared.",
        {"pt": _updated_pt, "tf": _updated_tf, "mx": _updated_mx},
    ),
    Topic(
        "local-response-norm",
        "Local response normalisation",
        "Nine channels of ones, a window of five channels, alpha 1, k 1, beta 1: the middle "
        "channel.",
        "The network of the 2014 paper has two of these layers. With the published alpha, a "
        "framework that doesn't divide it by the size normalises five times as strongly.",
        "`LocalResponseNorm` divides alpha by the size, as Caffe and PyTorch do; it is composed of "
        "elementary operations in TensorFlow and MXNet, which have no float64 kernel for it.",
        {"pt": _response_pt, "tf": _response_tf, "mx": _response_mx},
    ),
)
