"""The losses that have names, in NumPy: the same for every framework, with their gradients.

They are computed from a model's outputs in the shared layout. The framework then goes back from
these gradients, through the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, nearest

Array = NDArray[Any]

LOSSES = ("projection", "cross-entropy", "mse")


@dataclass(frozen=True)
class Loss:
    """A loss with a name.

    Args:
        name: `projection`, the sum of all outputs times fixed random numbers; `cross-entropy` of
            logits, the mean over all labels; or `mse`, the mean squared error. The latter two are
            of the first output.
        label_smoothing: share of a label that is spread over all classes.

    Raises:
        InputError: there is no such loss, or a number can't be used.
    """

    name: str = "projection"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in LOSSES:
            raise InputError(
                f"no loss {self.name!r}{nearest(self.name, LOSSES)}; there are "
                f"{', '.join(LOSSES)}, and a function of your own: file.py:name"
            )
        if not 0.0 <= self.label_smoothing < 1.0:
            raise InputError(
                f"label smoothing {self.label_smoothing:g}, but should be at least 0 and below 1"
            )
        if self.label_smoothing and self.name != "cross-entropy":
            raise InputError(f"label smoothing is for cross-entropy, not for {self.name}")

    def describe(self) -> str:
        """Return what it is, in words."""
        smoothed = f", labels smoothed by {self.label_smoothing:g}" if self.label_smoothing else ""
        return f"{self.name}{smoothed}"

    def target(self, outputs: Sequence[Array], given: Array | None) -> Array | None:
        """Return what the first output is compared with: what was given, or made up.

        Raises:
            InputError: what was given doesn't fit the output.
        """
        if self.name == "projection":
            return None
        first = outputs[0]
        if self.name == "mse":
            if given is None:
                return np.random.default_rng(1).standard_normal(first.shape)
            if given.shape != first.shape:
                raise InputError(
                    f"targets of shape {given.shape}, but the output's is {first.shape}"
                )
            return given.astype(np.float64)
        if first.ndim < 2:
            raise InputError(f"cross-entropy of an output of shape {first.shape}, without classes")
        axis = class_axis(first)
        classes, shape = first.shape[axis], (*first.shape[:axis], *first.shape[axis + 1 :])
        if given is None:
            return ((7 * np.arange(np.prod(shape)) + 3) % classes).reshape(shape).astype(np.int64)
        if given.shape != shape or given.dtype.kind not in "iu":
            raise InputError(
                f"labels of shape {given.shape}, {given.dtype}, but should be whole numbers of "
                f"shape {shape}, for logits of shape {first.shape}"
            )
        if given.min() < 0 or given.max() >= classes:
            raise InputError(f"labels up to {given.max()}, but there are {classes} classes")
        return given.astype(np.int64)

    def value(
        self, outputs: Sequence[Array], target: Array | None
    ) -> tuple[float, list[Array | None]]:
        """Return the loss, and its gradient for each output; None where it doesn't use it."""
        if self.name == "projection" or target is None:
            return _projection(outputs)
        first = outputs[0]
        if self.name == "mse":
            off = first - target
            value, gradient = float(np.mean(off**2)), 2.0 * off / off.size
        else:
            value, gradient = cross_entropy(first, target, self.label_smoothing)
        return value, [gradient, *[None] * (len(outputs) - 1)]


def class_axis(logits: Array) -> int:
    """Return the axis of the classes: the last of sequences (N, T, K), else the channels'."""
    return 2 if logits.ndim == 3 else 1


def cross_entropy(logits: Array, labels: Array, smoothing: float = 0.0) -> tuple[float, Array]:
    """Return the mean cross-entropy of logits, and its gradient."""
    axis = class_axis(logits)
    moved = np.moveaxis(logits, axis, -1)
    shifted = moved - moved.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    classes = moved.shape[-1]
    wanted = np.eye(classes)[labels] * (1.0 - smoothing) + smoothing / classes
    gradient = (np.exp(log_p) - wanted) / labels.size
    return float(-(wanted * log_p).sum() / labels.size), np.moveaxis(gradient, -1, axis)


def _projection(outputs: Sequence[Array]) -> tuple[float, list[Array | None]]:
    value, gradients = 0.0, []
    for number, output in enumerate(outputs):
        random = np.random.default_rng(number).standard_normal(output.shape)
        gradients.append(random / np.sqrt(output.size))
        value += float((output * gradients[-1]).sum())
    return value, list(gradients)
