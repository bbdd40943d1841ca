"""Worker processes: as many at once as there are cores, watched, and ended whatever happens."""

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
from typing import IO, Any

from ..errors import InputError
from ..networks import catalogue
from .request import Outcome, Request

TAIL_LINES = 12  # of what a failed worker printed last
TICK_SECONDS = 0.05  # between two looks at the workers
OWN_PACKAGES = ("inception_parity", *catalogue.PACKAGES)


class Worker:
    """One worker: waiting to be started, running, or ended."""

    def __init__(self, request: Request, python: Path | None, timeout: float, threads: int) -> None:
        self.request = request
        self.backend = request.backend
        self.python = python
        self.timeout = timeout
        self.threads = threads
        self.outcome: Outcome | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it has been started, and has no outcome yet."""
        return self.process is not None and self.outcome is None

    def start(self) -> None:
        """Start the process; its time limit begins."""
        request_file = self.request.result.with_suffix(".request.json")
        request_file.write_text(self.request.dumps())
        packages = self.request.result.parent / "packages"
        program = [str(self.python or sys.executable), "-m", "inception_parity.worker"]
        self.deadline = time.monotonic() + self.timeout
        self.process = subprocess.Popen(
            [*program, str(request_file)],
            stdin=subprocess.PIPE,  # closes when we end, however we end
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(packages, self.threads, foreign=self.python is not None),
            start_new_session=True,  # a group of its own, to be ended as a whole
        )
        self.tail: deque[bytes] = deque(maxlen=64)
        self.reader = threading.Thread(target=self._read, args=[self.process.stdout], daemon=True)
        self.reader.start()

    def _read(self, output: IO[bytes]) -> None:
        """Keep the last of what the worker prints, however much it is."""
        with output:
            while chunk := os.read(output.fileno(), 1024):
                self.tail.append(chunk)

    def poll(self) -> Outcome | None:
        """Return the outcome once the worker has ended.

        Raises:
            InputError: what the user gave can't be used, or the traces can't be written.
        """
        if self.process is not None and self.outcome is None:
            if self.process.poll() is not None:
                self.outcome = self._conclude(self.process.returncode)
            elif time.monotonic() > self.deadline:
                self.end()
                why = f"not done after {self.timeout:g} s{self._last_words()}"
                self.outcome = Outcome(self.backend, "timeout", why)
        return self.outcome

    def _conclude(self, code: int) -> Outcome:
        self.end()  # whatever it started itself
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
        """End the worker and all that it started, if it was started itself."""
        if self.process is not None:
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
    """Run a worker for each request, as many side by side as there are cores, until all have ended.

    More at once would take more memory and no less time. They are started in the order of the
    requests, so one may wait for the files of one before it.

    Args:
        requests: one per worker.
        pythons: other interpreters, by backend.
        timeout: time limit per worker, in seconds.
        on_tick: called with all workers again and again, once more after they have ended; what
            it raises ends them.

    Returns:
        The outcomes, in the order of the requests.
    """
    at_once = min(cores(), len(requests))
    with _made(requests, pythons, timeout, at_once) as made:
        waiting = deque(made)
        while True:
            outcomes = [worker.poll() for worker in made]
            while waiting and sum(worker.running for worker in made) < at_once:
                waiting.popleft().start()
            on_tick(made)
            ended = [outcome for outcome in outcomes if outcome is not None]
            if len(ended) == len(made):
                return ended
            time.sleep(TICK_SECONDS)


@contextlib.contextmanager
def workers(
    requests: Sequence[Request], pythons: Mapping[str, Path], timeout: float
) -> Iterator[list[Worker]]:
    """Run a worker for each request, all at once, while the context lasts; none outlives it."""
    with _made(requests, pythons, timeout, len(requests)) as made:
        for worker in made:
            worker.start()
        yield made


@contextlib.contextmanager
def _made(
    requests: Sequence[Request], pythons: Mapping[str, Path], timeout: float, at_once: int
) -> Iterator[list[Worker]]:
    """Make workers that share the cores, none of which outlives the context; start none."""
    # More threads than cores wait for each other, and they do so at full speed.
    threads = max(1, cores() // max(1, at_once))
    made = [Worker(r, pythons.get(r.backend), timeout, threads) for r in requests]
    try:
        yield made
    finally:
        for worker in made:
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
