"""What the engine needs from a framework.

An adapter knows how one framework builds a network, converts arrays, and lets
something happen before and after each layer.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ReportedError
from ..networks import catalogue
from ..workers.request import Job
from .recipe import Recipe

Before = Callable[[tuple[Any, ...]], tuple[Any, ...]]
After = Callable[[tuple[Any, ...], Any], None]
Factors = Callable[[tuple[int, ...]], NDArray[np.float64]]


class UnavailableError(ReportedError):
    """The framework isn't installed, can't be loaded, or lacks the device or dtype."""


class Adapter(ABC):
    """One framework, on one device.

    Networks, modules and tensors are the framework's own, and only passed through. What is
    implemented here suits one of our packages.
    """

    name: ClassVar[str]
    dtypes: ClassVar[tuple[str, ...]] = ("float64", "float32")
    # What a network raises if its images are too small.
    refusals: ClassVar[tuple[type[Exception], ...]] = (ValueError,)

    def __init__(self, device: str) -> None:
        self.device = device
        self.package = catalogue.BACKENDS[self.name].package

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return the versions of the framework and of what it computes with."""

    def prepare(
        self, job: Job, weights: Mapping[str, NDArray[Any]], size: tuple[int, int], folder: Path,
        file: Path | None,
    ) -> None:  # fmt: skip
        """Make what `build` needs in addition to its arguments, which is nothing by default.

        `size` is the (height, width) of the images, `folder` the place for what is made, and
        `file` the user's own file, if there is one.
        """
        return

    @abstractmethod
    def build(self, network: catalogue.Network, options: Mapping[str, Any], dtype: str) -> Any:
        """Return the network, in inference mode, in `dtype`, on the device."""

    def modules(self, net: Any) -> Iterator[tuple[str, Any, bool]]:
        """Yield (dotted path, module, whether it is a leaf), the network itself first."""
        for path, module in net.named_modules():
            yield path, module, next(module.children(), None) is None

    @abstractmethod
    def attach(self, module: Any, before: Before, after: After) -> Callable[[], None]:
        """Let `before` replace the module's inputs and `after` see its output.

        Returns:
            A function that undoes it.
        """

    @abstractmethod
    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        """Return an array of the shared layout as the framework's tensor."""

    @abstractmethod
    def to_shared(self, tensor: Any) -> NDArray[Any]:
        """Return a copy of a tensor in the shared layout; bfloat16 as float32."""

    def dtype_of(self, tensor: Any) -> str:
        """Return the name of the tensor's dtype."""
        return str(tensor.dtype.name)

    def forward(self, net: Any, x: Any, training: bool = False) -> Any:
        """Run the network on a native tensor, layer by layer, without gradients.

        In training mode, which only backends that train have, heads run and batch norm uses the
        batch's own statistics.
        """
        return net(x)

    def get_weights(self, net: Any) -> dict[str, NDArray[Any]]:
        """Read the weights back out of a network."""
        weights: dict[str, NDArray[Any]] = importlib.import_module(self.package).get_weights(net)
        return weights

    def set_weights(self, net: Any, weights: Mapping[str, NDArray[Any]]) -> None:
        """Load shared weights into a network."""
        importlib.import_module(self.package).set_weights(net, weights)

    def control_dropout(self, net: Any, factors_of: Callable[[str, float], Factors] | None) -> None:
        """Take the randomness out of every dropout layer, before the network's `training` is made.

        `factors_of` turns a layer's path and the probability of dropping a value into the factors
        of the layer; without it nothing is dropped.
        """
        for path, module, _ in self.modules(net):
            p = self.dropout(module)
            if p is not None:
                self.multiply_by(module, factors_of(path, p) if factors_of else None)

    def dropout(self, module: Any) -> float | None:
        """Return the probability with which a module drops values; None if it isn't a dropout."""
        return None

    def multiply_by(self, module: Any, factors: Factors | None) -> None:
        """Let a dropout layer, in training, multiply by given factors instead of drawing a mask.

        `factors` is called in each step, with a shape in the shared layout; without it nothing is
        dropped.
        """
        raise NotImplementedError


class TrainingAdapter(Adapter):
    """A framework that trains networks as well."""

    bn_momentum: ClassVar[float] = 0.9  # the share of the old statistics that batch norm keeps

    @property
    def bn_unbiased(self) -> bool:
        """Whether batch norm divides the batch's variance by n - 1, not by n, when it keeps it."""
        return False

    @abstractmethod
    def training(
        self, net: Any, recipe: Recipe, keep_gradients: bool = False,
        lr_of: Callable[[int], float] | None = None,
    ) -> Any:  # fmt: skip
        """Return the package's `Training` of a network, with loss and optimizer of the recipe.

        Args:
            net: the network; the recipe's frozen arrays are frozen in it.
            recipe: how it is trained.
            keep_gradients: whether `gradients` will be called, for which Keras must keep them.
            lr_of: the learning rate of each step, by its number; None for the recipe's.
        """

    @abstractmethod
    def gradients(self, net: Any, training: Any) -> dict[str, NDArray[Any]]:
        """Return the gradients of the mean loss in the last step, by shared name and layout."""

    @abstractmethod
    def input_gradient(
        self, net: Any, training: Any, images: NDArray[Any], labels: NDArray[Any]
    ) -> NDArray[Any]:
        """Return the mean loss's gradient by the images; it moves batch norm's statistics."""


def wrap_method(module: Any, name: str, before: Before, after: After) -> Callable[[], None]:
    """Let `before` and `after` see what a method of a module is given and returns.

    Returns:
        A function that undoes it.
    """
    method, own = getattr(module, name), vars(module).get(name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        args = before(args)
        output = method(*args, **kwargs)
        after(args, output)
        return output

    setattr(module, name, wrapped)

    def undo() -> None:
        delattr(module, name)  # the class's own shows again
        if own is not None:
            setattr(module, name, own)

    return undo


def adapter(name: str, device: str = "cpu") -> Adapter:
    """Return the adapter of backend `name`, which imports its framework.

    Raises:
        UnavailableError: the framework can't be imported, or has no such device.
    """
    info = catalogue.backend(name)
    try:
        module = importlib.import_module(f".{name}", __package__)
        found: Adapter = module.Backend(device)
    except ImportError as error:
        why = " ".join(str(error).split())  # in one line
        hint = f"; pip install 'inception-parity[{info.extra}]'" if error.name else ""
        raise UnavailableError(f"{info.title}: {why}{hint}") from error
    return found


def trainable(backend: Adapter) -> TrainingAdapter:
    """Return the backend as one that trains.

    Raises:
        UnavailableError: it doesn't.
    """
    if not isinstance(backend, TrainingAdapter):
        raise UnavailableError(f"{backend.name} doesn't train")
    return backend
