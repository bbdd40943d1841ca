"""What the frameworks do differently by default, as small experiments that can be run.

Each topic has its texts in `topics/NAME.md` and an experiment in one of these modules, for each
framework or for all of them. It shows the default and, where this project has a layer or optimiser
of its own, what that does instead. `run` starts a worker process per framework; these modules
import no framework until an experiment runs.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..backends import Adapter
from ..errors import InputError, nearest
from ..workers.processes import Worker, run_all
from ..workers.request import Experiment, Request
from . import convolutions, losses, norms, optimizers, pools, runtime, training
from .kit import Kit
from .topic import FRAMEWORKS, Answer, Topic

__all__ = ["FRAMEWORKS", "TOPICS", "Answer", "Topic", "experiment", "find_topic", "run"]

TOPICS: dict[str, Topic] = {
    **convolutions.TOPICS,
    **pools.TOPICS,
    **norms.TOPICS,
    **training.TOPICS,
    **optimizers.TOPICS,
    **losses.TOPICS,
    **runtime.TOPICS,
}


def find_topic(name: str) -> Topic:
    """Return the topic called `name`; InputError names the nearest if there is none."""
    if name not in TOPICS:
        raise InputError(
            f"no topic {name!r}{nearest(name, TOPICS)}; there are: {', '.join(TOPICS)}"
        )
    return TOPICS[name]


def run(
    names: Sequence[str],
    frameworks: Sequence[str] = FRAMEWORKS,
    timeout: float = 300.0,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, dict[str, Answer]], dict[str, dict[str, str]]]:
    """Run experiments, each framework in its own process.

    Args:
        names: topics.
        frameworks: `pt`, `tf`, `mx`.
        timeout: time limit per framework, in seconds.
        progress: called with a line that says what is running.

    Returns:
        topic -> framework -> answer; and the versions of each framework that was found.
    """
    with tempfile.TemporaryDirectory(prefix="inception-parity-") as made:
        folder = Path(made)
        requests = [
            Request(
                backend=framework,
                jobs=(Experiment(topics=tuple(names), out=folder / f"{framework}.seen.json"),),
                folder=folder,
                result=folder / f"{framework}.json",
            )
            for framework in frameworks
        ]

        def on_tick(running: Sequence[Worker]) -> None:
            if waiting := [worker.backend for worker in running if worker.outcome is None]:
                progress(f"experiments in {', '.join(waiting)}")

        outcomes = run_all(requests, {}, timeout, on_tick)
        cells: dict[str, dict[str, Answer]] = {name: {} for name in names}
        versions = {}
        for request, outcome in zip(requests, outcomes, strict=True):
            file = request.jobs[0].out
            done: dict[str, Any] = {}
            if outcome.status == "ok" and file.exists():
                record = json.loads(file.read_text())
                done, versions[outcome.backend] = record["cells"], record["versions"]
            why = outcome.message or f"{outcome.status}, without a message"
            for name in names:
                cell = Answer(**done[name]) if name in done else Answer(problem=why)
                cells[name][outcome.backend] = cell
    return cells, versions


def experiment(backend: Adapter, names: Sequence[str]) -> dict[str, Any]:
    """Run experiments in this process; if one fails, its own answer says so.

    Args:
        backend: the framework's adapter, which has imported it with its settings.
        names: topics.

    Returns:
        The versions, and a cell for each topic, as JSON has them.
    """
    cells, kit = {}, Kit(backend)
    for name in names:
        try:
            cells[name] = TOPICS[name].runs[backend.name](kit)
        except Exception as error:  # the table shows it in place of an answer
            cells[name] = Answer(problem=f"the experiment failed: {error!r}"[:300])
    return {
        "versions": backend.versions(),
        "cells": {name: asdict(cell) for name, cell in cells.items()},
    }
