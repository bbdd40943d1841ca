"""A training check: one network, trained for a few steps in several backends, side by side."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checking.task import Settings, Subject, Task, request_of, write_shared
from ..errors import AGREE, BROKEN, DIVERGE, InputError, OracleError
from ..files import work_folder
from ..networks import catalogue
from ..networks.summary import values_per_channel
from ..traces.trace import Trace
from ..traces.weights import is_idle_bias
from ..workers.processes import Outcome, Worker, workers
from .judging import SHOWN, Cell, Judgement, judge
from .trial import Trial


@dataclass
class TrainingResult:
    """The result of training one network in all backends."""

    subject: Subject
    trial: Trial
    settings: Settings
    outcomes: dict[str, Outcome]
    judgements: list[Judgement]
    losses: dict[Cell, list[float]]  # of every step
    loaders: dict[Cell, list[str]]  # arrays that weren't held as they were loaded
    counts: dict[str, int]  # batch norm's path -> values that it averages over
    idle: tuple[str, ...]  # biases before batch norm, which no gradient moves
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0: all agree; 1: something diverges; 3: a backend is missing, failed or wasn't judged."""
        judged = {found.backend for found in self.judgements if found.verdict != SHOWN}
        if judged != set(self.settings.backends):
            return BROKEN
        if any(outcome.status != "ok" for outcome in self.outcomes.values()):
            return BROKEN
        wrong = any(found.fails for found in self.judgements) or any(self.loaders.values())
        return DIVERGE if wrong else AGREE


def check_training(
    task: Task,
    trial: Trial,
    settings: Settings,
    keep: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> TrainingResult:
    """Train the task's network in every backend, and judge the results.

    Args:
        task: weights, and the images from which the batches are made.
        trial: how the network is trained.
        settings: backends, dtypes, device, interpreters, time limit.
        keep: a folder to make, for the traces; None to throw them away.
        progress: called with a line that says what is being done.

    Raises:
        InputError: something given can't be used, float64 isn't among the dtypes, or there is
            no room for traces.
        OracleError: the oracle crashed, or ran out of time.
    """
    if "float64" not in settings.dtypes:
        raise InputError(
            f"training in {', '.join(settings.dtypes)} alone can't be judged, only in float64; "
            "add float64 to --dtypes"
        )
    start = time.monotonic()
    weights = task.weights
    counts = values_per_channel(weights.network, weights.options, task.size, trial.recipe.batch)
    with work_folder(keep) as folder:
        write_shared(task, folder)
        shared = {"recipe": trial.text(), "counts": counts}

        def request(backend: str, dtypes: tuple[str, ...], device: str) -> dict[str, Any]:
            jobs = [
                {"dtype": d, "mode": "training", "out": str(folder / f"{backend}-{d}-training")}
                for d in dtypes
            ]
            return {**request_of(task, settings, folder, backend, device, jobs, backend), **shared}

        requests = [
            request(catalogue.ORACLE, ("float64",), "cpu"),
            *(request(backend, settings.dtypes, settings.device) for backend in settings.backends),
        ]
        with workers(requests, settings.pythons, settings.timeout) as running:
            while sum(worker.poll() for worker in running) < len(running):
                progress(_state(running, settings, folder))
                time.sleep(0.05)
        outcomes = [worker.outcome for worker in running if worker.outcome is not None]
        if outcomes[0].status != "ok":
            raise OracleError(f"the oracle didn't finish: {outcomes[0].message}")
        progress("comparing")
        result = _judged(task, trial, settings, outcomes[1:], counts, folder)
        result.seconds = time.monotonic() - start
        if keep is not None:
            shutil.rmtree(folder / "work")
            folder.chmod(0o755)
            folder.replace(keep)
    return result


def _judged(
    task: Task,
    trial: Trial,
    settings: Settings,
    outcomes: list[Outcome],
    counts: dict[str, int],
    folder: Path,
) -> TrainingResult:
    """Read the traces, and judge them; a backend whose trace is missing or broken has failed."""
    by_name = {outcome.backend: outcome for outcome in outcomes}
    traces: dict[Cell, Trace] = {}
    for dtype in settings.dtypes:
        for backend, outcome in by_name.items():
            if outcome.status != "ok" or dtype in outcome.unsupported:
                continue
            try:
                traces[backend, dtype] = Trace.read(folder / f"{backend}-{dtype}-training")
            except InputError as error:
                outcome.status = "failed"
                outcome.message = f"left no trace of {dtype} that can be used: {error}"
    oracle = Trace.read(folder / f"{catalogue.ORACLE}-float64-training")
    arrays = task.weights.arrays
    judgements = judge(traces, oracle, arrays, trial)
    idle = tuple(name for name in arrays if is_idle_bias(name, arrays))
    losses = {cell: np.asarray(trace.array("loss")).tolist() for cell, trace in traces.items()}
    loaders = {cell: trace.loader for cell, trace in traces.items()}
    return TrainingResult(
        task.subject, trial, settings, by_name, judgements, losses, loaders, counts, idle
    )


def _state(running: list[Worker], settings: Settings, folder: Path) -> str:
    """Say in a line what each worker has done so far."""
    words = ["oracle done" if running[0].outcome is not None else "oracle …"]
    for worker in running[1:]:
        done = sum((folder / f"{worker.backend}-{d}-training").exists() for d in settings.dtypes)
        ended = worker.outcome is not None and worker.outcome.status != "ok"
        count = f"{done}/{len(settings.dtypes)}"
        words.append(f"{worker.backend} {'ended' if ended else count}")
    return " · ".join(words)
