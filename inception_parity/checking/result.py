"""The result of a check, for all backends."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..comparison.agreement import Pair
from ..comparison.comparing import Report
from ..diagnosis import Diagnosis
from ..errors import AGREE, BROKEN, DIVERGE
from ..workers.request import Outcome
from .task import Cell, Settings, Subject


@dataclass
class CheckResult:
    """The result of a check, for all backends."""

    subject: Subject
    settings: Settings
    outcomes: dict[str, Outcome]
    reports: list[Report]
    pairs: list[Pair]
    diagnoses: dict[Cell, Diagnosis] = field(default_factory=dict)  # where one was looked for
    oracle_suspect: str = ""  # where all agree with each other, but not with the oracle
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0: all agree; 1: something diverges; 3: a backend is missing or failed, or none ran."""
        if any(outcome.status != "ok" for outcome in self.outcomes.values()) or not self.reports:
            return BROKEN
        return DIVERGE if any(report.fails for report in self.reports) else AGREE
