"""What difference between two models is rounding, layer by layer."""

from __future__ import annotations

import numpy as np

from ..comparison.comparing import IDENTICAL, ROUNDING, WRONG, Comparison
from ..comparison.limits import LIMIT_FLOAT64, LIMIT_FLOORS, LIMIT_MODELS_FLOAT32
from ..numerics import UNIT_ROUNDOFF
from .recorder import ModelTrace


class Limits:
    """What difference is rounding, endpoint by endpoint."""

    def __init__(self, a: ModelTrace, b: ModelTrace, floors: ModelTrace | None) -> None:
        self.a, self.floors = a, floors
        self.exact = a.run.dtype == b.run.dtype == "float64"
        self.roundoff = UNIT_ROUNDOFF["float32"]

    def floor(self, name: str) -> float | None:
        """Return a's own rounding at an endpoint, at least one roundoff; None if unknown."""
        if self.exact or self.floors is None or name not in self.floors.endpoints:
            return None
        truth = self.a.array(name).astype(np.float64)
        found = self.floors.array(name).astype(np.float64)
        norm = float(np.linalg.norm(truth))
        apart = float(np.linalg.norm(found - truth)) if found.shape == truth.shape else np.inf
        return max(self.roundoff, apart / norm) if norm else self.roundoff

    def of(self, result: Comparison) -> float:
        """Return the relative L2 up to which a difference is rounding."""
        if self.exact:
            return LIMIT_FLOAT64
        return LIMIT_MODELS_FLOAT32 if result.floor is None else LIMIT_FLOORS * result.floor

    def judge(self, result: Comparison) -> None:
        """Set the verdict of what was measured."""
        if result.verdict == IDENTICAL or result.rel_l2 is None:
            return
        if result.floor is not None:
            result.floors = result.rel_l2 / result.floor
        agrees = result.rel_l2 <= self.of(result)
        result.verdict = ROUNDING if agrees else WRONG
