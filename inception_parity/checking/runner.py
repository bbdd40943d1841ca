"""The main job: one network, in several backends, from the same weights and images.

All workers run side by side; every trace is compared as soon as it and what it
is compared with are there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import OracleError
from ..files import work_folder
from ..networks import catalogue
from ..traces.trace import Trace
from ..workers.processes import Outcome, Worker, workers
from .collector import Collector, state
from .result import CheckResult
from .task import Cell, Settings, Task, request_of, write_shared


def check(
    task: Task,
    settings: Settings,
    keep: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
    look: Callable[[CheckResult, Trace, Mapping[Cell, Trace]], None] | None = None,
) -> CheckResult:
    """Run the task in every backend and compare each with the oracle.

    Args:
        task: weights and images.
        settings: backends, dtypes, device, interpreters, time limit.
        keep: a folder to make, for the traces; None to throw them away.
        progress: called with a line that says what is being done.
        look: called with the result, the oracle's trace and all others while they are there.

    Raises:
        InputError: something given can't be used, or there is no room for traces.
        OracleError: the oracle crashed, or ran out of time.
    """
    start = time.monotonic()
    with work_folder(keep) as folder:
        collector = Collector(task, settings, folder)
        oracle_request, requests = _requests(task, settings, folder)
        everyone = [oracle_request, *requests]
        with workers(everyone, settings.pythons, settings.timeout) as running:
            while sum(worker.poll() for worker in running) < len(running):
                collector.collect()
                progress(state(running, collector))
                if _failed(running[0]):
                    break
                time.sleep(0.05)
            oracle, outcomes = running[0].outcome, [worker.outcome for worker in running[1:]]
        if oracle is not None and oracle.status != "ok":
            raise OracleError(f"the oracle didn't finish: {oracle.message}")
        progress("comparing")
        collector.collect()
        by_name = {outcome.backend: outcome for outcome in outcomes if outcome is not None}
        collector.blame(by_name)
        collector.diagnose(progress)
        result = CheckResult(
            task.subject, settings, by_name, collector.in_order(), collector.pairs(),
            collector.oracle_suspect(), time.monotonic() - start,
        )  # fmt: skip
        collector.keep_floors()
        if look is not None and collector.oracle is not None:
            look(result, collector.oracle, collector.traces)
        if keep is not None:
            shutil.rmtree(folder / "work")
            folder.chmod(0o755)
            folder.replace(keep)
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
        _, (request,) = _requests(task, settings, work)
        request["jobs"] = [job for job in request["jobs"] if job["mode"] == "propagated"]
        with workers([request], settings.pythons, settings.timeout) as (worker,):
            while not worker.poll():
                progress(f"{backend} {dtype}")
                time.sleep(0.05)
        assert worker.outcome is not None
        made = work / f"{backend}-{dtype}-propagated"
        if worker.outcome.status == "ok" and made.exists():
            made.replace(folder)
    return worker.outcome


def _requests(
    task: Task, settings: Settings, folder: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write what all workers read; return what the oracle and each backend is asked for."""
    write_shared(task, folder)

    def job(backend: str, dtype: str, mode: str) -> dict[str, str]:
        return {"dtype": dtype, "mode": mode, "out": str(folder / f"{backend}-{dtype}-{mode}")}

    small = [dtype for dtype in settings.dtypes if dtype != "float64"]
    oracle_jobs = [job(catalogue.ORACLE, "float64", "propagated")]
    oracle_jobs += [
        {"dtype": dtype, "mode": "floors", "out": str(folder / f"floors-{dtype}.json")}
        for dtype in small
        if not (folder / f"floors-{dtype}.json").exists()
    ]
    requests = []
    for backend in settings.backends:
        # By dtype, since a worker builds its network anew for each.
        jobs = [
            job(backend, dtype, mode)
            for dtype in settings.dtypes
            for mode in (("propagated", "isolated") if dtype in small else ("propagated",))
        ]
        requests.append(request_of(task, settings, folder, backend, settings.device, jobs, backend))
    return request_of(
        task, settings, folder, catalogue.ORACLE, "cpu", oracle_jobs, "oracle"
    ), requests


def _failed(worker: Worker) -> bool:
    return worker.outcome is not None and worker.outcome.status != "ok"
