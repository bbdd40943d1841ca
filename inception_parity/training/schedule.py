"""The learning rate of each step, and which arrays are trained when."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

CONSTANT = "constant"
SCHEDULES = (CONSTANT, "cosine", "step")


@dataclass(frozen=True)
class Tuning:
    """How a training changes while it goes on.

    Args:
        freeze: layers whose arrays aren't trained, by their dotted paths, or `all-but-head`.
        unfreeze_after: epochs after which all is trained, by an optimizer that begins anew; 0
            for never.
        schedule: of the learning rate: `constant`; `cosine`, half a period down to 0 at the end;
            `step`, a tenth after each third of the epochs.
        warmup: steps over which the learning rate rises to its value in equal parts.
        patience: epochs without a better test accuracy after which the training ends; 0 for none.
    """

    freeze: tuple[str, ...] = ()
    unfreeze_after: int = 0
    schedule: str = CONSTANT
    warmup: int = 0
    patience: int = 0

    def freezes(self, epoch: int) -> bool:
        """Return whether layers are frozen in an epoch, counted from 0."""
        return bool(self.freeze) and not 0 < self.unfreeze_after <= epoch

    def lr_of(self, lr: float, epochs: int, steps: int) -> Callable[[int], float] | None:
        """Return the learning rate of each step, by its number; None where it never changes.

        Args:
            lr: the learning rate that it is a share of.
            epochs: in all.
            steps: in an epoch.
        """
        if self.schedule == CONSTANT and not self.warmup:
            return None
        return lambda step: lr * self._share(step, epochs, steps)

    def _share(self, step: int, epochs: int, steps: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "cosine":
            done = (step - self.warmup) / max(epochs * steps - self.warmup, 1)
            return 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
        if self.schedule == "step":
            return float(10.0 ** -(3 * (step // steps) // epochs))
        return 1.0
