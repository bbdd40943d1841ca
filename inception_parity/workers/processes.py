"""Worker processes: started side by side, watched, and ended whatever happens."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..networks import catalogue
from .request import Outcome, Request

TAIL_LINES = 12  # of what a failed worker printed last
TICK_SECONDS = 0.05  # between two looks at the workers
OWN_PACKAGES = ("inception_parity", *catalogue.PACKAGES)


class Worker:
    """One running worker."""

    def __init__(self, request: Request, python: Path | None, timeout: float, threads: int) -> None:
        self.request = request
        self.backend = request.backend
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self.outcome: Outcome | None = None
        request_file = request.result.with_suffix(".request.json")
        request_file.write_text(request.dumps())
        packages = request.result.parent / "packages"
        self.process = subprocess.Popen(
            [str(python or sys.executable), "-m", "inception_parity.worker", str(request_file)],
            stdin=subprocess.PIPE,  # closes when we end, however we end
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(packages, threads, foreign=python is not None),
            start_new_session=True,  # a group of its own, to be ended as a whole
        )
        self.tail: deque[bytes] = deque(maxlen=64)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        """Keep the last of what the worker prints, however much it is."""
        assert self.process.stdout is not None
        with self.process.stdout as output:
            while chunk := os.read(output.fileno(), 1024):
                self.tail.append(chunk)

    def poll(self) -> Outcome | None:
        """Return the outcome once the worker has ended.

        Raises:
            InputError: what the user gave can't be used, or the traces can't be written.
        """
        if self.outcome is None:
            if self.process.poll() is not None:
                self.outcome = self._conclude()
            elif time.monotonic() > self.deadline:
                self.end()
                why = f"not done after {self.timeout:g} s{self._last_words()}"
                self.outcome = Outcome(self.backend, "timeout", why)
        return self.outcome

    def _conclude(self) -> Outcome:
        self.end()  # whatever it started itself
        code = self.process.returncode
        if code == 0 and self.request.result.is_file():
            try:
                answer = json.loads(self.request.result.read_text())
                outcome = Outcome(self.backend, **answer)
            except (ValueError, TypeError):
                return Outcome(self.backend, "failed", "left a result that can't be read")
            if outcome.status == "refused":  # what the user gave it, not the backend
                raise InputError(outcome.message)
            return outcome
        if code == os.EX_IOERR:
            raise InputError(
                f"the traces of {self.backend} can't be written; make room, or set TMPDIR "
                f"to a folder that has some:{self._last_words()}"
            )
        if code < 0:
            why = f"killed by {_signal_name(-code)}"
            if -code == signal.SIGKILL:
                why += " (out of memory, perhaps: try a smaller --batch or --size)"
        elif code == 0:
            why = "ended without a result"
        else:
            why = f"ended with exit code {code}"
        return Outcome(self.backend, "failed", why + self._last_words())

    def _last_words(self) -> str:
        self.reader.join(timeout=1)
        text = b"".join(self.tail).decode(errors="replace")
        lines = [line.rstrip()[:300] for line in text.splitlines() if line.strip()]
        return "".join(f"\n  | {line}" for line in lines[-TAIL_LINES:])

    @property
    def done(self) -> int:
        """How many of its jobs are done."""
        return sum(job.out.exists() for job in self.request.jobs)

    def end(self) -> None:
        """End the worker and all that it started."""
        end_group(self.process)
        if self.process.stdin is not None:
            self.process.stdin.close()


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a process that leads a group, and the whole group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def cores() -> int:
    """Return how many cores this process may use: a container or `taskset` can grant fewer."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time signals have no names
        return f"signal {number}"


def run_all(
    requests: Sequence[Request],
    pythons: Mapping[str, Path],
    timeout: float,
    on_tick: Callable[[Sequence[Worker]], None],
) -> list[Outcome]:
    """Run a worker for each request, side by side, until all have ended.

    Args:
        requests: one per worker.
        pythons: other interpreters, by backend.
        timeout: time limit per worker, in seconds.
        on_tick: called with all workers again and again, once more after they have ended; what
            it raises ends them.

    Returns:
        The outcomes, in the order of the requests.
    """
    with workers(requests, pythons, timeout) as running:
        while True:
            outcomes = [worker.poll() for worker in running]
            on_tick(running)
            ended = [outcome for outcome in outcomes if outcome is not None]
            if len(ended) == len(running):
                return ended
            time.sleep(TICK_SECONDS)


@contextlib.contextmanager
def workers(
    requests: Sequence[Request], pythons: Mapping[str, Path], timeout: float
) -> Iterator[list[Worker]]:
    """Run a worker for each request while the context lasts; none outlives it."""
    started: list[Worker] = []
    # More threads than cores wait for each other, and they do so at full speed.
    threads = max(1, cores() // max(1, len(requests)))
    try:
        for request in requests:
            # One by one: those that did start are ended if the next one can't.
            python = pythons.get(request.backend)
            started.append(Worker(request, python, timeout, threads))
        yield started
    finally:
        for worker in started:
            worker.end()


def _environment(packages: Path, threads: int, *, foreign: bool) -> dict[str, str]:
    """Return the environment in which a worker finds our packages, and its share of the cores.

    Another interpreter is shown a folder with nothing but them: with the whole
    site-packages on its path it would find our NumPy, and frameworks that it
    doesn't have.
    """
    if not packages.exists():
        packages.mkdir()
        for package in OWN_PACKAGES:
            spec = importlib.util.find_spec(package)
            if spec is not None and spec.submodule_search_locations:
                (packages / package).symlink_to(Path(spec.submodule_search_locations[0]).resolve())
    path = [str(packages)]
    if not foreign and "PYTHONPATH" in os.environ:
        path.append(os.environ["PYTHONPATH"])
    return {
        "OMP_NUM_THREADS": str(threads),  # of torch, MXNet and NumPy's BLAS
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONSAFEPATH": "1",  # a numpy.py in the current folder is somebody's script
        "PYTHONUNBUFFERED": "1",
    }
