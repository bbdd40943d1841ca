"""What capturing needs from a framework, and what their capturers have in common."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .inputs import Arguments, Parameters
from .recorder import Recorder

Array = NDArray[Any]


class CannotRunError(InputError):
    """A model can't be run as it is told to, or raised an error when it was run."""


@dataclass(frozen=True)
class Conditions:
    """How a model is run.

    Args:
        dtype: of floating-point values: `float64`, `float32`, `float16` or `bfloat16`.
        turned: of each input whether the model takes it channels-last.
        layout: of the images inside the model, NCHW or NHWC.
        training: whether in training mode.
        replaced: a slot's key -> a value in the framework's layout, instead of the model's own.
        forced: an endpoint -> the value, in the shared layout, that what follows it is given.
    """

    dtype: str
    turned: tuple[bool, ...]
    layout: str = "NCHW"
    training: bool = False
    replaced: Mapping[Any, Array] = field(default_factory=dict)
    forced: Mapping[str, Array] = field(default_factory=dict)

    def arguments(self, given: Arguments) -> Arguments:
        """Return copies of the arguments as the model takes them."""
        found = []
        for array, turned in zip(given.leaves(), self.turned, strict=True):
            # NumPy has no bfloat16: float32 holds its values, and each framework converts them.
            own = "float32" if self.dtype == "bfloat16" else self.dtype
            dtype = own if array.dtype.kind == "f" else None
            found.append(np.array(np.moveaxis(array, 1, -1) if turned else array, dtype, order="C"))
        return given.filled(found)


class Capturer(Protocol):
    """What captures the models of one framework.

    Nothing that it does to a model or to the framework remains: parameters are
    replaced by copies, and the very same objects are put back.
    """

    name: ClassVar[str]
    forces: ClassVar[bool] = False  # whether it can give other values to what follows a layer

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return the versions of the framework and of what it computes with."""

    @abstractmethod
    def title(self, model: Any) -> str:
        """Return what a model is called."""

    @abstractmethod
    def parameters(self, model: Any) -> Parameters:
        """Return what a model takes."""

    def channels_last(self, model: Any) -> frozenset[int]:
        """Return how many axes those images have that a model takes channels-last: 4, 5, …"""
        return frozenset()

    def build(self, model: Any, given: Arguments) -> None:
        """Give a model its parameters, if it creates them when it is first called.

        Raises:
            InputError: it can't be done with inputs of these shapes.
        """
        return

    @abstractmethod
    def run(self, model: Any, given: Arguments, how: Conditions, recorder: Recorder) -> None:
        """Run the model, and tell the recorder what it does.

        Args:
            model: the model.
            given: its arguments, in its layout and dtype.
            how: the dtype, the mode and the parameters that it is run with.
            recorder: is told of every computation.
        """

    @abstractmethod
    def convert(self, tensor: Any) -> Array:
        """Return a tensor as a NumPy array, as it is."""


class Watch:
    """Knows which part of a model is running.

    Args:
        recorder: is told of every computation.
        parts: (dotted path, part) of everything that the model consists of.
    """

    def __init__(self, recorder: Recorder, parts: Iterable[tuple[str, Any]]) -> None:
        self.recorder = recorder
        self.paths = {id(part): path for path, part in parts}
        self.stack: list[tuple[Any, str]] = []
        self.ignoring = 0  # contexts that are open in which nothing is recorded
        self._begun = 0
        self._named: set[tuple[str, int]] = set()

    @property
    def current(self) -> tuple[Any, str]:
        """The innermost part that is running, and its path."""
        return self.stack[-1] if self.stack else (None, "")

    @contextlib.contextmanager
    def ignored(self) -> Iterator[None]:
        """Return a context in which nothing is recorded, as recording computes too."""
        self.ignoring += 1
        try:
            yield
        finally:
            self.ignoring -= 1

    def path(self, part: Any, made: str) -> str:
        """Return a part's path; `made` is the name of one that was made while the model runs."""
        return self.paths.get(id(part), f"{self.current[1]}.{made}".lstrip("."))

    def begin(self, part: Any, made: str) -> str:
        """Note that a part begins, and return its path."""
        path = self.path(part, made)
        self._begun += 1
        self.stack.append((part, path))
        return path

    def name(self, function: str, of_layer: bool) -> tuple[str, str]:
        """Return what a function that is called is known by, and the block that it is in.

        Args:
            function: its name.
            of_layer: whether the current part is a layer, and this may be what it computes: the
                first such function has the layer's path for its name.
        """
        path = self.current[1]
        block = path.rpartition(".")[0] if of_layer else path
        if of_layer and (path, self._begun) not in self._named:
            self._named.add((path, self._begun))
            return path, block
        return f"{path}.{function}".lstrip("."), block


def flattened(value: Any, kind: type) -> list[Any]:
    """Return the tensors, of type `kind`, in any nesting of sequences and dictionaries."""
    if isinstance(value, kind):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in flattened(part, kind)]
    return []
