"""Runs the training step of a captured model, and once more with rounding-sized changes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..capturing import attempt
from ..recorder import ModelTrace, Slot
from .plan import Chosen, Stepping
from .stepper import Stepped, Stepper, Task

Array = NDArray[Any]

_STEPPERS = {
    "pt": ("pt", "TorchStepper"), "tf": ("tf", "KerasStepper"), "mx": ("mx", "GluonStepper"),
}  # fmt: skip
MOST_REACTION = 1e-6  # of a loss to a last digit; what is random reacts by far more


@dataclass(frozen=True)
class Ran:
    """A model's step, and how it reacts to rounding.

    Args:
        trace: the trace whose slots the step's arrays belong to.
        step: what the step left.
        nudged: the same with another last digit in every input and weight.
    """

    trace: ModelTrace
    step: Stepped
    nudged: Stepped

    @property
    def framework(self) -> str:
        """The framework's short name."""
        return self.trace.run.backend


def require_trainable(model: Any) -> None:
    """Raise InputError unless it is a model that can be trained here."""
    if isinstance(model, ModelTrace):
        raise InputError(
            "a kept trace can't be trained; give both models themselves to --mode training"
        )
    onnx = type(model).__module__.startswith("onnx")
    if onnx or isinstance(model, str) or hasattr(model, "__fspath__"):
        raise InputError(
            "an ONNX file can't be trained here; give the model that it was made from, in "
            "PyTorch, Keras or Gluon"
        )


def stepper_of(trace: ModelTrace) -> Stepper:
    """Return what trains the model that left a trace."""
    module, name = _STEPPERS[trace.run.backend]
    made: Stepper = getattr(importlib.import_module(f".{module}", __package__), name)()
    return made


def run_step(
    model: Any, trace: ModelTrace, loss: Chosen, optimizer: Stepping, target: Array | None,
    nudge: float,
) -> Ran:  # fmt: skip
    """Train a captured model for a step, twice: as it is, and with every value nudged.

    Args:
        model: the model.
        trace: its trace, which knows how it is called.
        loss: its loss.
        optimizer: what steps.
        target: what the loss is given besides.
        nudge: how far each value is moved, relative to its size.

    Raises:
        InputError: it can't be trained in float64, or something random stays on.
    """
    title, called = trace.run.network, trace.called
    if called is None or trace.run.dtype != "float64":
        raise InputError(
            f"{title} can't be run in float64, and only there can a training step be judged"
        )
    stepper = stepper_of(trace)

    def run(nudge: float) -> Stepped:
        task = Task(
            loss, optimizer, target, called.tags, called.turned, called.replaced, nudge
        )  # fmt: skip
        with attempt(title, called.arguments.leaves()):
            return stepper.step(model, called.arguments, task)

    made = Ran(trace, run(0.0), run(nudge))
    require_steady(title, made.step, made.nudged, nudge)
    return made


def require_steady(title: str, step: Stepped, nudged: Stepped, nudge: float) -> None:
    """Raise InputError if a step's loss isn't finite, or another each time."""
    if not np.isfinite(step.loss):
        raise InputError(f"{title}: the loss is {step.loss} in training mode")
    most = MOST_REACTION * max(1.0, nudge * 2.0**52 * 1e-3)
    size = max(abs(step.loss), float(np.linalg.norm(step.outputs[0])), 1e-30)
    if not abs(step.loss - nudged.loss) <= most * size:
        raise InputError(
            f"{title} returns something else each time it is run in training mode: it draws random "
            "numbers. Dropout layers are switched off; set the rate of what else is random to 0, "
            "such as stochastic depth or noise"
        )


def in_shared(slot: Slot, arrays: Mapping[Any, Array]) -> Array | None:
    """Return a slot's part of arrays by their frameworks' keys, in the shared layout.

    Returns None if there is no such array, or if one value of it stands for several.
    """
    whole = arrays.get(slot.key)
    if whole is None:
        return None
    part = whole if slot.whole is None else whole[slot.place]
    numbers = np.arange(slot.shared.size).reshape(slot.shared.shape)
    places = np.asarray(slot.native(numbers)).ravel()
    if places.size != slot.shared.size:
        return None
    found = np.empty(slot.shared.size)
    found[places] = np.asarray(part, np.float64).ravel()
    return found.reshape(slot.shared.shape)
