"""One framework as the experiments use it: NumPy arrays in the shared layout go in and come out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backends import Adapter
from ..networks import catalogue

# framework -> its module, and the one with its layers
MODULES = {
    "pt": ("torch", "torch.nn"),
    "tf": ("keras", "keras.layers"),
    "mx": ("mxnet", "mxnet.gluon.nn"),
}


class Kit:
    """A framework, its layers, and this project's package for it.

    Args:
        backend: the framework's adapter, which has imported it with its settings.

    Attributes:
        framework: `pt`, `tf` or `mx`.
        native: `torch`, `keras` or `mxnet`.
        nn: the module with the framework's own layers.
        layers, pools, optimizers: these modules of this project's package.
    """

    def __init__(self, backend: Adapter) -> None:
        self.framework = backend.name
        self.backend = backend
        self.native, self.nn = map(importlib.import_module, MODULES[backend.name])
        package = catalogue.BACKENDS[backend.name].package
        self.layers, self.pools, self.optimizers = (
            importlib.import_module(f"{package}.{part}")
            for part in ("layers", "pools", "optimizers")
        )

    def tensor(self, values: ArrayLike, dtype: str = "float32") -> Any:
        """Return values, images in the shared layout, as the framework's tensor."""
        return self.backend.to_native(np.asarray(values), dtype)

    def array(self, tensor: Any) -> NDArray[Any]:
        """Return a tensor's values, images in the shared layout."""
        return self.backend.to_shared(tensor)

    def run(self, layer: Callable[[Any], Any], values: ArrayLike) -> NDArray[Any]:
        """Return what a layer makes of float32 values."""
        return self.array(layer(self.tensor(values)))

    def run_with_ones(self, layer: Any, values: ArrayLike) -> NDArray[Any]:
        """Return what a layer makes of float32 values once all its weights are 1."""
        match self.framework:
            case "pt":
                for parameter in layer.parameters():
                    self.nn.init.ones_(parameter)
            case "tf":
                self.run(layer, values)  # which creates the weights
                layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()])
            case "mx":
                layer.initialize(self.native.init.One())
        return self.run(layer, values)

    def seed(self) -> None:
        """Make the framework draw the same random numbers from here on in every run."""
        match self.framework:
            case "pt":
                self.native.manual_seed(0)
            case "tf":
                self.native.utils.set_random_seed(0)
            case "mx":
                self.native.random.seed(0)
