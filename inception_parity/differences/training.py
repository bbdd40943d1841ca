"""Training: initial weights, dropout, gradients, and the mode a network starts in."""

from __future__ import annotations

from .topic import Answer, Topic, listed


def _dropped(kept: float, dropped: float) -> Answer:
    text = f"kept values become {kept:.4f}, {dropped:.0%} are dropped"
    return Answer(f"{text}: p is the share dropped", {"kept": kept, "dropped": dropped})


def _dropout_pt() -> Answer:
    import torch

    torch.manual_seed(0)
    y = torch.nn.Dropout(0.25)(torch.ones(10_000))
    return _dropped(y.max().item(), (y == 0).float().mean().item())


def _dropout_tf() -> Answer:
    import keras
    import numpy as np

    y = np.asarray(keras.layers.Dropout(0.25, seed=0)(np.ones((1, 10_000), "f4"), training=True))
    return _dropped(float(y.max()), float((y == 0).mean()))


def _dropout_mx() -> Answer:
    from inception_mx._mxnet import mxnet, nn

    mxnet.random.seed(0)
    with mxnet.autograd.record():
        y = nn.Dropout(0.25)(mxnet.np.ones((1, 10_000))).asnumpy()
    return _dropped(float(y.max()), float((y == 0).mean()))


def _initial(weight: float, bias: float, formula: str) -> Answer:
    text = f"weights up to {weight:.4f} ({formula}), bias "
    text += f"up to {bias:.4f}, random" if bias else "0"
    return Answer(text, {"weight": weight, "bias": bias})


def _initial_pt() -> Answer:
    import torch

    torch.manual_seed(0)
    conv = torch.nn.Conv2d(32, 64, 3)
    weight, bias = (float(p.detach().abs().max()) for p in conv.parameters())
    return _initial(weight, bias, "uniform, 1 / sqrt(fan in)")


def _initial_tf() -> Answer:
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    conv = keras.layers.Conv2D(64, 3)
    conv.build((None, None, None, 32))
    weight, bias = (float(np.abs(w).max()) for w in conv.get_weights())
    return _initial(weight, bias, "Glorot uniform, sqrt(6 / (fan in + fan out))")


def _initial_mx() -> Answer:
    from inception_mx._mxnet import mxnet, nn

    mxnet.random.seed(0)
    conv = nn.Conv2D(64, 3, in_channels=32)
    conv.initialize()
    weight, bias = (float(abs(p.data().asnumpy()).max()) for p in (conv.weight, conv.bias))
    return _initial(weight, bias, "uniform, 0.07 whatever the layer")


def _gradients(found: list[float], meaning: str) -> Answer:
    return Answer(f"{listed(found)}: {meaning}", {"gradients": found})


def _gradients_pt() -> Answer:
    import torch

    w = torch.ones(1, requires_grad=True)
    found = []
    for _ in range(2):
        torch.autograd.backward((3 * w).sum())
        assert w.grad is not None
        found.append(w.grad.item())
    return _gradients(found, "they add up until `zero_grad`")


def _gradients_tf() -> Answer:
    import tensorflow as tf

    w = tf.Variable([1.0])
    found = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(3 * w)
        found.append(float(tape.gradient(loss, w)[0]))
    return _gradients(found, "each is computed afresh")


def _gradients_mx() -> Answer:
    from inception_mx._mxnet import gluon, mxnet, nn

    layer = nn.Dense(1, use_bias=False, in_units=1)
    layer.initialize(mxnet.init.One())
    found = []
    for _ in range(2):
        with mxnet.autograd.record():
            loss = 3 * layer(mxnet.np.ones((1, 1)))
        loss.backward()
        found.append(layer.weight.grad().item())
    trainer = gluon.Trainer(layer.collect_params(), "sgd", {"learning_rate": 1.0}, kvstore=None)
    trainer.step(6)
    moved = 1.0 - layer.weight.data().item()
    seen = _gradients(found, "each overwrites the last (`grad_req='write'`)")
    text = f"; `trainer.step(6)` divides by 6: lr 1 moves the weight by {moved:g}"
    return seen.more(text, moved=moved)


def _mode(dropped: float, fresh: str) -> Answer:
    mode = "training" if dropped > 0 else "inference"
    return Answer(f"{mode}: {fresh}", {"drops": dropped > 0})


def _mode_pt() -> Answer:
    import torch

    y = torch.nn.Dropout(0.5)(torch.ones(1000))
    return _mode(float((y == 0).sum()), "until `eval()`, even under `no_grad()`")


def _mode_tf() -> Answer:
    import keras
    import numpy as np

    y = np.asarray(keras.layers.Dropout(0.5)(np.ones((1, 1000), "f4")))
    return _mode(float((y == 0).sum()), "unless called with `training=True`, as `fit` does")


def _mode_mx() -> Answer:
    from inception_mx._mxnet import mxnet, nn

    y = nn.Dropout(0.5)(mxnet.np.ones((1, 1000))).asnumpy()
    return _mode(float((y == 0).sum()), "unless under `autograd.record()`")


TOPICS = (
    Topic(
        "dropout",
        "Dropout",
        "Dropout with p 0.25 in training mode, over ten thousand ones.",
        "All three scale the values they keep by 1 / (1 - p) in training and do nothing in "
        "inference; TensorFlow 1's `keep_prob` was 1 - p. The masks never match, not even with "
        "the same seed.",
        "Parity of training is checked with p 0, or with the same masks given to all.",
        {"pt": _dropout_pt, "tf": _dropout_tf, "mx": _dropout_mx},
    ),
    Topic(
        "initial-weights",
        "Initial weights",
        "The largest weight and the largest bias of a new 3 x 3 convolution from 32 to 64 "
        "channels.",
        "GoogLeNet without batch norm learns from some initial weights and not from others; "
        "training runs that start from different weights only show how the starts compare.",
        "All networks start from one file of shared weights, or from seeded weights, which are "
        "computed from integers and are the same on every machine.",
        {"pt": _initial_pt, "tf": _initial_tf, "mx": _initial_mx},
    ),
    Topic(
        "gradients",
        "Gradients of a second backward pass",
        "The gradient of 3 w after one backward pass, and after a second.",
        "A forgotten `zero_grad` doubles the step, in PyTorch only. MXNet's trainer divides by the "
        "batch size it is given; the others don't.",
        "Training steps here clear the gradients first, take the mean of the loss and, in MXNet, "
        "step with batch size 1, so a gradient is the same number everywhere.",
        {"pt": _gradients_pt, "tf": _gradients_tf, "mx": _gradients_mx},
    ),
    Topic(
        "default-mode",
        "The mode of a new network",
        "A new dropout layer is called on ones, without saying whether it is training.",
        "The same code compares one network that drops values and normalises by batch with two "
        "that don't.",
        "Backends are put into inference mode before anything is recorded; auxiliary heads run "
        "in training, or where `return_aux` asks for them.",
        {"pt": _mode_pt, "tf": _mode_tf, "mx": _mode_mx},
    ),
)
