"""What two steps have in common, row by row: from the loss back, then what the step changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...comparison.limits import (
    LIMIT_GRADIENT_NOISES,
    LIMIT_TRAINING_STEP,
    MOST_GRADIENT_NOISE,
    MOST_GRADIENT_NOISE_FLOAT32,
)
from .arrays import STATISTICS, Both
from .optimizers import Optimizer
from .plan import Stepping
from .running import Ran
from .stepper import Stepped

Array = NDArray[Any]

LOSS, OUTPUT, GRADIENT, INPUT = "loss", "output gradient", "gradient", "input gradient"
STATISTIC, WEIGHT = "statistic", "weight"
QUANTITIES = (LOSS, OUTPUT, GRADIENT, INPUT, STATISTIC, WEIGHT)

NUDGE = 2.0**-52  # a last digit
NUDGE_FLOAT32 = 2.0**-24  # where a layer has float32 inside
# A gradient that a last digit moves by more than this share of its size is nothing but rounding:
# that of a bias before batch norm, or of attention's keys, is 0 in theory.
ONLY_ROUNDING = 1e-3
# A step is judged relative to its own size, but not where float64 can't hold what it adds: at
# 1e-10 of a step that is 1e-5 of the weights, 9 units of roundoff are left.
SMALLEST_STEP = 1e-5
MOST_STEP_NOISE = 1e-6  # of a step; what Adam may make of noise in gradients


@dataclass(frozen=True)
class Row:
    """One array of one quantity, compared.

    Args:
        quantity: one of QUANTITIES.
        name: the first model's name for it.
        other: the second's.
        rel_l2: how far it is apart, relative to its size; None where there is no number.
        limit: what is allowed; None if it isn't judged.
        problem: why there is no number.
        both: the two arrays, if it is one of a layer.
    """

    quantity: str
    name: str
    other: str
    rel_l2: float | None
    limit: float | None
    problem: str = ""
    both: Both | None = None

    @property
    def fails(self) -> bool:
        """Whether the two don't agree."""
        if self.limit is None:
            return False
        return self.rel_l2 is None or not self.rel_l2 <= self.limit


@dataclass(frozen=True)
class Judge:
    """Compares the second model's step with the first's.

    Args:
        a: the first's.
        b: the second's.
        arrays: those of matched layers.
        optimizers: of both.
        float32: whether a layer of one of them has float32 inside.
    """

    a: Ran
    b: Ran
    arrays: Sequence[Both]
    optimizers: tuple[Stepping, Stepping]
    float32: bool = False

    def rows(self) -> list[Row]:
        """Return all rows, in the order in which training computes them: from the loss back."""
        return [
            self._loss(), *self._outputs(), *self._gradients(), *self._inputs(),
            *self._statistics(), *self._weights(),
        ]  # fmt: skip

    def limit(self, reactions: tuple[float, float]) -> float:
        """Return the limit of a quantity that rounding moves so far in the two models."""
        most = MOST_GRADIENT_NOISE_FLOAT32 if self.float32 else MOST_GRADIENT_NOISE
        return max(LIMIT_TRAINING_STEP, min(LIMIT_GRADIENT_NOISES * min(reactions), most))

    def _reactions(self, both: Sequence[tuple[Array, Array]], size: float) -> tuple[float, float]:
        one, other = (float(np.linalg.norm(nudged - own)) for own, nudged in both)
        return (one / size, other / size) if size else (0.0, 0.0)

    def _compared(
        self, quantity: str, name: str, mine: Sequence[Array], theirs: Sequence[Array], size: float
    ) -> Row:
        """Compare (own, nudged) of the second with those of the first."""
        if mine[0].shape != theirs[0].shape:
            text = f"shape {theirs[0].shape}, but should be {mine[0].shape}"
            return Row(quantity, name, name, None, LIMIT_TRAINING_STEP, text)
        if not np.isfinite(theirs[0]).all():
            return Row(quantity, name, name, None, LIMIT_TRAINING_STEP, "NaN or infinite values")
        limit = self.limit(self._reactions([(mine[0], mine[1]), (theirs[0], theirs[1])], size))
        return Row(quantity, name, name, relative(theirs[0] - mine[0], size), limit)

    def _loss(self) -> Row:
        one, other = self.a.step, self.b.step
        parts = zip(one.outputs, one.output_gradients, strict=True)
        size = max(abs(one.loss), *(float(np.abs(x * g).sum()) for x, g in parts))
        mine = np.array([one.loss]), np.array([self.a.nudged.loss])
        theirs = np.array([other.loss]), np.array([self.b.nudged.loss])
        return self._compared(LOSS, "loss", mine, theirs, size)

    def _outputs(self) -> Iterator[Row]:
        ours, others = self.a.step.output_gradients, self.b.step.output_gradients
        for i in range(min(len(ours), len(others))):
            name = "output" if i == 0 else f"output.{i}"
            mine = ours[i], self.a.nudged.output_gradients[i]
            theirs = others[i], self.b.nudged.output_gradients[i]
            yield self._compared(OUTPUT, name, mine, theirs, norm(ours[i]))

    def _inputs(self) -> Iterator[Row]:
        for i, mine in enumerate(self.a.step.input_gradients):
            theirs = self.b.step.input_gradients[i]
            name = "input" if i == 0 else f"input.{i}"
            nudged = self.a.nudged.input_gradients[i], self.b.nudged.input_gradients[i]
            if mine is None and theirs is None:
                continue
            if mine is None or theirs is None or nudged[0] is None or nudged[1] is None:
                who = "first" if mine is None else "second"
                yield Row(INPUT, name, name, None, LIMIT_TRAINING_STEP, f"none in the {who}")
                continue
            yield self._compared(INPUT, name, (mine, nudged[0]), (theirs, nudged[1]), norm(mine))

    def _gradients(self) -> Iterator[Row]:
        for both in reversed(self.arrays):
            if both.role in STATISTICS or (both.a.frozen and both.b.frozen):
                continue
            mine, theirs = both.a.gradient(), both.b.gradient()
            names = both.a.name, both.b.name
            if mine is None and theirs is None:
                continue
            if mine is None or theirs is None:
                side, who = (both.a, "first") if mine is None else (both.b, "second")
                text = f"none in the {who}{': it is frozen' if side.frozen else ''}"
                yield Row(GRADIENT, *names, None, LIMIT_TRAINING_STEP, text, both)
                continue
            reactions = both.a.reaction(), both.b.reaction()
            size = norm(mine)
            if min(reactions) > ONLY_ROUNDING:
                size, reactions = self.layer_size(both), (0.0, 0.0)
            yield Row(
                GRADIENT, *names, relative(theirs - mine, size), self.limit(reactions), both=both
            )

    def only_rounding(self, both: Both) -> bool:
        """Return whether an array's gradient is 0 in theory, and rounding in both models."""
        return min(both.a.reaction(), both.b.reaction()) > ONLY_ROUNDING

    def layer_size(self, both: Both) -> float:
        """Return the size of a layer's largest gradient, or of the largest of all."""
        sizes: dict[str, float] = {}
        for other in self.arrays:
            gradient = other.a.gradient()
            if gradient is not None and not self.only_rounding(other):
                sizes[other.layer] = max(sizes.get(other.layer, 0.0), norm(gradient))
        return sizes.get(both.layer) or max(sizes.values(), default=0.0)

    def _statistics(self) -> Iterator[Row]:
        for both in reversed(self.arrays):
            if both.role not in STATISTICS:
                continue
            expected, actual = expected_statistic(both), both.b.after()
            size = norm(expected)
            pairs = [(side.after(), side.of(side.ran.nudged.after)) for side in (both.a, both.b)]
            reactions = self._reactions([(x, x if y is None else y) for x, y in pairs], size)
            yield Row(
                STATISTIC, both.a.name, both.b.name, relative(actual - expected, size),
                self.limit(reactions), both=both,
            )  # fmt: skip

    def _weights(self) -> Iterator[Row]:
        for both in reversed(self.arrays):
            if both.role in STATISTICS or (both.a.frozen and both.b.frozen):
                continue
            if not self._steps_of_rounding(both):
                yield self._weight(both)

    def _steps_of_rounding(self, both: Both) -> bool:
        """Return whether an optimizer may have made whole steps of nothing but rounding."""
        kinds = [getattr(optimizer, "kind", "") for optimizer in self.optimizers]
        return kinds != ["SGD", "SGD"] and self.only_rounding(both)

    def _weight(self, both: Both) -> Row:
        before, expected = both.b.before(), self.expected_weight(both)
        own = both.a.before() + both.a.moved()
        first = self.optimizers[0]
        gradient = both.a.gradient()
        size = max(norm(expected - before), SMALLEST_STEP * norm(before))
        if self.only_rounding(both):
            size = max(size, self._layer_step(both))
        apart = relative(both.b.after() - expected, size)
        allowed = 0.0
        if isinstance(first, Optimizer) and gradient is not None:
            if not both.a.frozen:
                followed = first.stepped(self.a.framework, both.a.before(), gradient)
                apart = max(apart, relative(own - followed, size))
            allowed = self._step_noise(both, first, gradient, size)
        limit = max(LIMIT_TRAINING_STEP, self.limit((0.0, 0.0)), allowed)
        return Row(WEIGHT, both.a.name, both.b.name, apart, limit, both=both)

    def _layer_step(self, both: Both) -> float:
        layers = [other for other in self.arrays
                  if other.layer == both.layer and other.role not in STATISTICS]  # fmt: skip
        return max(norm(other.a.moved()) for other in layers)

    def _step_noise(self, both: Both, first: Optimizer, gradient: Array, size: float) -> float:
        """Return what the optimizer makes of as much noise as the gradient may have."""
        reactions = both.a.reaction(), both.b.reaction()
        noise = LIMIT_GRADIENT_NOISES * min(reactions)
        most = MOST_GRADIENT_NOISE_FLOAT32 if self.float32 else MOST_STEP_NOISE
        each = min(noise, MOST_GRADIENT_NOISE_FLOAT32) * norm(gradient) / np.sqrt(gradient.size)
        exact, *moved = (
            first.stepped(self.b.framework, both.b.before(), gradient + shift)
            for shift in (0.0, each, -each)
        )
        apart = np.maximum(np.abs(moved[0] - exact), np.abs(moved[1] - exact))
        return min(relative(apart, size), most)

    def expected_weight(self, both: Both) -> Array:
        """Return what the second model's array should be after the step, by the first's."""
        first, framework = self.optimizers[0], self.b.framework
        gradient = both.a.gradient()
        if both.a.frozen or gradient is None:
            return both.b.before() + both.a.moved()
        if isinstance(first, Optimizer):
            return first.stepped(framework, both.b.before(), gradient)
        return both.b.before() + both.a.moved()


def norm(array: Array) -> float:
    """Return the L2 norm."""
    return float(np.linalg.norm(array))


def relative(difference: Array, size: float) -> float:
    """Return a difference's L2 norm relative to a size; infinity where that is 0."""
    apart = norm(difference)
    return apart / size if size else (float("inf") if apart else 0.0)


def share(framework: str, momentum: float) -> float:
    """Return the new batch's share of a running statistic, as a framework holds it."""
    return 1.0 - float(np.float32(1.0 - momentum)) if framework == "mx" else momentum


def batch_statistic(both: Both) -> Array | None:
    """Return the batch's own mean or variance (over n), from what the first model made of it.

    Returns None if the first kept its statistics, or its momentum isn't known.
    """
    before, after, m = both.a.before(), both.a.after(), both.momentum
    if not m or np.array_equal(before, after):
        return None
    m = share(both.a.ran.framework, m)
    batch = (after - (1.0 - m) * before) / m
    return batch / unbiased(both, both.a.ran.framework)


def unbiased(both: Both, framework: str) -> float:
    """Return what a framework multiplies the batch's variance by: n / (n - 1) in PyTorch."""
    if both.role == "running_var" and framework == "pt" and both.count > 1:
        return both.count / (both.count - 1)
    return 1.0


def expected_statistic(both: Both, momentum: float | None = None) -> Array:
    """Return what the second's statistic should be after the step, by the first's."""
    batch = batch_statistic(both)
    if batch is None or both.momentum is None:
        return both.b.before() + both.a.moved()
    framework = both.b.ran.framework
    m = share(framework, both.momentum) if momentum is None else momentum
    return (1.0 - m) * both.b.before() + m * batch * unbiased(both, framework)


def losses_only(step: Stepped) -> float:
    """Return the loss without what the model itself adds to it."""
    return step.loss - step.regularisation
