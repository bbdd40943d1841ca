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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..networks import catalogue

TAIL_LINES = 12  # of what a failed worker printed last
WORKER = "inception_parity.worker"  # what a request is for, unless it names another module
PROBE_SECONDS = 60  # for an interpreter to say what it has; a cold disk is slow
OWN_PACKAGES = ("inception_parity", *catalogue.PACKAGES)


@dataclass
class Outcome:
    """What became of one worker."""

    backend: str
    status: str = "ok"  # ok, missing, failed, timeout
    message: str = ""
    unsupported: dict[str, str] = field(default_factory=dict)  # dtype -> why
    seconds: float = 0.0
    import_seconds: float = 0.0
    peak_memory: int = 0


class Worker:
    """One running worker."""

    def __init__(
        self, request: dict[str, Any], python: Path | None, timeout: float, threads: int
    ) -> None:
        self.backend: str = request["backend"]
        self.result = Path(request["result"])
        self.deadline = time.monotonic() + timeout
        self.timeout = timeout
        self.outcome: Outcome | None = None
        request_file = self.result.with_suffix(".request.json")
        request_file.write_text(json.dumps(request))
        packages = self.result.parent / "packages"
        self.process = subprocess.Popen(
            [str(python or sys.executable), "-m", request.get("module", WORKER), str(request_file)],
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

    def poll(self) -> bool:
        """Return whether the worker has ended; then `outcome` is set."""
        if self.outcome is None:
            if self.process.poll() is not None:
                self.outcome = self._conclude()
            elif time.monotonic() > self.deadline:
                self.end()
                self.outcome = Outcome(
                    self.backend,
                    "timeout",
                    f"not done after {self.timeout:g} s{self._last_words()}",
                )
        return self.outcome is not None

    def _conclude(self) -> Outcome:
        self.end()  # whatever it started itself
        code = self.process.returncode
        if code == 0 and self.result.is_file():
            try:
                outcome = Outcome(self.backend, **json.loads(self.result.read_text()))
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

    def end(self) -> None:
        """End the worker and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


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


@contextlib.contextmanager
def workers(
    requests: Sequence[dict[str, Any]], pythons: Mapping[str, Path], timeout: float
) -> Iterator[list[Worker]]:
    """Run a worker for each request while the context lasts; none outlives it."""
    started: list[Worker] = []
    # More threads than cores wait for each other, and they do so at full speed.
    threads = max(1, cores() // max(1, len(requests)))
    try:
        for request in requests:
            # One by one: those that did start are ended if the next one can't.
            python = pythons.get(request["backend"])
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


def require_interpreter(backend: str, python: Path) -> None:
    """Raise InputError unless `python` is an interpreter that has the backend's framework."""
    info = catalogue.backend(backend)
    where = f"--python {backend}={python}"
    if not python.is_file() or not os.access(python, os.X_OK):
        raise InputError(f"{where}: no such interpreter; give the path of a python executable")
    probe = (
        "import importlib.util, sys; print('modules', sys.version_info[:2] >= (3, 11), "
        f"*(importlib.util.find_spec(m) is not None for m in ('numpy', {info.framework!r})))"
    )
    words = _answer(where, python, probe)
    if len(words) != 4 or words[0] != "modules":
        raise InputError(f"{where}: doesn't answer as a Python 3.11 interpreter does")
    if words[1] != "True":
        raise InputError(f"{where}: older than Python 3.11")
    for module, found in zip(("numpy", info.framework), words[2:], strict=True):
        if found != "True":
            raise InputError(
                f"{where}: this interpreter has no {module}; "
                f"install it there: {python} -m pip install {module}"
            )


def _answer(where: str, python: Path, probe: str) -> list[str]:
    """Return the words of the last line that `python -c probe` prints; none if it fails."""
    # Its own modules are asked for, so those on our path and in the current folder don't count.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    try:
        process = subprocess.Popen(
            [python, "-c", probe], text=True, env={**environment, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"{where}: can't be run ({error.strerror})") from error
    try:
        output, _ = process.communicate(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{where}: doesn't answer within {PROBE_SECONDS} s") from error
    except UnicodeDecodeError:
        return []
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    lines = output.splitlines()
    return lines[-1].split() if lines and process.returncode == 0 else []
