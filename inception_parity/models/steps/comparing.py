"""Compares one training step of two matched models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..match import Match
from .arrays import STATISTICS, Both, matched_arrays
from .causes import find_cause
from .judging import NUDGE, NUDGE_FLOAT32, Judge, share
from .losses import Loss
from .optimizers import Optimizer
from .plan import StepOptions, Stepping, described
from .report import StepReport
from .running import Ran, run_step

ROUND = 1e-6  # of outputs in training mode: what is further apart differs


def compare_steps(
    match: Match,
    a: Any,
    b: Any,
    options: StepOptions,
    float32: bool,
    forward: Callable[[], str],
    progress: Callable[[str], None] = lambda text: None,
) -> StepReport:
    """Train both models for one step, and compare what comes out.

    Args:
        match: which layers correspond, with the traces of both models themselves.
        a: the first model.
        b: the second.
        options: the loss, the targets and the optimizers.
        float32: whether a layer of one of them has float32 inside.
        forward: returns the first layer that differs in training mode, if asked.
        progress: called with a line that says what is being done.

    Raises:
        InputError: one of them can't be trained, or something given can't be used.
    """
    losses, optimizers = options.losses(), options.optimizers()
    target, nudge = options.given_targets(), NUDGE_FLOAT32 if float32 else NUDGE
    progress("one training step of the first model")
    one = run_step(a, match.a.trace, losses[0], optimizers[0], target, nudge)
    if target is None:  # one with a name makes them up; another one gets the same
        made = [loss.target(one.step.outputs, None) for loss in losses if isinstance(loss, Loss)]
        target = next((each for each in made if each is not None), None)
    progress("one training step of the second model")
    other = run_step(b, match.b.trace, losses[1], optimizers[1], target, nudge)
    progress("comparing the steps")
    arrays, left = matched_arrays(match, one, other)
    judge = Judge(one, other, arrays, optimizers, float32)
    rows = judge.rows()
    report = StepReport(
        (described(losses[0]), described(losses[1])),
        (described(optimizers[0]), described(optimizers[1])),
        (one.step.loss, other.step.loss), rows,
        conventions=_conventions(one, other, arrays, optimizers[0]), left=left,
        dropout=(one.step.dropout, other.step.dropout), float32=float32,
        rounding=[p.a.name for p in arrays if p.role not in STATISTICS and judge.only_rounding(p)],
    )  # fmt: skip
    if report.fails:
        report.cause = find_cause(judge, rows, target)
        if _parted(one, other):
            progress("both models in training mode, layer by layer")
            report.forward = forward()
    return report


def _parted(one: Ran, other: Ran) -> bool:
    """Return whether outputs differ in training mode."""
    mine, theirs = one.step.outputs, other.step.outputs
    if [x.shape for x in mine] != [y.shape for y in theirs]:
        return True
    pairs = zip(mine, theirs, strict=True)
    return any(np.linalg.norm(y - x) > ROUND * np.linalg.norm(x) for x, y in pairs)


def _conventions(one: Ran, other: Ran, arrays: Sequence[Both], optimizer: Stepping) -> list[str]:
    """Return those conventions in which the two differ."""
    found = []
    both = one.framework, other.framework
    if isinstance(optimizer, Optimizer):
        texts = [optimizer.convention(framework) for framework in both]
        found += [text for text in dict.fromkeys(texts) if text and texts[0] != texts[1]]
    held = [p.momentum for p in arrays if p.role in STATISTICS and p.momentum]
    if not held or both[0] == both[1]:
        return found
    if "pt" in both:
        found.append("PyTorch's running variance is over n - 1, elsewhere over n")
    if "mx" in both and any(share("mx", m) != m for m in held):
        found.append("MXNet holds batch norm's momentum in float32")
    return found
