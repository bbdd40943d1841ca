"""A training check: one network, trained for a few steps in several backends, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..checking.running import IMAGES, run_beside_oracle, state, trace_folder
from ..checking.task import Settings, Subject, Task
from ..errors import AGREE, BROKEN, DIVERGE, InputError
from ..networks import catalogue
from ..networks.empty_batch import with_heads
from ..networks.idle_biases import idle_biases
from ..networks.summary import values_per_channel
from ..traces.freezing import frozen_norms
from ..traces.trace import Trace, folder_name
from ..workers.request import Outcome, Train
from .judging import SHOWN, Judgement, Key, judge
from .limits import Arrays
from .trial import Trial

MODE = "training"  # in the names of its traces


@dataclass
class TrainingResult:
    """The result of training one network in all backends."""

    subject: Subject
    trial: Trial
    settings: Settings
    outcomes: dict[str, Outcome]
    judgements: list[Judgement]
    losses: dict[Key, list[float]]  # of every step
    loaders: dict[Key, list[str]]  # arrays that weren't held as they were loaded
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
    options = task.weights.options
    counts = values_per_channel(task.weights.network, options, task.size, trial.recipe.batch)
    idle = _idle(task, trial)
    with trace_folder(task, keep) as folder:
        jobs = _jobs(task, trial, settings, counts, idle, folder)
        outcomes = run_beside_oracle(
            settings, folder, jobs, lambda running: progress(state(running))
        )
        progress("comparing")
        traces = _traces(settings, outcomes, folder)
        oracle = Trace.read(folder / folder_name(catalogue.ORACLE, "float64", MODE))
        arrays = Arrays(task.weights.arrays, trial.recipe, idle)
        return TrainingResult(
            task.subject,
            trial,
            settings,
            outcomes,
            judge(traces, oracle, arrays, trial),
            {cell: np.asarray(trace.array("loss")).tolist() for cell, trace in traces.items()},
            {cell: trace.loader for cell, trace in traces.items()},
            counts,
            idle,
            time.monotonic() - start,
        )


def _idle(task: Task, trial: Trial) -> tuple[str, ...]:
    """Return the biases that batch norm subtracts again."""
    options, arrays = task.weights.options, task.weights.arrays
    net = with_heads(catalogue.network(task.weights.network), options)
    shape = (int(options["in_channels"]), *task.size)
    return tuple(idle_biases(net, shape, frozen_norms(arrays, trial.recipe.frozen)))


def _jobs(
    task: Task,
    trial: Trial,
    settings: Settings,
    counts: dict[str, int],
    idle: tuple[str, ...],
    folder: Path,
) -> dict[str, list[Train]]:
    """Return the jobs of the oracle, which has float64 alone, and of each backend."""
    dtypes = {catalogue.ORACLE: ("float64",), **dict.fromkeys(settings.backends, settings.dtypes)}
    return {
        backend: [
            Train(
                task.weights.network, task.weights.options, dtype, MODE, recipe=trial.text(),
                counts=counts, idle=idle, images=folder / IMAGES,
                out=folder / folder_name(backend, dtype, MODE),
            )
            for dtype in dtypes[backend]
        ]
        for backend in dtypes
    }  # fmt: skip


def _traces(settings: Settings, outcomes: dict[str, Outcome], folder: Path) -> dict[Key, Trace]:
    """Read the traces; a backend whose trace is missing or broken has failed."""
    traces: dict[Key, Trace] = {}
    for dtype in settings.dtypes:
        for backend, outcome in outcomes.items():
            if outcome.status != "ok" or dtype in outcome.unsupported:
                continue
            try:
                traces[backend, dtype] = Trace.read(folder / folder_name(backend, dtype, MODE))
            except InputError as error:
                outcome.status = "failed"
                outcome.message = f"left no trace of {dtype} that can be used: {error}"
    return traces
