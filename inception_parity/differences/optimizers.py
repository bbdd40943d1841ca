"""Optimisers: one weight of 1, updated with given gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .kit import Kit
from .topic import Answer, Topics

TOPICS = Topics()
Options = dict[str, Any]
Steps = list[tuple[float, float]]  # (gradient, learning rate)
OPTIMIZERS = {"pt": "optim", "tf": "optimizers", "mx": "optimizer"}  # the framework's own module


@dataclass(frozen=True)
class _Trial:
    """The same steps with each framework's optimiser and with this project's.

    Args:
        ours: name and options in this project's packages.
        pt, tf, mx: name and options in the framework, and what the result shows.
        mx_dtype: of the weight in MXNet's own optimiser.
    """

    steps: Steps
    ours: tuple[str, Options]
    pt: tuple[str, Options, str]
    tf: tuple[str, Options, str]
    mx: tuple[str, Options, str]
    mx_dtype: str = "float64"


MOMENTUM = {"momentum": 0.9}
NESTEROV = {"momentum": 0.9, "nesterov": True}
DECAY = {"momentum": 0.9, "weight_decay": 0.1}
TRIALS = {
    "sgd-momentum": _Trial(
        [(1.0, 0.1), (1.0, 0.01)],
        ours=("SGD", MOMENTUM),
        pt=("SGD", MOMENTUM, "lr outside the buffer"),
        tf=("SGD", MOMENTUM, "lr inside the buffer"),
        mx=("SGD", MOMENTUM, "lr inside the buffer"),
    ),
    "nesterov": _Trial(
        [(1.0, 0.1)] * 3,
        ours=("SGD", NESTEROV),
        pt=("SGD", NESTEROV, "`nesterov=True`"),
        tf=("SGD", NESTEROV, "`nesterov=True`"),
        mx=("NAG", MOMENTUM, "the optimiser `NAG`"),
    ),
    "weight-decay": _Trial(
        [(0.0, 0.1)] * 3,
        ours=("SGD", DECAY),
        pt=("SGD", DECAY, "coupled, through the momentum"),
        tf=("SGD", DECAY, "decoupled, 0.99 each step"),
        mx=("SGD", {"momentum": 0.9, "wd": 0.1}, "coupled, through the momentum"),
    ),
    "rmsprop": _Trial(
        [(0.01, 0.1)],
        ours=("RMSProp", {"decay": 0.9, "eps": 1e-3}),
        pt=("RMSprop", {"alpha": 0.9, "eps": 1e-3}, "outside the root"),
        tf=("RMSprop", {"rho": 0.9, "epsilon": 1e-3}, "inside the root"),
        mx=("RMSProp", {"gamma1": 0.9, "epsilon": 1e-3, "centered": False}, "inside the root"),
        mx_dtype="float32",  # whatever the weight's is, MXNet's state is in float32
    ),
    "adam": _Trial(
        [(1e-7, 0.1)],
        ours=("Adam", {"eps": 1e-8}),
        pt=("Adam", {"eps": 1e-8}, "to the corrected root"),
        tf=("Adam", {"epsilon": 1e-8}, "before the correction"),
        mx=("Adam", {"epsilon": 1e-8}, "before the correction"),
    ),
}


def _compare(kit: Kit, trial: _Trial) -> Answer:
    """Take the steps of a trial with the framework's optimiser and with this project's."""
    name, options, meaning = getattr(trial, kit.framework)
    dtype = trial.mx_dtype if kit.framework == "mx" else "float64"
    module = getattr(kit.native, OPTIMIZERS[kit.framework])
    found = _updated(kit, getattr(module, name), options, trial.steps, dtype)
    name, options = trial.ours
    equal = _updated(kit, getattr(kit.optimizers, name), options, trial.steps)
    return Answer(f"{found:.4f}: {meaning}", {"weight": found}, f"{equal:.4f}")


def _updated(
    kit: Kit, make: Callable[..., Any], options: Options, steps: Steps, dtype: str = "float64"
) -> float:
    """Return the weight, 1 at first, after steps with an optimiser."""
    weight = kit.tensor([1.0], dtype)
    gradients = [(kit.tensor([gradient], dtype), lr) for gradient, lr in steps]
    match kit.framework:
        case "pt":
            optimizer = make([weight.requires_grad_()], **options)
            for gradient, lr in gradients:
                weight.grad, optimizer.param_groups[0]["lr"] = gradient, lr
                optimizer.step()
        case "tf":
            optimizer, weight = make(**options), kit.native.Variable(weight)
            for gradient, lr in gradients:
                optimizer.learning_rate = lr
                optimizer.apply([gradient], [weight])
            weight = weight.value
        case _:
            optimizer = make(**options)
            update = kit.native.optimizer.get_updater(optimizer)
            for gradient, lr in gradients:
                optimizer.set_learning_rate(lr)
                update(0, gradient, weight)
    return float(kit.array(weight).item())


for _name, _trial in TRIALS.items():
    TOPICS.experiment(_name)(partial(_compare, trial=_trial))
