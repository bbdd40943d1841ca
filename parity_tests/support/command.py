"""The command as a user calls it, and interpreters that misbehave when it calls them."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from inception_parity import cli

SMALL = ("--size", "32", "--batch", "1")
ENDPOINTS = 212  # of GoogLeNet's trace: input, 139 layers, 71 blocks, logits


class Done(NamedTuple):
    """What a call of the command returned and printed."""

    code: int
    out: str
    err: str


def use_temporary(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder`, and have all temporary files go there, including those of workers."""
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@contextlib.contextmanager
def empty_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Change to an empty folder in `folder`; assert at the end that no temporary file is left."""
    temporary = use_temporary(folder / "temporary", monkeypatch)
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    yield
    assert list(temporary.iterdir()) == []


def call(capsys: pytest.CaptureFixture[str], *words: object) -> Done:
    """Call the command in this process."""
    capsys.readouterr()
    code = cli.invoke([str(word) for word in words])
    return Done(code, *capsys.readouterr())


def start(*words: object, **environment: str) -> subprocess.Popen[str]:
    """Start the command in a separate process."""
    return subprocess.Popen(
        [sys.executable, "-m", "inception_parity.cli", *map(str, words)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment_of_ours(**environment), preexec_fn=_heed_signals,
    )  # fmt: skip


def _heed_signals() -> None:
    """Reset signals that a background job or nohup has set to be ignored."""
    for number in cli.SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def environment_of_ours(**more: str) -> dict[str, str]:
    """Return an environment in which a process finds the same packages as this one."""
    root = str(Path(cli.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, **more}


def require_clear_error(done: Done, *texts: str) -> None:
    """Assert exit code 2 and a single message that contains all `texts`, with no traceback."""
    assert done.code == 2, done
    assert done.err.startswith("error: "), done.err
    assert "Traceback" not in done.err
    for text in texts:
        assert text in done.err


def interpreter(folder: Path, name: str, code: str, answer: str = "modules True True True") -> Path:
    """Return an executable that poses as an interpreter and runs `code` as its worker.

    Args:
        folder: where to put it.
        name: its name.
        code: Python that finds the request in `request`, a dictionary, its
            file in `file`, and can call `work()` to do what it says.
        answer: what it prints when asked which modules it has.
    """
    folder.mkdir(exist_ok=True)
    script, executable = folder / f"{name}.py", folder / name
    script.write_text(PROLOGUE + code)
    executable.write_text(
        f"#!/bin/sh\n"
        f'if [ "$1" = -c ]; then echo {answer}; exit; fi\n'
        f'exec "{sys.executable}" "{script}" "$@"\n'
    )
    executable.chmod(executable.stat().st_mode | stat.S_IXUSR)
    return executable


PROLOGUE = """
import json, os, pathlib, resource, signal, subprocess, sys, threading, time
file = sys.argv[-1]
request = json.loads(pathlib.Path(file).read_text())

def work():
    from inception_parity import worker
    assert worker.main(file) == 0

"""

# Stands in for a working framework: the oracle under another name, and quick to start.
SOUND = """
import inception_parity.backends as backends
from inception_parity.backends.np import Backend
oracle = Backend("cpu")
oracle.name = request["backend"]
backends.adapter = lambda name, device: oracle
work()
"""


def processes_that_mention(folder: Path) -> list[str]:
    """Return the command lines of running processes that mention something in `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in words and entry.parent.name != str(os.getpid()):
                found.append(words)
    return found


def alive(pid: int) -> bool:
    """Return whether a process is running, rather than waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], object], seconds: float = 180, every: float = 0.05) -> None:
    """Wait until `condition` holds; fail if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(every)
