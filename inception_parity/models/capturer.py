"""What capturing needs from a framework."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from .recorder import Recorder

Array = NDArray[Any]
Replacements = Mapping[Any, Array]  # a slot's key -> the value in the framework's layout


class Capturer(Protocol):
    """What captures the models of one framework.

    Nothing that it does to a model or to the framework outlives its context managers:
    parameters are replaced by copies, and the very same objects are put back.
    """

    name: ClassVar[str]
    dtypes: ClassVar[tuple[str, ...]] = ("float64", "float32")

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return the versions of the framework and of what it computes with."""

    @abstractmethod
    def title(self, model: Any) -> str:
        """Return what a model is called."""

    def layout(self, model: Any) -> str:
        """Return the layout of a model's images: NCHW or NHWC."""
        return "NCHW"

    def build(self, model: Any, inputs: Sequence[Array], layout: str) -> None:
        """Give a model its parameters, if it makes them when it is first called.

        Raises:
            InputError: it can't be done with inputs of these shapes.
        """
        return

    @abstractmethod
    def held(
        self, model: Any, dtype: str, training: bool, replaced: Replacements
    ) -> AbstractContextManager[None]:
        """Return a context in which the model computes in `dtype`, some parameters replaced."""

    @abstractmethod
    def run(
        self, model: Any, inputs: Sequence[Array], layout: str, dtype: str, recorder: Recorder
    ) -> None:
        """Run the model, and tell the recorder what it does."""

    @abstractmethod
    def convert(self, tensor: Any) -> Array:
        """Return a tensor as a NumPy array, as it is."""
