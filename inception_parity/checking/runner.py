"""The main job: one network, in several backends, from the same weights and images.

All workers run side by side; every trace is compared as soon as it and the oracle's
have appeared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..files import work_folder
from ..networks import catalogue
from ..traces.trace import Trace, folder_name
from ..workers.processes import Worker, run_all
from ..workers.request import AnyJob, MeasureFloors, Outcome, Record
from .collector import ORACLE_CELL, Collector, floors_file
from .result import CheckResult
from .running import (
    IMAGES,
    request_of,
    run_beside_oracle,
    state,
    trace_folder,
    write_shared,
)
from .task import Cell, Settings, Task


def check(
    task: Task,
    settings: Settings,
    keep: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
    on_result: Callable[[CheckResult, Trace, Mapping[Cell, Trace]], None] | None = None,
) -> CheckResult:
    """Run the task in every backend and compare each with the oracle.

    Args:
        task: weights and images.
        settings: backends, dtypes, device, interpreters, time limit.
        keep: a folder to make, for the traces; None to throw them away.
        progress: called with a line that says what is being done.
        on_result: called with the result, the oracle's trace and all others while they exist.

    Raises:
        InputError: something given can't be used, or there is no room for traces.
        OracleError: the oracle crashed, or ran out of time.
    """
    start = time.monotonic()
    with trace_folder(task, keep) as folder:
        collector = Collector(task, settings, folder)

        def on_tick(running: Sequence[Worker]) -> None:
            collector.collect()
            progress(state(running))

        jobs = _jobs(task, settings, folder)
        outcomes = run_beside_oracle(settings, folder, jobs, on_tick)
        collector.blame(outcomes)
        collector.diagnose(progress)
        result = CheckResult(
            task.subject, settings, outcomes, collector.in_order(), collector.pairs(),
            collector.diagnoses, collector.oracle_suspect(), time.monotonic() - start,
        )  # fmt: skip
        collector.keep_floors()
        if on_result is not None and collector.oracle is not None:
            on_result(result, collector.oracle, collector.traces)
    return result


def run_one(
    task: Task, settings: Settings, folder: Path, progress: Callable[[str], None]
) -> Outcome:
    """Run the task in the one backend and dtype of `settings`, and keep its trace in `folder`.

    Raises:
        InputError: the folder exists and isn't empty, or can't be written.
    """
    (backend,), (dtype,) = settings.backends, settings.dtypes
    with work_folder(folder) as work:
        write_shared(task, work)
        job = _record(task, (backend, dtype, "propagated"), work)
        request = request_of(settings, work, backend, [job])
        (outcome,) = run_all(
            [request], settings.pythons, settings.timeout,
            lambda running: progress(f"{backend} {dtype}"),
        )  # fmt: skip
        if outcome.status == "ok" and job.out.exists():
            job.out.replace(folder)
    return outcome


def _jobs(task: Task, settings: Settings, folder: Path) -> dict[str, list[AnyJob]]:
    """Return the jobs of the oracle and of each backend."""
    oracle = _record(task, ORACLE_CELL, folder)
    floors = [
        MeasureFloors(
            oracle.network, oracle.options, dtype, images=oracle.images,
            out=floors_file(folder, dtype), oracle=oracle.out,
        )
        for dtype in settings.dtypes
        if dtype != "float64" and not floors_file(folder, dtype).exists()
    ]  # fmt: skip
    jobs: dict[str, list[AnyJob]] = {catalogue.ORACLE: [oracle, *floors]}
    for cell in settings.cells:  # by dtype, since a worker builds its network anew for each
        jobs.setdefault(cell[0], []).append(_record(task, cell, folder))
    return jobs


def _record(task: Task, cell: Cell, folder: Path) -> Record:
    _, dtype, mode = cell
    oracle = folder / folder_name(*ORACLE_CELL) if mode == "isolated" else None
    return Record(
        task.weights.network, task.weights.options, dtype, mode, images=folder / IMAGES,
        out=folder / folder_name(*cell), oracle=oracle,
    )  # fmt: skip
