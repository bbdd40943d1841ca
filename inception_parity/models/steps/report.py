"""The result of comparing two training steps, in lines and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ...errors import few
from .causes import Cause
from .judging import QUANTITIES, STATISTIC, WEIGHT, Row

FEW = 3
_PLURAL = {
    "loss": "loss", "output gradient": "gradient of the outputs", "gradient": "gradients",
    "input gradient": "gradient of the inputs", STATISTIC: "statistics", WEIGHT: "weights after",
}  # fmt: skip
_OF = {
    "loss": "the loss", "output gradient": "the loss's gradient for {}",
    "gradient": "the gradient of {}", "input gradient": "the gradient for {}",
    STATISTIC: "{} after the step", WEIGHT: "{} after the step",
}  # fmt: skip


@dataclass
class StepReport:
    """What two models make of one training step.

    Args:
        loss: what was minimised, of each model.
        optimizer: what stepped, of each.
        losses: the losses' values.
        rows: everything that was compared, from the loss back.
        cause: what explains the first row that differs.
        forward: the first layer whose output differs in training mode only, if one does.
        conventions: in which frameworks differ and are right; allowed for as exactly that.
        left: arrays that couldn't be compared, and why.
        dropout: the rates that were set to 0, of each.
        rounding: arrays whose gradient is 0 in theory, and compared with their layer's.
        float32: whether the limits are those of float32 inside a layer.
    """

    loss: tuple[str, str]
    optimizer: tuple[str, str]
    losses: tuple[float, float]
    rows: list[Row]
    cause: Cause | None = None
    forward: str = ""
    conventions: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    dropout: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    rounding: list[str] = field(default_factory=list)
    float32: bool = False

    @property
    def fails(self) -> bool:
        """Whether anything differs."""
        return any(row.fails for row in self.rows)

    @property
    def first(self) -> Row | None:
        """The first that differs, going from the loss back."""
        return next((row for row in self.rows if row.fails), None)

    def lines(self) -> list[tuple[str, str]]:
        """Return what is printed: lines, each with its style."""
        loss, optimizer = _same(self.loss), _same(self.optimizer)
        found = [(f"one step in training mode: {loss}; {optimizer}", "")]
        found += [(line, "dim") for line in self._notes()]
        for quantity in QUANTITIES:
            rows = [row for row in self.rows if row.quantity == quantity]
            if rows:
                style = "bold yellow" if any(row.fails for row in rows) else ""
                found.append((f"    {_PLURAL[quantity]:24}{self._summary(rows)}", style))
        first = self.first
        if first is not None:
            found += [(line, "bold" if i == 0 else "") for i, line in enumerate(self._why(first))]
        return found

    def _notes(self) -> list[str]:
        notes = []
        if any(self.dropout):
            counts = [len(rates) for rates in self.dropout]
            notes.append(
                f"dropout switched off: {counts[0]} in the first, {counts[1]} in the second"
            )
            if sorted(self.dropout[0]) != sorted(self.dropout[1]):
                rates = [", ".join(f"{r:g}" for r in side) or "none" for side in self.dropout]
                notes.append(f"their dropout isn't the same: {rates[0]}; second {rates[1]}")
        if self.conventions:
            notes.append(f"right, and allowed for as exactly that: {'; '.join(self.conventions)}")
        if self.rounding:
            notes.append(
                f"gradients of 0 in theory, judged by their layer's: {few(self.rounding, FEW)}"
            )
        if self.float32:
            notes.append(
                "float32 inside a layer: limits by how far float32's rounding moves a step"
            )
        if self.left:
            notes.append(f"not compared: {few(self.left, FEW)}")
        return notes

    def _summary(self, rows: Sequence[Row]) -> str:
        if rows[0].quantity == "loss" and rows[0].rel_l2 is not None:
            values = f"{self.losses[0]:.12g} and {self.losses[1]:.12g}"
            return f"{values}   apart {rows[0].rel_l2:.1e}, limit {rows[0].limit:.0e}"
        wrong = [row for row in rows if row.fails]
        numbers = [row for row in rows if row.rel_l2 is not None]
        worst = max(numbers, key=lambda row: row.rel_l2 or 0.0, default=None)
        count = f"{len(rows) - len(wrong)} of {len(rows)} agree"
        if wrong:
            count = f"{len(wrong)} of {len(rows)} differ"
        if worst is None:
            return count
        limit = f", limit {worst.limit:.0e}" if worst.limit is not None else ""
        at = f" at {worst.name}" if len(rows) > 1 else ""
        return f"{count}; largest relative L2 {worst.rel_l2:.1e}{at}{limit}"

    def _why(self, first: Row) -> list[str]:
        name = first.name if first.name == first.other else f"{first.name} = {first.other}"
        number = first.problem
        if first.rel_l2 is not None:
            number = f"relative L2 {first.rel_l2:.1e}, limit {first.limit:.0e}"
        lines = [f"first:  {_OF[first.quantity].format(name)}   {number}"]
        if self.forward:
            lines.append(f"        in training mode the models part at {self.forward}")
        cause = self.cause
        if cause is None:
            return lines + ([] if self.forward else ["cause:  not found"])
        lines.append(f"cause:  {cause.text}")
        if cause.before is not None:
            lines.append(
                f"        relative L2 {cause.before:.1e}, with this explanation {cause.after:.1e}"
            )
        return lines + ([f"fix:    {cause.fix}"] if cause.fix else [])

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        first = self.first
        return {
            "loss": list(self.loss),
            "optimizer": list(self.optimizer),
            "losses": list(self.losses),
            "fails": self.fails,
            "first": None if first is None else {"quantity": first.quantity, "a": first.name},
            "rows": [
                {
                    "quantity": row.quantity, "a": row.name, "b": row.other, "rel_l2": row.rel_l2,
                    "limit": row.limit, "problem": row.problem, "fails": row.fails,
                }
                for row in self.rows
            ],
            "cause": None if self.cause is None else asdict(self.cause),
            "forward": self.forward,
            "conventions": self.conventions,
            "left": self.left,
            "dropout": [list(rates) for rates in self.dropout],
            "rounding": self.rounding,
            "float32_inside": self.float32,
        }  # fmt: skip


def _same(pair: tuple[str, str]) -> str:
    return pair[0] if pair[0] == pair[1] else f"{pair[0]}, second {pair[1]}"
