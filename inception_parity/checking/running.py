"""Workers beside the oracle: what each is asked for, and what all of them share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import OracleError
from ..files import save_array, save_arrays
from ..workers.processes import Worker, run_all
from ..workers.request import AnyJob, Outcome, Request
from .task import Settings, Task

WORK = "work"  # the folder, beside the traces, for what only workers need


def write_shared(task: Task, folder: Path) -> Path:
    """Write what all workers read into a trace folder's `work`; return the file of the images."""
    save_arrays(folder / WORK / "weights", task.weights.arrays)
    images = folder / WORK / "images.npy"
    save_array(images, task.images)
    return images


def request_of(
    settings: Settings, folder: Path, backend: str, jobs: Sequence[AnyJob], device: str = ""
) -> Request:
    """Return what a worker is asked for, after `write_shared`."""
    return Request(
        backend=backend,
        jobs=tuple(jobs),
        folder=folder,
        result=folder / WORK / f"{backend}.json",
        device=device or settings.device,
        weights=folder / WORK / "weights",
        file=settings.onnx.absolute() if settings.onnx else None,
    )


def run_beside_oracle(
    requests: Sequence[Request],
    settings: Settings,
    on_tick: Callable[[Sequence[Worker]], None],
) -> dict[str, Outcome]:
    """Run a worker for each request, the oracle's first, and return the others' by backend.

    Raises:
        OracleError: the oracle crashed, or ran out of time.
    """

    def tick(running: Sequence[Worker]) -> None:
        oracle = running[0].outcome
        if oracle is not None and oracle.status != "ok":
            raise OracleError(f"the oracle didn't finish: {oracle.message}")
        on_tick(running)

    outcomes = run_all(requests, settings.pythons, settings.timeout, tick)
    return {outcome.backend: outcome for outcome in outcomes[1:]}


def state(running: Sequence[Worker]) -> str:
    """Say in a line what each worker has done so far, the oracle's first."""
    oracle, *others = running
    left = len(oracle.request.jobs) - oracle.done
    words = ["oracle …" if not oracle.done else "noise floors …" if left else "oracle done"]
    for worker in others:
        ended = worker.outcome is not None and worker.outcome.status != "ok"
        done = "ended" if ended else f"{worker.done}/{len(worker.request.jobs)}"
        words.append(f"{worker.backend} {done}")
    return " · ".join(words)


def keep_traces(folder: Path, target: Path) -> None:
    """Turn a folder of traces into the one that the user asked for."""
    shutil.rmtree(folder / WORK)
    folder.chmod(0o755)
    folder.replace(target)
