"""`keras.applications.InceptionV3`, by `load_weights`: nothing that a file describes is built."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ... import formats
from ...formats import keras as keras_files
from ...formats.torch import member_names
from ...libraries import STAGES
from ...libraries import keras as names
from ...networks.catalogue import Network
from ...traces import weights
from .. import tf
from .from_file import FromFile

_SUFFIXES = {"newer": ".weights.h5", "older": ".h5"}  # by which Keras chooses how to read


class Backend(FromFile, tf.Backend):
    """Keras' network, beside the adapter of Keras."""

    def build(self, network: Network, options: Mapping[str, Any], dtype: str) -> Any:
        self.network, self.options = network.name, dict(options)
        with tf.precision(dtype):
            net = keras.applications.InceptionV3(
                weights=None, classifier_activation=None, classes=options["num_classes"],
                input_tensor=keras.Input((None, None, options["in_channels"])),
            )  # fmt: skip
        self.load(net)
        return net

    def load(self, net: Any) -> None:
        """Let Keras read the file, under a name that says which of its formats it is."""
        if keras_files.WEIGHTS in member_names(self.file):
            suffix = ".keras"
        else:
            suffix = _SUFFIXES[formats.read(self.file, "keras").metadata["layout"]]
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / f"weights{suffix}"
            link.symlink_to(self.file.absolute())
            net.load_weights(link)
        for variable in net.weights:  # what is converted of float64 is what float32 holds
            variable.assign(keras.ops.convert_to_numpy(variable).astype(np.float32))

    def layers(self, net: Any) -> tuple[list[Any], list[Any]]:
        """Return the convolutions and the norms in the order in which they were made."""
        kinds = (keras.layers.Conv2D, keras.layers.BatchNormalization)
        convs, norms = (
            sorted((layer for layer in net.layers if isinstance(layer, kind)), key=_number)
            for kind in kinds
        )
        return convs, norms

    def modules(self, net: Any) -> Iterator[tuple[str, Any, bool]]:
        yield "", net, False
        found = {names.path(self.network, stage): stage for stage in STAGES[self.network]}
        activations = [a for a in net.layers if isinstance(a, keras.layers.Activation)]
        made = names.blocks(weights.shapes(self.network, self.options))
        blocks = dict(zip(made, sorted(activations, key=_number), strict=True))
        pools = sorted(
            (p for p in net.layers if isinstance(p, keras.layers.MaxPooling2D)), key=_number
        )
        for layer in net.layers:
            if layer.name in found:
                yield found[layer.name], layer, True
        for stage in STAGES[self.network]:
            if stage in blocks:
                yield stage, blocks[stage], True
        yield "maxpool1", pools[0], True
        yield "maxpool2", pools[1], True

    def get_weights(self, net: Any) -> dict[str, NDArray[Any]]:
        convs, norms = self.layers(net)
        found: dict[str, NDArray[Any]] = {}

        def add(name: str, variable: Any) -> None:
            array = keras.ops.convert_to_numpy(variable)
            found[name] = names.LIBRARY.to_shared(array).copy()

        made = names.blocks(weights.shapes(self.network, self.options))
        for block, conv, norm in zip(made, convs, norms, strict=True):
            add(f"{block}.conv.weight", conv.kernel)
            add(f"{block}.norm.bias", norm.beta)
            add(f"{block}.norm.running_mean", norm.moving_mean)
            add(f"{block}.norm.running_var", norm.moving_variance)
        classifier = net.get_layer("predictions")
        add("fc.weight", classifier.kernel)
        add("fc.bias", classifier.bias)
        return found


def _number(layer: Any) -> int:
    """Return the number in a layer's name: layers are numbered as they are made."""
    last = layer.name.rpartition("_")[2]
    return int(last) if last.isdigit() else 0
