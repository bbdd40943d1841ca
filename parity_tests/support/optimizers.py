"""Optimizers in each framework, stepped through given gradients: ours and the native ones.

Five steps on two small arrays; lr drops to a quarter from the third step on.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

DROP = 2  # from this step on, lr is a quarter
STEPS = 5


def start() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"kernel": rng.standard_normal((3, 2, 2)), "bias": rng.standard_normal(3)}


def gradients(step: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng((1, step))
    return {
        "kernel": rng.standard_normal((3, 2, 2)) * 10.0 ** rng.integers(-6, 1, (3, 2, 2)),
        "bias": rng.standard_normal(3),
    }


def defined(kind: str, settings: dict[str, Any], steps: int) -> dict[str, np.ndarray]:
    """Return the weights after the steps, by the NumPy definition."""
    optimizer = getattr(importlib.import_module("inception_np"), kind)(**settings)
    weights = start()
    for step in range(steps):
        if step == DROP:
            optimizer.lr /= 4
        optimizer.step(weights, gradients(step))
    return weights


def in_torch(make: Callable[[Any], Any], steps: int) -> dict[str, np.ndarray]:
    import torch

    weights = {n: torch.nn.Parameter(torch.from_numpy(w)) for n, w in start().items()}
    optimizer = make(weights.values())
    for step in range(steps):
        if step == DROP:
            optimizer.param_groups[0]["lr"] /= 4
        for name, g in gradients(step).items():
            weights[name].grad = torch.from_numpy(g)
        optimizer.step()
    return {name: w.detach().numpy() for name, w in weights.items()}


def in_keras(make: Callable[[], Any], steps: int) -> dict[str, np.ndarray]:
    import keras
    import tensorflow as tf

    from inception_parity.backends.tf import precision

    with precision("float64"):  # also lr's dtype
        weights = {n: keras.Variable(w, dtype="float64") for n, w in start().items()}
        optimizer = make()
        for step in range(steps):
            if step == DROP:
                optimizer.learning_rate = optimizer.learning_rate / 4
            rows = [(tf.constant(g), weights[n]) for n, g in gradients(step).items()]
            optimizer.apply_gradients(rows)
    return {name: w.numpy() for name, w in weights.items()}


def in_mxnet(make: Callable[[], Any], steps: int, batch: int = 4) -> dict[str, np.ndarray]:
    """Gluon's convention: gradients of sums, which `step(batch)` turns into those of means."""
    from inception_mx._mxnet import gluon, mxnet

    weights = {n: gluon.Parameter(n, shape=w.shape, dtype="float64") for n, w in start().items()}
    for name, w in start().items():
        weights[name].initialize(mxnet.init.Zero())
        weights[name].set_data(mxnet.np.array(w, dtype="float64"))
    trainer = gluon.Trainer(list(weights.values()), make())
    for step in range(steps):
        if step == DROP:
            trainer.set_learning_rate(trainer.learning_rate / 4)
        with mxnet.autograd.record():
            loss = sum(
                (weights[n].data() * mxnet.np.array(batch * g, dtype="float64")).sum()
                for n, g in gradients(step).items()
            )
        loss.backward()
        trainer.step(batch)
    return {name: w.data().asnumpy() for name, w in weights.items()}


# The native ones

MOMENTUM: dict[str, Any] = {"lr": 0.0625, "momentum": 0.875}
DECAY = {**MOMENTUM, "weight_decay": 0.125}
RMSPROP = {"lr": 0.0625, "decay": 0.875}
ADAM = {"lr": 0.0625}


def torch_optim(name: str, **settings: Any) -> Callable[[Any], Any]:
    """Return a function from parameters to PyTorch's own optimiser."""
    import torch

    return lambda params: getattr(torch.optim, name)(params, **settings)


def keras_optim(name: str, **settings: Any) -> Callable[[], Any]:
    """Return a function that creates Keras' own optimiser."""
    import keras

    return lambda: getattr(keras.optimizers, name)(**settings)


def mxnet_optim(name: str, **settings: Any) -> Callable[[], Any]:
    """Return a function that creates MXNet's own optimiser."""
    from inception_mx._mxnet import mxnet

    return lambda: getattr(mxnet.optimizer, name)(**settings)


def native_differences() -> list[tuple[str, str, str, float]]:
    """Return (definition, native optimizer, what differs, by how much).

    A difference is relative to how far the definition moves the weights.
    """
    sgd, rate = "SGD, momentum", {"learning_rate": 0.0625}
    nesterov = {**MOMENTUM, "nesterov": True}
    small, large = {**RMSPROP, "eps": 2.0**-20}, {**RMSPROP, "eps": 1.0}
    cases = [
        (sgd, "SGD", MOMENTUM, "pt", "torch.optim.SGD", "", torch_optim("SGD", **MOMENTUM)),
        (sgd, "SGD", MOMENTUM, "tf", "keras SGD", "lr inside the velocity",
         keras_optim("SGD", **rate, momentum=0.875)),
        (sgd, "SGD", MOMENTUM, "mx", "mxnet SGD", "lr inside the velocity",
         mxnet_optim("SGD", **rate, momentum=0.875)),
        ("SGD, Nesterov", "SGD", nesterov, "pt", "torch.optim.SGD", "",
         torch_optim("SGD", **nesterov)),
        ("SGD, Nesterov", "SGD", nesterov, "tf", "keras SGD", "lr inside the velocity",
         keras_optim("SGD", **rate, momentum=0.875, nesterov=True)),
        ("SGD, Nesterov", "SGD", nesterov, "mx", "mxnet NAG", "lr inside the velocity",
         mxnet_optim("NAG", **rate, momentum=0.875)),
        ("SGD, decay 1/8", "SGD", DECAY, "pt", "torch.optim.SGD", "", torch_optim("SGD", **DECAY)),
        ("SGD, decay 1/8", "SGD", DECAY, "tf", "keras SGD",
         "decoupled weight decay; lr inside the velocity",
         keras_optim("SGD", **rate, momentum=0.875, weight_decay=0.125)),
        ("Adam, eps 1e-8", "Adam", ADAM, "pt", "torch.optim.Adam", "",
         torch_optim("Adam", lr=0.0625)),
        ("Adam, eps 1e-8", "Adam", ADAM, "tf", "keras Adam", "eps 1e-7, on the uncorrected root",
         keras_optim("Adam", **rate)),
        ("Adam, eps 1e-8", "Adam", ADAM, "mx", "mxnet Adam", "eps on the uncorrected root; float32",
         mxnet_optim("Adam", **rate)),
        ("RMSProp, eps 1", "RMSProp", large, "pt", "torch.optim.RMSprop", "eps outside the root",
         torch_optim("RMSprop", lr=0.0625, alpha=0.875, eps=1.0)),
        ("RMSProp, eps 1", "RMSProp", large, "tf", "keras RMSprop", "",
         keras_optim("RMSprop", **rate, rho=0.875, epsilon=1.0)),
        ("RMSProp, eps 2^-20", "RMSProp", small, "pt", "torch.optim.RMSprop",
         "eps outside the root", torch_optim("RMSprop", lr=0.0625, alpha=0.875, eps=2.0**-20)),
        ("RMSProp, eps 1", "RMSProp", large, "pt", "torch.optim.RMSprop",
         "its defaults: alpha 0.99, eps 1e-8", torch_optim("RMSprop", lr=0.0625)),
        ("RMSProp, eps 1", "RMSProp", large, "tf", "keras RMSprop",
         "its defaults: rho 0.9, eps 1e-7", keras_optim("RMSprop", **rate)),
        ("SGD, lr 0.1", "SGD", {"lr": 0.1}, "mx", "mxnet SGD", "lr in float32",
         mxnet_optim("SGD", learning_rate=0.1)),
    ]  # fmt: skip
    run = {"pt": in_torch, "tf": in_keras, "mx": in_mxnet}
    found = []
    for title, kind, settings, framework, native, what, make in cases:
        weights, expected = run[framework](make, STEPS), defined(kind, settings, STEPS)
        begin = start()
        apart = np.sqrt(sum(((weights[n] - expected[n]) ** 2).sum() for n in begin))
        moved = np.sqrt(sum(((begin[n] - expected[n]) ** 2).sum() for n in begin))
        found.append((title, native, what or "the definition itself", float(apart / moved)))
    return found
