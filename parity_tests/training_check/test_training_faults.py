"""Planted mistakes of training: none passes, and each shows first in the right row."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest

from inception_parity.traces.trace import Trace
from inception_parity.training_check.judging import Judgement, judge
from inception_parity.training_check.limits import QUANTITIES
from inception_parity.training_check.trial import Trial

from ..conftest import chosen_backends
from ..faults.in_training import FAULTS, Fault
from ..support import headed
from ..support.selection import slow_unless, takes_turn

FRAMEWORKS = tuple(name for name in chosen_backends() if name != "np")


@functools.cache
def honest(text: str) -> tuple[dict[str, Trace], Trace]:
    """Return the traces of all frameworks without a fault, and the oracle's."""
    trial = Trial.read(text)
    folder = Path(tempfile.mkdtemp(prefix="parity-training-"))
    traces = {f: headed.train(f, trial, folder / f) for f in FRAMEWORKS}
    return traces, headed.oracle(trial, folder / "np")


def rows_with(fault: Fault, framework: str, folder: Path, alone: bool = False) -> list[Judgement]:
    trial = fault.trial()
    clean, oracle = honest(trial.text())
    wrong = headed.train(framework, trial, folder / "wrong", plant=fault.plants[framework])
    traces = {(f, "float64"): t for f, t in clean.items() if f != framework and not alone}
    return judge({**traces, (framework, "float64"): wrong}, oracle, headed.arrays(trial), trial)


def first_of(rows: list[Judgement]) -> Judgement:
    return min((row for row in rows if row.fails), key=lambda row: QUANTITIES.index(row.quantity))


def in_turn(first: int) -> pytest.MarkDecorator:
    """Let each fault be quick in one framework, each framework in turn from the `first` on."""
    return slow_unless(
        lambda p: takes_turn(FRAMEWORKS, p["framework"], FAULTS.index(p["fault"]) + first),
        "thirty trainings of the same kind",
    )


@in_turn(0)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_planted_fault_shows_first_in_the_right_row(
    fault: Fault, framework: str, tmp_path: Path
) -> None:
    rows = rows_with(fault, framework, tmp_path)
    first = first_of(rows)
    assert first.quantity == fault.elsewhere.get(framework, fault.quantity)
    if fault.names:
        assert first.wrong == fault.names
    if len(FRAMEWORKS) > 2:  # two agree against the one
        assert {row.backend for row in rows if row.fails} == {framework}


@in_turn(1)
@pytest.mark.parametrize(
    "fault", [f for f in FAULTS if f.quantity != "gradient.K"], ids=lambda fault: fault.name
)
def test_planted_fault_is_caught_without_other_backends(
    fault: Fault, framework: str, tmp_path: Path
) -> None:
    """By the oracle and the definition; what needs the others is a stale gradient."""
    first = first_of(rows_with(fault, framework, tmp_path, alone=True))
    expected = fault.elsewhere.get(framework, fault.quantity)
    assert first.quantity == ("derivative" if expected == "gradient.1" else expected)


@pytest.mark.parametrize("preset", ["momentum", "decay"])
def test_honest_training_raises_no_alarm(preset: str) -> None:
    trial = headed.trial(preset)
    traces, oracle = honest(trial.text())
    column = {(f, "float64"): t for f, t in traces.items()}
    assert not any(row.fails for row in judge(column, oracle, headed.arrays(trial), trial))
