"""A network in four packages, small enough to be trained with every fault in every framework.

It has batch norm after a convolution with and without a bias, a plain
convolution, a max pool, dropout and an auxiliary head.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inception_parity.backends import adapter
from inception_parity.backends.recipe import Recipe
from inception_parity.traces.trace import Run, Trace, TraceWriter
from inception_parity.training_check.derivatives import record_oracle
from inception_parity.training_check.limits import Arrays
from inception_parity.training_check.steps import record_training
from inception_parity.training_check.trial import PRESETS, Trial
from inception_parity.workers.request import Train

CLASSES = 5
SIZE, BATCH = 12, 4
IDLE = ("conv2.conv.bias",)
COUNTS = {"stem.norm": BATCH * 6 * 6, "conv2.norm": BATCH * 3 * 3}


def make_layers(net: Any, package: str) -> None:
    layers = importlib.import_module(f"{package}.layers")
    pools = importlib.import_module(f"{package}.pools")
    net.stem = layers.ConvBlock(3, 6, 3, 2, 1, bias=False, batch_norm=True)  # 6 x 6 x 6
    net.pool = pools.MaxPool(3, stride=2, padding=1)  # 6 x 3 x 3
    net.conv2 = layers.ConvBlock(6, 8, 3, padding=1, batch_norm=True)
    net.conv3 = layers.ConvBlock(8, 8, 1)
    net.mean = pools.GlobalAvgPool()
    net.flatten = layers.Flatten()
    net.dropout = layers.Dropout(0.4)
    net.fc = layers.Linear(8, CLASSES)
    net.aux = layers.Linear(8, CLASSES)


def run(net: Any, x: Any, heads: bool) -> Any:
    x = net.conv2(net.pool(net.stem(x)))
    features = net.flatten(net.mean(net.conv3(x)))
    logits = net.fc(net.dropout(features))
    return (logits, net.aux(net.flatten(net.mean(x)))) if heads else logits


def in_numpy() -> Any:
    from inception_np.module import Module

    class Headed(Module):
        def __init__(self) -> None:
            super().__init__()
            make_layers(self, "inception_np")

        def forward(self, x: Any) -> Any:
            return run(self, x, self.training)

    return Headed()


def in_torch(dtype: str) -> Any:
    import torch

    class Headed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            make_layers(self, "inception_pt")

        def forward(self, x: Any) -> Any:
            return run(self, x, self.training)

    return Headed().to(getattr(torch, dtype)).eval()


def in_keras(dtype: str) -> Any:
    import keras

    from inception_parity.backends.tf import precision

    class Headed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            make_layers(self, "inception_tf")
            self.built = True

        def call(self, x: Any, training: bool = False) -> Any:
            return run(self, x, training)

    with precision(dtype):
        return Headed()


def in_mxnet(dtype: str) -> Any:
    from inception_mx.layers import HeadedBlock

    class Headed(HeadedBlock):
        def __init__(self) -> None:
            super().__init__()
            make_layers(self, "inception_mx")

        def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803
            return run(self, x, self.heads_run())

    net = Headed()
    net.initialize()
    net.cast(dtype)
    return net


def build(framework: str, dtype: str = "float64") -> Any:
    """Return the network, with its weights loaded."""
    net = {"pt": in_torch, "tf": in_keras, "mx": in_mxnet}[framework](dtype)
    importlib.import_module(f"inception_{framework}").set_weights(net, weights())
    return net


def weights() -> dict[str, np.ndarray]:
    """Return weights, the same each time."""
    import inception_np

    rng = np.random.default_rng(3)
    found = {}
    for name, array in inception_np.get_weights(in_numpy()).items():
        values = rng.standard_normal(array.shape) / np.sqrt(max(1, array[0].size))
        found[name] = (np.abs(values) + 0.5 if name.endswith("var") else values).astype(np.float32)
    return found


def arrays(trial: Trial) -> Arrays:
    return Arrays(weights(), trial.recipe, IDLE)


def images() -> np.ndarray:
    return np.random.default_rng(4).standard_normal((6, 3, SIZE, SIZE))


def trial(preset: str = "momentum", steps: int = 3, **changes: Any) -> Trial:
    """Return a trial of a few steps; `changes` are fields of its recipe."""
    kind, settings = PRESETS[preset]
    # Larger than the preset, because these weights are small and few.
    recipe = Recipe(kind, {**settings, "lr": 2.0**-5}, 0.1, 0.3, BATCH)
    return Trial(replace(recipe, **changes), steps)


def job(trial: Trial, out: Path, dtype: str = "float64") -> Train:
    return Train(
        "headed", {"num_classes": CLASSES}, dtype, "training", recipe=trial.text(), counts=COUNTS,
        idle=IDLE, images=Path(), out=out,
    )  # fmt: skip


def train(
    framework: str,
    trial: Trial,
    out: Path,
    dtype: str = "float64",
    plant: Callable[[Any, Any], None] | None = None,
    graph: bool = False,
) -> Trace:
    """Train a new network in a framework, and return the trace.

    Args:
        framework: the backend.
        trial: its training.
        out: the trace's folder.
        dtype: of the computation.
        plant: called with the network and its Training, to plant a fault.
        graph: whether Keras compiles its step, as it does for users, which takes seconds.
    """
    by = copy.copy(adapter(framework))
    make = by.training

    def made(net: Any, recipe: Recipe, keep_gradients: bool = False) -> Any:
        training = make(net, recipe, keep_gradients)
        if framework == "tf":
            training.steps.run_eagerly = not graph
        if plant is not None:
            plant(net, training)
        return training

    by.training = made  # type: ignore[method-assign]
    net = build(framework, dtype)
    record_training(by, net, job(trial, out, dtype), images(), weights())
    return Trace.read(out)


def oracle(trial: Trial, out: Path) -> Trace:
    import inception_np

    net = in_numpy()
    inception_np.set_weights(net, weights())
    record_oracle(adapter("np"), net, job(trial, out), images(), weights())
    return Trace.read(out)


def trace_of(folder: Path, name: str, **given: list[float]) -> Trace:
    """Return a trace with these arrays: `gradient` and `weights` after a step, `apart`, `noise`.

    `apart` is how far the gradient is from itself; other names are those of endpoints.
    """
    endpoints = {
        "gradient": "gradient.1 fc.weight", "weights": "weights.1 fc.weight",
        "apart": "perturbed gradient.1", "loss_apart": "perturbed loss",
    }  # fmt: skip
    with TraceWriter(folder / name) as writer:
        for what, values in given.items():
            writer.add(endpoints.get(what, what), np.array(values))
        run = Run("headed", {}, name, "float64", "cpu", "training", "", "", "")
        return writer.close(run, {}, 0.0)
