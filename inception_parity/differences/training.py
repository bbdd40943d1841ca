"""Training: initial weights, dropout, gradients, and the mode a network starts in."""

from __future__ import annotations

import numpy as np

from .kit import Kit
from .topic import Answer, Topics, listed

TOPICS = Topics()


@TOPICS.experiment("dropout")
def dropout(kit: Kit) -> Answer:
    """Drop ones in training mode."""
    x = np.ones((1, 10_000))
    kit.seed()
    match kit.framework:
        case "pt":
            y = kit.run(kit.nn.Dropout(0.25), x)
        case "tf":
            y = kit.array(kit.nn.Dropout(0.25, seed=0)(kit.tensor(x), training=True))
        case _:
            with kit.native.autograd.record():
                y = kit.run(kit.nn.Dropout(0.25), x)
    kept, dropped = float(y.max()), (y == 0).mean().item()
    text = f"kept values become {kept:.4f}, {dropped:.0%} are dropped: p is the share dropped"
    return Answer(text, {"kept": kept, "dropped": dropped})


@TOPICS.experiment("initial-weights")
def initial_weights(kit: Kit) -> Answer:
    """Find the largest weight and bias of a new convolution."""
    kit.seed()
    match kit.framework:
        case "pt":
            values = list(kit.nn.Conv2d(32, 64, 3).parameters())
            formula = "uniform, 1 / sqrt(fan in)"
        case "tf":
            conv = kit.nn.Conv2D(64, 3)
            conv.build((None, None, None, 32))
            values = [weight.value for weight in conv.weights]
            formula = "Glorot uniform, sqrt(6 / (fan in + fan out))"
        case _:
            conv = kit.nn.Conv2D(64, 3, in_channels=32)
            conv.initialize()
            values = [conv.weight.data(), conv.bias.data()]
            formula = "uniform, 0.07 whatever the layer"
    weight, bias = (float(np.abs(kit.array(value)).max()) for value in values)
    text = f"weights up to {weight:.4f} ({formula}), bias "
    text += f"up to {bias:.4f}, random" if bias else "0"
    return Answer(text, {"weight": weight, "bias": bias})


@TOPICS.experiment("gradients", "pt")
def gradients_in_pytorch(kit: Kit) -> Answer:
    """Go backwards twice without `zero_grad`."""
    w, found = kit.native.ones(1, requires_grad=True), []
    for _ in range(2):
        (3 * w).sum().backward()
        found.append(w.grad.item())
    return Answer(f"{listed(found)}: they add up until `zero_grad`", {"gradients": found})


@TOPICS.experiment("gradients", "tf")
def gradients_in_tensorflow(kit: Kit) -> Answer:
    """Ask two tapes for a gradient."""
    import tensorflow as tf

    w, found = tf.Variable([1.0]), []
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(3 * w)
        found.append(float(tape.gradient(loss, w)[0]))
    return Answer(f"{listed(found)}: each is computed afresh", {"gradients": found})


@TOPICS.experiment("gradients", "mx")
def gradients_in_mxnet(kit: Kit) -> Answer:
    """Go backwards twice, and take a step with the trainer."""
    mxnet, layer, found = kit.native, kit.nn.Dense(1, use_bias=False, in_units=1), []
    layer.initialize(mxnet.init.One())
    for _ in range(2):
        with mxnet.autograd.record():
            loss = 3 * layer(mxnet.np.ones((1, 1)))
        loss.backward()
        found.append(layer.weight.grad().item())
    sgd = {"learning_rate": 1.0}
    mxnet.gluon.Trainer(layer.collect_params(), "sgd", sgd, kvstore=None).step(6)
    moved = 1.0 - layer.weight.data().item()
    text = f"{listed(found)}: each overwrites the last (`grad_req='write'`); "
    text += f"`trainer.step(6)` divides by 6: lr 1 moves the weight by {moved:g}"
    return Answer(text, {"gradients": found, "moved": moved})


@TOPICS.experiment("default-mode")
def default_mode(kit: Kit) -> Answer:
    """See whether a new dropout layer drops anything."""
    drops = bool((kit.run(kit.nn.Dropout(0.5), np.ones((1, 1000))) == 0).any())
    until = {
        "pt": "until `eval()`, even under `no_grad()`",
        "tf": "unless called with `training=True`, as `fit` does",
        "mx": "unless under `autograd.record()`",
    }
    mode = "training" if drops else "inference"
    return Answer(f"{mode}: {until[kit.framework]}", {"drops": drops})
