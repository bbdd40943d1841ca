"""The optimizers that have names: each framework's own, and what its first step is.

A step is the framework's own optimizer's, as its users would call it. What it has to make of a
gradient is written down here, in NumPy, with the conventions in which frameworks differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, nearest
from ...training_check.trial import PRESETS

Array = NDArray[Any]

# Where a framework's own step isn't the definition in `inception_np`, and nothing is wrong.
CONVENTIONS = {
    ("Adam", "tf"): "Keras adds Adam's eps to the root before its correction, which has betas "
                    "in float32",
    ("Adam", "mx"): "MXNet adds Adam's eps to the root before its correction, and rounds what "
                    "Adam is told to float32",
    ("RMSProp", "pt"): "PyTorch adds RMSProp's eps outside of the root",
}  # fmt: skip


@dataclass(frozen=True)
class Optimizer:
    """An optimizer with a name, as every framework understands it.

    Args:
        name: one of the check of training's: sgd, momentum, nesterov, decay, adam, rmsprop.
        kind: SGD, Adam or RMSProp.
        settings: lr, momentum, …
    """

    name: str
    kind: str
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, lr: float | None = None) -> Optimizer:
        """Return one by its name, with another learning rate if one is given.

        Raises:
            InputError: there is no such optimizer, or the rate can't be used.
        """
        if name not in PRESETS:
            raise InputError(
                f"no optimizer {name!r}{nearest(name, PRESETS)}; there are {', '.join(PRESETS)}, "
                "and a function of your own: file.py:name"
            )
        if lr is not None and not 0.0 < lr < 1e6:
            raise InputError(f"lr {lr:g}, but should be more than 0")
        kind, settings = PRESETS[name]
        return cls(name, kind, settings if lr is None else {**settings, "lr": float(lr)})

    def describe(self) -> str:
        """Return what it is, in words."""
        rest = [f"{name} {value:g}" for name, value in self.settings.items() if name != "nesterov"]
        return f"{self.name} ({', '.join(rest)})"

    def convention(self, framework: str) -> str | None:
        """Return how a framework's step differs from the definition, if it does."""
        return CONVENTIONS.get((self.kind, framework))

    def stepped(self, framework: str, weights: Array, gradient: Array, **other: Any) -> Array:
        """Return weights after a framework's first step; `other` settings replace its own."""
        import inception_np

        settings = {**self.settings, **other}
        after = {"w": np.array(weights, np.float64)}
        given = {"w": np.asarray(gradient, np.float64)}
        if (self.kind, framework) in CONVENTIONS:
            return after["w"] - _step(self.kind, framework, settings, after["w"], given["w"])
        if framework in ("tf", "mx"):  # lr is a variable in Keras; elsewhere numbers are in float32
            exact = ("lr",) if framework == "tf" else ()
            settings = {k: v if k in exact else _rounded(v) for k, v in settings.items()}
        getattr(inception_np, self.kind)(**settings).step(after, given)
        return after["w"]


def _rounded(value: Any) -> Any:
    """Return a number as MXNet's operators take it, and as Keras casts it: from float32."""
    return float(np.float32(value)) if isinstance(value, float) else value


def _step(
    kind: str, framework: str, settings: Mapping[str, Any], weights: Array, gradient: Array
) -> Array:
    """Return what a framework subtracts in its first step, where it has its own convention."""
    lr, decay = settings["lr"], settings.get("weight_decay", 0.0)
    g = gradient + decay * weights
    if kind == "RMSProp":
        s = (1.0 - settings["decay"]) * g**2
        return np.asarray(lr * g / (np.sqrt(s) + settings["eps"]))
    beta1, beta2 = settings.get("beta1", 0.9), settings.get("beta2", 0.999)
    eps = settings.get("eps", 1e-8)
    kept = 1.0 - beta1, 1.0 - beta2
    if framework == "tf":  # for the correction, Keras casts the betas
        beta1, beta2 = _rounded(beta1), _rounded(beta2)
    rate = lr * np.sqrt(1.0 - beta2) / (1.0 - beta1)  # in Python's own floats, also in MXNet
    if framework == "mx":  # the operator has it all in float32
        beta1, beta2, rate, eps = (float(np.float32(v)) for v in (beta1, beta2, rate, eps))
        kept = float(np.float32(1) - np.float32(beta1)), float(np.float32(1) - np.float32(beta2))
    return np.asarray(rate * kept[0] * g / (np.sqrt(kept[1] * g**2) + eps))
