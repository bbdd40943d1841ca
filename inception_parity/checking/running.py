"""The oracle's worker and the others: what each is asked for, and what all of them share."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import OracleError
from ..files import save_array, save_arrays, settle, work_folder
from ..networks import catalogue
from ..workers.processes import Worker, run_all
from ..workers.request import AnyJob, Outcome, Request
from .task import Settings, Task

WORK = "work"  # the folder, next to the traces, for what only workers need
IMAGES = f"{WORK}/images.npy"


def write_shared(task: Task, folder: Path) -> None:
    """Write what all workers read into a folder for traces."""
    save_arrays(folder / WORK / "weights", task.weights.arrays)
    save_array(folder / IMAGES, task.images)


@contextlib.contextmanager
def trace_folder(task: Task, keep: Path | None) -> Iterator[Path]:
    """Make a folder for traces, with what all workers read.

    Args:
        task: weights and images.
        keep: what the folder becomes in the end, with the traces alone; None to remove it.

    Raises:
        InputError: `keep` exists and isn't empty, or something can't be written.
    """
    with work_folder(keep) as folder:
        write_shared(task, folder)
        yield folder
        if keep is not None:
            shutil.rmtree(folder / WORK)
            settle(folder, keep)


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
    settings: Settings,
    folder: Path,
    jobs: Mapping[str, Sequence[AnyJob]],
    on_tick: Callable[[Sequence[Worker]], None],
) -> dict[str, Outcome]:
    """Run a worker for each backend and one for the oracle, on the CPU.

    Args:
        settings: backends, device, interpreters, time limit.
        folder: a `trace_folder`.
        jobs: of every backend, the oracle included.
        on_tick: called with all workers, the oracle's first, again and again.

    Returns:
        The outcomes by backend, without the oracle's.

    Raises:
        OracleError: the oracle crashed, or ran out of time.
    """

    def tick(running: Sequence[Worker]) -> None:
        oracle = running[0].outcome
        if oracle is not None and oracle.status != "ok":
            raise OracleError(f"the oracle didn't finish: {oracle.message}")
        on_tick(running)

    oracle = request_of(settings, folder, catalogue.ORACLE, jobs[catalogue.ORACLE], "cpu")
    others = [request_of(settings, folder, backend, jobs[backend]) for backend in settings.backends]
    outcomes = run_all([oracle, *others], settings.pythons, settings.timeout, tick)
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
