"""What a training step of two models is: their losses and optimizers, and the targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .losses import Loss
from .optimizers import Optimizer

MODES = ("inference", "training")
DEFAULT_LOSS = "projection"
DEFAULT_OPTIMIZER = "momentum"

Chosen = Loss | Callable[..., Any]
Stepping = Optimizer | Callable[..., Any]


@dataclass(frozen=True)
class StepOptions:
    """What is said of a training step.

    Args:
        loss: `projection`, `cross-entropy`, `mse`, or a function in a framework's tensors, called
            as that framework's losses are: in Keras (targets, output), elsewhere (output, targets).
        loss_b: the second model's own, if it isn't the same.
        targets: labels, or what `mse` compares with; made up if there are none.
        label_smoothing: share of a label that is spread over all classes.
        optimizer: `sgd`, `momentum`, `nesterov`, `decay`, `adam`, `rmsprop`, or a function that
            makes one: of the parameters in PyTorch and Gluon, of nothing in Keras.
        optimizer_b: the second model's own.
        lr: another learning rate than the named optimizer's.
    """

    loss: str | Callable[..., Any] = DEFAULT_LOSS
    loss_b: str | Callable[..., Any] | None = None
    targets: NDArray[Any] | None = None
    label_smoothing: float = 0.0
    optimizer: str | Callable[..., Any] = DEFAULT_OPTIMIZER
    optimizer_b: str | Callable[..., Any] | None = None
    lr: float | None = None

    def losses(self) -> tuple[Chosen, Chosen]:
        """Return both models' losses.

        Raises:
            InputError: one of them can't be used.
        """
        first = self._loss(self.loss)
        return first, first if self.loss_b is None else self._loss(self.loss_b)

    def optimizers(self) -> tuple[Stepping, Stepping]:
        """Return both models' optimizers.

        Raises:
            InputError: one of them can't be used.
        """
        first = self._optimizer(self.optimizer)
        return first, first if self.optimizer_b is None else self._optimizer(self.optimizer_b)

    def given_targets(self) -> NDArray[Any] | None:
        """Return the targets as an array.

        Raises:
            InputError: they don't hold numbers.
        """
        if self.targets is None:
            return None
        found = np.asarray(self.targets)
        if found.dtype.kind not in "fiu":
            raise InputError(f"targets of dtype {found.dtype}, but should be numbers")
        return found

    def _loss(self, given: str | Callable[..., Any]) -> Chosen:
        if not isinstance(given, str):
            return _callable(given, "a loss")
        smoothing = self.label_smoothing if given == "cross-entropy" else 0.0
        named = given in ("cross-entropy", "mse", "projection")
        return Loss(given, smoothing if named else self.label_smoothing)

    def _optimizer(self, given: str | Callable[..., Any]) -> Stepping:
        if not isinstance(given, str):
            return _callable(given, "an optimizer")
        return Optimizer.of(given, self.lr)


def described(given: Chosen | Stepping) -> str:
    """Return a loss or an optimizer in words."""
    if isinstance(given, (Loss, Optimizer)):
        return given.describe()
    return str(getattr(given, "__name__", type(given).__name__))


def _callable(given: Any, what: str) -> Any:
    if not callable(given):
        raise InputError(f"{what} of type {type(given).__name__}, but should be a name or function")
    return given
