"""A network that trains in no time, with batch norm and dropout, in every package.

It isn't in the catalogue: `in_catalogue` adds it for a test. Also data that is quickly
learnt: ten classes, each a pattern with noise.
"""

from __future__ import annotations

import gzip
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inception_parity.networks import catalogue
from inception_parity.training.plan import Plan

IDX = {"train": "train", "test": "t10k"}


class TinyNetwork(catalogue.Network):
    """Convolution, batch norm, ReLU, pool, dropout, classifier; children `0.0` to `0.4`."""

    def build(self, package: str, options: Mapping[str, Any]) -> Any:
        layers = importlib.import_module(f"{package}.layers")
        pools = importlib.import_module(f"{package}.pools")
        inner = layers.Sequential(
            layers.ConvBlock(options["in_channels"], 8, 3, 2, 1, batch_norm=True),
            pools.GlobalAvgPool(),
            layers.Flatten(),
            layers.Dropout(0.25),
            layers.Linear(8, options["num_classes"]),
        )
        return _model(inner) if package == "inception_tf" else layers.Sequential(inner)


def _model(inner: Any) -> Any:
    """Return a Keras model: only a model takes `training`."""
    import keras

    class Tiny(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            setattr(self, "0", inner)
            self.built = True

        def call(self, x: Any, training: bool = False) -> Any:
            return inner(x)

    return Tiny()


def tiny() -> TinyNetwork:
    """Return the network's entry for the catalogue, as `tiny`."""
    options = catalogue.NETWORKS["googlenet"].options[:2]
    return TinyNetwork("tiny", "Tiny", "these tests", options, size=(12, 12))


def plan(data: Any, **given: Any) -> Plan:
    """Return a plan to train the network on data."""
    options = {"in_channels": data.channels, "num_classes": len(data.classes)}
    return Plan.make({
        "network": "tiny", "options": options, "data": data.name, "data_digest": data.digest,
        "train_images": len(data.train), "test_images": len(data.test), "height": 12, "width": 12,
        "epochs": 2, "batch": 16, "lr": 0.125, "threads": 1, **given,
    })  # fmt: skip


def patterns(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return grey images of 14x14 and labels: one pattern per class, with noise."""
    of_class = np.random.default_rng(99).integers(0, 256, (10, 14, 14))
    labels = np.random.default_rng(seed).permutation(np.arange(count) % 10)
    noise = np.random.default_rng(seed + 1).integers(-20, 21, (count, 14, 14))
    return np.clip(of_class[labels] + noise, 0, 255).astype(np.uint8), labels.astype(np.uint8)


def idx(array: NDArray[np.uint8]) -> bytes:
    """Return the content of an idx file with an array."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_fashion(folder: Path, train: int = 72, test: int = 40, zipped: bool = False) -> Path:
    """Write a data set in Fashion-MNIST's file format; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (kind, count) in enumerate({"train": train, "test": test}.items()):
        for what, array in zip(("images-idx3", "labels-idx1"), patterns(count, seed), strict=True):
            file = folder / f"{IDX[kind]}-{what}-ubyte"
            if zipped:
                file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                file.write_bytes(idx(array))
    return folder
