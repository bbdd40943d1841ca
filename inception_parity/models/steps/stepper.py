"""What a training step needs from a framework, and what it leaves."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..inputs import Arguments
from ..layouts import Tag, in_own_layout, in_shared_layout
from .losses import Loss
from .optimizers import Optimizer

Array = NDArray[Any]


@dataclass(frozen=True)
class Task:
    """One model's training step.

    Args:
        loss: one with a name; or a function of the model's output and the targets, in its
            framework's tensors.
        optimizer: one with a name; or what makes one: of the parameters in PyTorch and MXNet
            (a `Trainer`), of nothing in Keras.
        target: what the loss is given besides, in the shared layout.
        tags: the layouts of the outputs.
        turned: of each input whether it is channels-last.
        replaced: a parameter's key -> a value in the framework's layout, instead of its own.
        nudge: how far every input and weight is moved, relative to its own size: up or down.
    """

    loss: Loss | Callable[..., Any]
    optimizer: Optimizer | Callable[..., Any]
    target: Array | None
    tags: Sequence[Tag]
    turned: Sequence[bool]
    replaced: Mapping[Any, Array] = field(default_factory=dict)
    nudge: float = 0.0

    def moved(self, name: str, array: Array) -> Array:
        """Return an array with every value nudged up or down, drawn by the array's name."""
        if not self.nudge or array.dtype.kind != "f":
            return array
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], array.shape)
        return np.asarray(array * (1.0 + signs * self.nudge))

    def arguments(self, given: Arguments) -> Arguments:
        """Return the model's arguments, nudged."""
        leaves = [self.moved(f"input {i}", x) for i, x in enumerate(given.leaves())]
        return given.filled(leaves)

    def tag(self, number: int) -> Tag:
        """Return the layout of an output."""
        return self.tags[number] if number < len(self.tags) else None

    def named(self, outputs: Sequence[Array]) -> tuple[float, list[Array | None], list[Array]]:
        """Return a named loss, its gradients in the outputs' layouts, and in the shared one."""
        assert isinstance(self.loss, Loss)
        shared = self.shared_outputs(outputs)
        value, gradients = self.loss.value(shared, self.loss.target(shared, self.target))
        own = [
            None if g is None else np.ascontiguousarray(in_own_layout(g, self.tag(i)))
            for i, g in enumerate(gradients)
        ]
        return value, own, [np.zeros_like(x) if g is None else g
                            for x, g in zip(shared, gradients, strict=True)]  # fmt: skip

    def shared_outputs(self, arrays: Sequence[Array]) -> list[Array]:
        """Return outputs, or gradients for them, in the shared layout."""
        return [
            np.array(in_shared_layout(array, self.tag(i)), np.float64)
            for i, array in enumerate(arrays)
        ]

    def own_target(self, shape: Sequence[int]) -> Array | None:
        """Return the target as a loss of the model's own framework takes it."""
        if self.target is None or self.target.ndim != len(shape):
            return self.target
        return np.ascontiguousarray(in_own_layout(self.target, self.tag(0)))

    def shared_inputs(self, gradients: Sequence[Array | None]) -> list[Array | None]:
        """Return the gradients of inputs in the shared layout."""
        return [
            np.moveaxis(g, -1, 1) if turned and g is not None else g
            for g, turned in zip(gradients, self.turned, strict=True)
        ]


@dataclass
class Stepped:
    """What a step left, by the keys that a framework has for its parameters, in its own layouts.

    Args:
        loss: the loss.
        outputs: what the model returned, in the shared layout.
        output_gradients: the loss's gradients for them, likewise.
        input_gradients: for the inputs, likewise; None for whole numbers.
        gradients: of the arrays that have one.
        before: all arrays.
        after: all arrays after the step.
        frozen: those that aren't to be trained.
        dropout: the rates that were set to 0.
        regularisation: what the model itself added to the loss.
    """

    loss: float
    outputs: list[Array]
    output_gradients: list[Array]
    input_gradients: list[Array | None]
    gradients: dict[Any, Array]
    before: dict[Any, Array]
    after: dict[Any, Array]
    frozen: set[Any]
    dropout: tuple[float, ...] = ()
    regularisation: float = 0.0


class Stepper(Protocol):
    """What trains the models of one framework for a step, and leaves them as they were."""

    @abstractmethod
    def step(self, model: Any, given: Arguments, task: Task) -> Stepped:
        """Run a model in training mode, without dropout, in float64; go back, and step."""

    @abstractmethod
    def without_dropout(self, model: Any) -> AbstractContextManager[list[float]]:
        """Set all rates of dropout to 0, and each back; give those that were higher."""
