"""`keras.applications.InceptionV3`, by `load_weights`: nothing that a file describes is built."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ... import formats
from ...formats import keras as keras_files
from ...formats.torch import member_names
from ...libraries import STAGES
from ...libraries.keras import blocks
from ...traces import weights
from .. import tf
from .from_file import FromFile

_SUFFIXES = {"newer": ".weights.h5", "older": ".h5"}  # by which Keras chooses how to read


class Backend(FromFile, tf.Backend):
    """Keras' network, run by the adapter of Keras."""

    def load(self, dtype: str) -> Any:
        with tf.precision(dtype):
            net = keras.applications.InceptionV3(
                weights=None, classifier_activation=None, classes=self.options["num_classes"],
                input_tensor=keras.Input((None, None, self.options["in_channels"])),
            )  # fmt: skip
        if keras_files.WEIGHTS in member_names(self.file):
            suffix = ".keras"
        else:
            suffix = _SUFFIXES[formats.read(self.file, "keras").metadata["layout"]]
        with tempfile.TemporaryDirectory() as folder:  # the name says which of Keras' formats it is
            link = Path(folder) / f"weights{suffix}"
            link.symlink_to(self.file.absolute())
            net.load_weights(link)
        for variable in net.weights:  # what is converted of float64 is what float32 holds
            variable.assign(keras.ops.convert_to_numpy(variable).astype(np.float32))
        return net

    def blocks(self) -> list[str]:
        """Return our blocks of three layers each, in the order in which Keras makes them."""
        return blocks(weights.shapes(self.network, self.options))

    def modules(self, net: Any) -> Iterator[tuple[str, Any, bool]]:
        yield "", net, False
        found = {self.library.path(self.network, stage): stage for stage in STAGES[self.network]}
        for layer in net.layers:
            if layer.name in found:
                yield found[layer.name], layer, True
        for block, activation in zip(self.blocks(), made(net, "Activation"), strict=True):
            if block in STAGES[self.network]:
                yield block, activation, True
        for number, pool in enumerate(made(net, "MaxPooling2D")[:2], 1):
            yield f"maxpool{number}", pool, True

    def get_weights(self, net: Any) -> dict[str, NDArray[Any]]:
        classifier = net.get_layer("predictions")
        variables = {"fc.weight": classifier.kernel, "fc.bias": classifier.bias}
        layers = zip(made(net, "Conv2D"), made(net, "BatchNormalization"), strict=True)
        for block, (conv, norm) in zip(self.blocks(), layers, strict=True):
            variables[f"{block}.conv.weight"] = conv.kernel
            variables[f"{block}.norm.bias"] = norm.beta
            variables[f"{block}.norm.running_mean"] = norm.moving_mean
            variables[f"{block}.norm.running_var"] = norm.moving_variance
        return {
            name: self.library.to_shared(keras.ops.convert_to_numpy(variable)).copy()
            for name, variable in variables.items()
        }


def made(net: Any, kind: str) -> list[Any]:
    """Return the layers of a kind in the order in which they were made, which numbers them."""

    def number(layer: Any) -> int:
        last = layer.name.rpartition("_")[2]
        return int(last) if last.isdigit() else 0

    found = getattr(keras.layers, kind)
    return sorted((layer for layer in net.layers if isinstance(layer, found)), key=number)
