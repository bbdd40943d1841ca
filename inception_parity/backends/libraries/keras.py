"""Networks of `keras.applications`, by `load_weights`: nothing that a file describes is built."""

from __future__ import annotations

import re
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
from ...traces import weights
from .. import tf
from .from_file import FromFile

# Whether a layer is batch norm, and our name of an array -> Keras' name of it.
_VARIABLES = {
    (False, "weight"): "kernel",
    (False, "bias"): "bias",
    (True, "bias"): "beta",
    (True, "running_mean"): "moving_mean",
    (True, "running_var"): "moving_variance",
}
_SUFFIXES = {"newer": ".weights.h5", "older": ".h5"}  # by which Keras chooses how to read


class Backend(FromFile, tf.Backend):
    """Keras' network, run by the adapter of Keras."""

    def load(self, dtype: str) -> Any:
        with tf.precision(dtype):
            net = getattr(keras.applications, self.library.networks[self.network].title)(
                weights=None, **self._classifier(),
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

    def _classifier(self) -> dict[str, Any]:
        """Return the arguments for the classifier; without one the features are averaged."""
        if not self.options["num_classes"]:
            return {"include_top": False, "pooling": "avg"}
        return {"classifier_activation": None, "classes": self.options["num_classes"]}

    def layers(self, net: Any) -> dict[str, Any]:
        """Return {our name of a layer that has weights: Keras' layer}."""
        shared = weights.shapes(self.network, self.options)
        ours = list(dict.fromkeys(name.rpartition(".")[0] for name in shared))
        held = {layer.name: layer for layer in net.layers}
        names = {name: self.library.path(self.network, name) for name in ours}
        found = {name: held[theirs] for name, theirs in names.items() if theirs in held}
        for kind, suffix in (("conv2d", ".conv"), ("batch_normalization", ".norm")):
            nameless = [name for name in ours if name.endswith(suffix) and name not in found]
            found |= zip(nameless, made(net, kind), strict=True)
        return found

    def modules(self, net: Any) -> Iterator[tuple[str, Any, bool]]:
        yield "", net, False
        found = {self.library.path(self.network, stage): stage for stage in STAGES[self.network]}
        for layer in net.layers:
            if layer.name in found:
                yield found[layer.name], layer, True
        norms = [
            ours
            for ours, layer in self.layers(net).items()
            if ours.endswith(".norm") and layer.name != self.library.path(self.network, ours)
        ]
        for norm, activation in zip(norms, made(net, "activation"), strict=True):
            block = norm.removesuffix(".norm")
            if block in STAGES[self.network]:
                yield block, activation, True
        pools = [stage for stage in STAGES[self.network] if stage.lower().startswith("maxpool")]
        made_pools = made(net, "max_pooling2d")  # the first ones; others are inside blocks
        for ours, pool in zip(pools, made_pools, strict=False):
            yield ours, pool, True

        if "Block8" in STAGES[self.network]:  # which ends in its addition, without an activation
            yield "Block8", made(net, "custom_scale_layer")[-1], True

    def get_weights(self, net: Any) -> dict[str, NDArray[Any]]:
        layers, found = self.layers(net), dict[str, NDArray[Any]]()
        for name in weights.shapes(self.network, self.options):
            layer, _, array = name.rpartition(".")
            variable = getattr(layers[layer], _VARIABLES[layer.endswith(".norm"), array])
            values = keras.ops.convert_to_numpy(variable)
            found[name] = self.library.to_shared(self.network, name, values).copy()
        return found


def made(net: Any, kind: str) -> list[Any]:
    """Return the nameless layers of a kind in the order in which they were made.

    Keras calls them by their kind and a number, which the first hasn't.
    """
    numbered = re.compile(rf"{kind}(?:_(\d+))?")
    found = {
        int(match[1] or 0): layer
        for layer in net.layers
        if (match := numbered.fullmatch(layer.name))
    }
    return [found[number] for number in sorted(found)]
