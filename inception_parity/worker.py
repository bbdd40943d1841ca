"""A backend in a process of its own: `python -m inception_parity.worker REQUEST.json`.

Each job of the request leaves a trace's folder or a file; the outcome is written to the
request's result file, last. Needs nothing but NumPy and the framework, so that any
interpreter that has them will do.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import backends
from .backends import Adapter, UnavailableError
from .backends.libraries import library_adapter
from .errors import InputError
from .files import mapped_arrays, write_json
from .networks import catalogue
from .traces.trace import Trace
from .workers.request import (
    AnyJob,
    Experiment,
    Job,
    MeasureFloors,
    Outcome,
    Race,
    Record,
    Request,
    Train,
)

# Errors of writing that are the place's fault, not the program's.
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


def main(request_file: str) -> int:
    """Do what the request says.

    Returns:
        0; EX_IOERR if the traces can't be written, or EX_PROTOCOL if the request was written by
        another version; the last line of the standard error says why.
    """
    try:
        request = Request.loads(Path(request_file).read_text())
    except InputError as error:
        print(error, file=sys.stderr)
        return os.EX_PROTOCOL
    watcher = threading.Thread(target=end_with_parent, args=[request.folder], daemon=True)
    watcher.start()
    try:
        return _answer(request)
    finally:
        if select.select([0], [], [], 0)[0]:  # the parent has ended: that may be why we failed
            watcher.join()


def _answer(request: Request) -> int:
    """Do the jobs, write the outcome, and return the exit code."""
    outcome = Outcome(request.backend)
    start = time.perf_counter()
    try:
        _work(request, outcome, start)
        outcome.seconds = time.perf_counter() - start
        outcome.peak_memory = _peak_memory()
        write_json(request.result, {k: v for k, v in asdict(outcome).items() if k != "backend"})
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS:
            raise
        print(f"{error.filename or request.folder}: {error.strerror}", file=sys.stderr)
        return os.EX_IOERR
    return 0


def _work(request: Request, outcome: Outcome, start: float) -> None:
    """Do one job after another; what can't be computed in one dtype may be in another."""
    try:
        backend = _backend(request)
        outcome.import_seconds = time.perf_counter() - start
        weights = mapped_arrays(request.weights) if request.weights else {}
        if isinstance(first := request.jobs[0], Record | Train):
            height, width = _images(first).shape[2:]
            folder = request.result.parent
            backend.prepare(first, weights, (height, width), folder, request.file)
        doer = _Doer(backend, weights)
        for job in request.jobs:
            try:
                doer.do(job)
            except UnavailableError as error:
                if not isinstance(job, Job):
                    raise
                outcome.unsupported[job.dtype] = str(error)
    except UnavailableError as error:
        outcome.status, outcome.message = "missing", str(error)
    except InputError as error:
        outcome.status, outcome.message = "refused", str(error)


def _backend(request: Request) -> Adapter:
    if not request.library:
        return backends.adapter(request.backend, request.device)
    assert request.file is not None
    return library_adapter(request.library, request.device, request.file, request.backend)


@dataclass
class _Doer:
    """Does one job after another, and keeps the network as long as the next job uses it too."""

    backend: Adapter
    weights: Mapping[str, NDArray[Any]]
    net: Any = None
    built: tuple[str, Mapping[str, Any]] | None = None

    def do(self, job: AnyJob) -> None:
        """Do one job; what only one kind of job needs is imported for that kind only."""
        backend, weights = self.backend, self.weights
        match job:
            case Record():
                oracle = _trace(job.oracle) if job.oracle else None
                net = self.network(job)
                backends.record(backend, net, job, _images(job), weights, job.out, oracle)
            case MeasureFloors():
                from .comparison import floors

                measured = floors.measure(
                    job.network, job.options, _images(job), weights, _trace(job.oracle), job.dtype
                )
                write_json(job.out, measured)
            case Train() if backend.name == catalogue.ORACLE:
                from .training_check.derivatives import record_oracle

                record_oracle(backend, self.network(job), job, _images(job), weights)
            case Train():
                from .training_check.steps import record_training

                trains = backends.trainable(backend)
                record_training(trains, self.network(job), job, _images(job), weights)
            case Race():
                from .training import racer

                racer.run(backends.trainable(backend), job, weights)
            case Experiment():
                from .differences import experiment

                write_json(job.out, experiment(backend, job.topics))

    def network(self, job: Job) -> Any:
        """Return the job's network, built anew if options or dtype differ from the last one's."""
        wanted = job.dtype, job.options
        if self.net is None or wanted != self.built:
            self.net, self.built = None, wanted
            gc.collect()  # networks hold themselves in cycles; two at once is one too many
            self.net = backends.loaded(self.backend, job, self.weights)
        return self.net


def _images(job: Record | MeasureFloors | Train) -> NDArray[np.float64]:
    images: NDArray[np.float64] = np.load(job.images)
    return images


def _trace(folder: Path) -> Trace:
    """Wait for a trace that another worker may still be making, and read it."""
    while not folder.exists():  # the parent ends us if it never comes
        time.sleep(0.02)
    return Trace.read(folder)


def end_with_parent(folder: Path) -> None:
    """Remove `folder` and end when the standard input closes: the parent has ended.

    Then nobody is left to read the traces or to remove them. Another program takes the place of
    this one before it removes anything, so that no thread can write there afterwards.
    """
    while os.read(0, 4096):
        pass
    remove = "import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)"
    os.execv(sys.executable, [sys.executable, "-I", "-c", remove, str(folder)])


def _peak_memory() -> int:
    """Return the most memory this process held, in bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
