"""How far the frameworks' own optimisers are from the definitions, as numbers.

    python -m benchmarks.native_optimizers

Five steps on two small arrays with given gradients, lr a quarter from the third step on. A
difference is relative to how far the definition moves the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from parity_tests.packages.test_optimizers import (
    STEPS,
    defined,
    in_keras,
    in_mxnet,
    in_torch,
    start,
)

MOMENTUM: dict[str, Any] = {"lr": 0.0625, "momentum": 0.875}
DECAY = {**MOMENTUM, "weight_decay": 0.125}
RMSPROP = {"lr": 0.0625, "decay": 0.875}
ADAM = {"lr": 0.0625}


def torch_optim(name: str, **settings: Any) -> Callable[[Any], Any]:
    """Return what makes PyTorch's own optimiser of some parameters."""
    import torch

    return lambda params: getattr(torch.optim, name)(params, **settings)


def keras_optim(name: str, **settings: Any) -> Callable[[], Any]:
    """Return what makes Keras' own optimiser."""
    import keras

    return lambda: getattr(keras.optimizers, name)(**settings)


def mxnet_optim(name: str, **settings: Any) -> Callable[[], Any]:
    """Return what makes MXNet's own optimiser."""
    from inception_mx._mxnet import mxnet

    return lambda: getattr(mxnet.optimizer, name)(**settings)


def rows() -> list[tuple[str, str, str, float]]:
    """Return (definition, native optimiser, what differs, by how much)."""
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
        ("SGD, decay 1/8", "SGD", DECAY, "tf", "keras SGD", "decay beside the step, and lr inside",
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


def main() -> None:
    """Print the table as Markdown."""
    print("| definition | native | what differs | relative difference |\n|---|---|---|---|")
    for title, native, what, apart in rows():
        number = "0" if apart == 0 else f"{apart:.1e}"
        print(f"| {title} | {native} | {what} | {number} |")


if __name__ == "__main__":
    main()
