"""Normalisation: what the numbers of batch norm mean, and local response normalisation."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .kit import Kit
from .topic import Answer, Topics

TOPICS = Topics()
# Two images of two pixels: the mean is 3, the variance 5 biased, 20/3 unbiased.
BATCH = np.array([0.0, 2.0, 4.0, 6.0]).reshape(2, 1, 1, 2)


class _Norm(NamedTuple):
    """A batch norm after one batch in training mode."""

    momentum: float
    eps: float
    mean: float
    variance: float
    momentum_is_new: bool  # the share of the new batch, not that of the old statistics


def _trained(kit: Kit, backward: bool = True) -> _Norm:
    """Return a new batch norm after the forward pass over BATCH, and perhaps the backward pass."""
    x = kit.tensor(BATCH)
    match kit.framework:
        case "pt":
            norm = kit.nn.BatchNorm2d(1)
            y = norm(x).sum()
            if backward:
                y.backward()
            settings, statistics = (norm.momentum, norm.eps), (norm.running_mean, norm.running_var)
        case "tf":
            norm = kit.nn.BatchNormalization()
            norm(x, training=True)  # there is no backward pass that could change anything
            settings = norm.momentum, norm.epsilon
            statistics = norm.moving_mean.value, norm.moving_variance.value
        case _:
            norm = kit.nn.BatchNorm(in_channels=1)
            norm.initialize()
            with kit.native.autograd.record():
                y = norm(x)
            if backward:
                y.backward()
            y.wait_to_read()
            settings = norm._kwargs["momentum"], norm._kwargs["eps"]
            statistics = norm.running_mean.data(), norm.running_var.data()
    mean, variance = (kit.array(value).item() for value in statistics)
    return _Norm(*settings, mean, variance, kit.framework == "pt")


@TOPICS.experiment("batch-norm-defaults")
def batch_norm_defaults(kit: Kit) -> Answer:
    """Find how far the running mean moves in one step."""
    norm = _trained(kit)
    share = norm.mean / 3
    what = "momentum is the share of the " + ("new batch" if norm.momentum_is_new else "old")
    said = f"`momentum={norm.momentum:g}`, `eps={norm.eps:g}`: {what}; "
    said += f"the new batch's share is {share:.2g}"
    numbers = {"momentum": norm.momentum, "eps": norm.eps, "share": share}
    if kit.framework == "mx":
        # The operator below the layer has defaults of its own: x = 1, mean 0, variance 1, gamma 2.
        one, two, zero = (kit.native.nd.array([value]) for value in (1.0, 2.0, 0.0))
        y = kit.array(kit.native.nd.BatchNorm(one.reshape((1, 1)), two, zero, zero, one)).item()
        numbers["operator"] = y
        said += "; the operator `nd.BatchNorm` has eps 0.001, and ignores gamma (`fix_gamma`): "
        said += f"gamma 2 makes {y:.4f} of 1"
    return Answer(said, numbers)


@TOPICS.experiment("batch-norm-variance")
def batch_norm_variance(kit: Kit) -> Answer:
    """Find which variance of the batch went into the running variance, which was 1."""
    norm = _trained(kit)
    share = norm.momentum if norm.momentum_is_new else 1 - norm.momentum
    batch = (norm.variance - (1 - share)) / share
    kind = "unbiased" if abs(batch - 20 / 3) < 0.01 else "biased" if abs(batch - 5) < 0.01 else "?"
    return Answer(f"{batch:.3f}: {kind}", {"variance": batch})


@TOPICS.experiment("batch-norm-update")
def batch_norm_update(kit: Kit) -> Answer:
    """Find which pass moves the running mean."""
    forward, backward = (_trained(kit, backward).mean for backward in (False, True))
    when = "forward" if forward else "backward" if backward else "never"
    said = f"{when}: the running mean is {forward:.2g} after the forward pass"
    if backward != forward:
        said += f", {backward:.2g} after the backward pass"
    return Answer(said, {"forward": forward, "backward": backward})


@TOPICS.experiment("local-response-norm")
def local_response_norm(kit: Kit) -> Answer:
    """Normalise nine channels of ones: with given settings, and with alpha 0 for the default k."""
    x = np.ones((1, 9, 1, 1))
    said = "alpha is divided by the size, 5"
    match kit.framework:
        case "pt":
            given = kit.nn.LocalResponseNorm(5, alpha=1.0, beta=1.0, k=1.0)
            bare = kit.nn.LocalResponseNorm(5, alpha=0.0, beta=1.0)
        case "tf":
            from tensorflow.nn import local_response_normalization as lrn

            given = partial(lrn, depth_radius=2, alpha=1.0, beta=1.0, bias=1.0)
            bare, said = partial(lrn, alpha=0.0, beta=1.0), "alpha is not divided"
        case _:
            given = partial(_mxnet_lrn, kit, alpha=1.0, beta=1.0, knorm=1.0)
            bare = partial(_mxnet_lrn, kit, alpha=0.0, beta=1.0)
    output, k = kit.run(given, x).item(4), (1 / kit.run(bare, x)).item(4)
    said = f"{output:.4f} with alpha 1, k 1, beta 1: {said}; k is {k:g} by default"
    numbers = {"output": output, "k": k}
    if kit.framework == "tf":
        # With all defaults, 11 neighbours of which 9 are there: 1 / (1 + 9) ** 0.5.
        numbers["plain"] = plain = kit.run(lrn, x).item(4)
        said += f"; with all defaults {plain:.4f}: radius 5, alpha 1, beta 0.5"
    equal = kit.run(kit.layers.LocalResponseNorm(5, 1.0, 1.0, 1.0), x).item(4)
    return Answer(said, numbers, f"{equal:.4f}")


def _mxnet_lrn(kit: Kit, x: Any, **settings: float) -> Any:
    return kit.native.nd.LRN(x.as_nd_ndarray(), nsize=5, **settings)
