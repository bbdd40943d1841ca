"""Topics, their experiments, and the answers as the command prints them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inception_parity import differences
from inception_parity.differences import FRAMEWORKS, TOPICS, Answer, topic
from inception_parity.networks import catalogue

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


def test_every_text_has_experiments_in_all_frameworks() -> None:
    assert sorted(TOPICS) == sorted(file.stem for file in topic.FOLDER.iterdir())
    assert {name: set(found.runs) for name, found in TOPICS.items()} == {
        name: set(FRAMEWORKS) for name in TOPICS
    }


@pytest.mark.parametrize("missing", ["# A title", "## Why it matters"])
def test_text_without_a_part_is_refused(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (topic.FOLDER / "flatten.md").read_text()
    (tmp_path / "new.md").write_text(text.replace(missing, "").removeprefix("# "))
    monkeypatch.setattr(topic, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"new\.md: should have a title"):
        topic.read_topic("new")


# What PyTorch, Keras and MXNet have to show, by arithmetic.
EXPECTED: dict[str, tuple[Any, Any, Any]] = {
    "same-padding": ([2, 3, 3, 3], [3, 3, 3, 2], [2, 3, 3, 3]),
    "average-pool": (4 / 9, 1, 4 / 9),
    "max-pool": (-1, -1, -1),
    "batch-norm-variance": (20 / 3, 5, 5),
    "batch-norm-update": ([0.3, 0.3], [0.03, 0.03], [0, 0.3]),
    "local-response-norm": ([1 / 2, 1], [1 / 6, 1, 10**-0.5], [1 / 2, 2]),
    # The velocity is 1, then 1.9; with lr inside it is 0.1, then 0.09 + 0.01.
    "sgd-momentum": (1 - 0.1 - 0.019, 1 - 0.1 - 0.1, 1 - 0.1 - 0.1),
    "weight-decay": (0.944379, 0.99**3, 0.944379),
    # The mean of the squares is a tenth of 1e-4.
    "rmsprop": tuple(
        1 - 1e-3 / root for root in (1e-5**0.5 + 1e-3, (1e-5 + 1e-3) ** 0.5, (1e-5 + 1e-3) ** 0.5)
    ),
    # A gradient of ten eps; eps weighs 1000 ** 0.5 as much before the correction.
    "adam": tuple(1 - 0.1 * 10 / (10 + eps) for eps in (1, 1000**0.5, 1000**0.5)),
    "resize": ([2.5, 30.5], [2.5, 30.5], [0, 49, 2.5, 30.5]),
}


@pytest.mark.slow  # every topic, in a process for each framework
def test_experiments_show_what_follows_from_arithmetic_and_ours_agree() -> None:
    frameworks = [f for f in FRAMEWORKS if f != "mx" or catalogue.mxnet_has_wheel()]
    rows, versions = differences.run(list(TOPICS), frameworks)
    assert set(versions) == set(frameworks)
    for name, row in rows.items():
        assert not {framework: cell.problem for framework, cell in row.items() if cell.problem}
        assert len({cell.ours for cell in row.values()}) == 1, (name, row)
        for framework, expected in zip(FRAMEWORKS, EXPECTED.get(name, ()), strict=False):
            if framework in row:
                wanted = np.ravel(expected)
                measured = [v for v in row[framework].numbers.values() if not isinstance(v, str)]
                # Measured in float32; what an option changes comes last, and isn't always expected.
                found = np.concatenate([np.ravel(value) for value in measured])[: len(wanted)]
                assert found == pytest.approx(wanted, abs=1e-5), (name, framework)
