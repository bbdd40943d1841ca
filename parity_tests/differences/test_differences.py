"""The experiments' answers as the command prints them."""

from __future__ import annotations

from typing import Any

import pytest

from inception_parity import differences
from inception_parity.differences import Answer

from ..support.command import call

WHY = "MXNet isn't installed; pip install 'inception-parity[mxnet]'"


def answers(names: Any, frameworks: Any, *_: Any) -> Any:
    """Return an answer of each framework but MXNet, which is missing."""
    rows = {
        name: {f: Answer(problem=WHY) if f == "mx" else Answer(f"{f} does") for f in frameworks}
        for name in names
    }
    return rows, {}


def test_framework_that_is_missing_is_said_to_be_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(differences, "run", answers)
    done = call(capsys, "differences")
    assert done.code == 0, done
    assert len(differences.TOPICS) > 9
    assert done.out.count("isn't installed") == 1
    assert f"MXNet: no experiment was run; {WHY}" in done.out, done.out
    assert done.out.count("pt does") == len(differences.TOPICS)


def test_experiment_that_fails_keeps_its_place_in_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(names: Any, frameworks: Any, *_: Any) -> Any:
        rows, versions = answers(names, frameworks)
        rows["flatten"]["tf"] = Answer(problem="the experiment failed: KeyError")
        return rows, versions

    monkeypatch.setattr(differences, "run", failing)
    done = call(capsys, "differences")
    (line,) = (line for line in done.out.splitlines() if line.startswith("flatten"))
    assert "pt does" in line
    assert "experiment failed" in line
