"""Damaged files of every format: no crash, no hang, bounded memory, one clear error or arrays.

    python -m benchmarks.fuzz_formats --cases 1000
    python -m benchmarks.fuzz_formats --cases 5 --full FILE …

The number of a case determines it: a small valid file is damaged in up to three places
and read in a separate process, whose exit, time and memory are watched. With `--full`,
given files of a network's size are damaged and taken all the way through `inspect`. Rows
go to benchmarks/results/fuzz.jsonl; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from inception_parity import formats
from inception_parity.conversion.identifying import identify
from inception_parity.errors import InputError
from parity_tests.support.foreign_files import WRITERS, mutate, write

RESULTS = Path(__file__).parent / "results" / "fuzz.jsonl"
SECONDS = 10  # of CPU time, after which a case counts as a hang; whole files take milliseconds
FULL_SECONDS = 60
# Allowed for any file: library buffers, and modules imported on failure.
SLACK = 16 << 20


def inspect(path: Path) -> None:
    """Do everything that `inspect` does."""
    found = identify(path)
    wrong = [*found.missing(), *found.surplus(), *found.misshapen()]
    if wrong:
        raise InputError(f"{path}: {wrong[0]}")


def case(path: Path, read: Callable[[Path], object], seconds: float) -> dict[str, Any]:
    """Read a file in a fork of this process; return the outcome."""
    start = time.perf_counter()
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        # In CPU time, so that nothing counts as hanging on a busy or suspended machine;
        # and in wall time, so that a process that waits forever ends too.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(30 * int(seconds))
        os.write(sender, json.dumps(_read(path, read)).encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    row = json.loads(said) if said else {"outcome": _ending(status), "error": "", "memory": 0}
    return {
        **row,
        "seconds": round(time.perf_counter() - start, 3),
        "bytes": path.stat().st_size,
    }


def _read(path: Path, read: Callable[[Path], object]) -> dict[str, Any]:
    row: dict[str, Any] = {"outcome": "read", "error": ""}
    before = _resident()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except InputError as error:
        clear = str(error).startswith(f"{path}: ")
        row = {"outcome": "refused" if clear else "unclear", "error": str(error)[:200]}
    except BaseException as error:
        row = {"outcome": "raised", "error": repr(error)[:200]}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**row, "memory": max(0, most - before)}


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hangs = (signal.SIGALRM, signal.SIGPROF)
        return "hang" if number in hangs else signal.Signals(number).name
    return f"exit code {os.WEXITSTATUS(status)}"


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def bad(row: dict[str, Any]) -> bool:
    """Return whether a case ended in a way that it must not."""
    return row["outcome"] not in ("read", "refused") or row["memory"] > 4 * row["bytes"] + SLACK


def cases(names: list[str], number: int, done: set[Any]) -> Iterator[dict[str, Any]]:
    """Run the missing ones of `number` small cases for each kind of file."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            whole = write(name, Path(folder) / "whole").read_bytes()
            formats.read(Path(folder) / "whole")  # libraries are loaded before the fork
            path = Path(folder) / "damaged"
            for seed in track(range(number), description=name):
                if (name, seed) in done:
                    continue
                path.write_bytes(mutate(whole, np.random.default_rng([seed, 0])))
                yield {"format": name, "seed": seed, "full": False} | case(
                    path, formats.read, SECONDS
                )


def full_cases(files: list[Path], number: int, done: set[Any]) -> Iterator[dict[str, Any]]:
    """Do the same with files of a network's size."""
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            whole = file.read_bytes()
            inspect(file)
            path = Path(folder) / "damaged"
            for seed in track(range(number), description=file.name):
                if (file.name, seed) in done:
                    continue
                path.write_bytes(mutate(whole, np.random.default_rng([seed, 0])))
                yield {"format": file.name, "seed": seed, "full": True} | case(
                    path, inspect, FULL_SECONDS
                )


def main() -> None:
    """Run, keep the rows, print a summary; exit code 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--formats", nargs="*", default=list(WRITERS))
    parser.add_argument("--full", nargs="*", type=Path, default=[])
    words = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    kept = [json.loads(line) for line in RESULTS.open()] if RESULTS.exists() else []
    done = {(row["format"], row["seed"]) for row in kept}
    new = (
        full_cases(words.full, words.cases, done)
        if words.full
        else cases(words.formats, words.cases, done)
    )
    with RESULTS.open("a") as out:
        for row in new:
            out.write(json.dumps(row) + "\n")
            out.flush()
            kept.append(row)
    for name in dict.fromkeys(row["format"] for row in kept):
        rows = [row for row in kept if row["format"] == name]
        counts = Counter(row["outcome"] for row in rows)
        largest = max(row["memory"] / (1 << 20) for row in rows)
        slowest = max(row["seconds"] for row in rows)
        print(f"{name}: {dict(counts)}, at most {largest:.1f} MiB and {slowest:.2f} s")
    wrong = [row for row in kept if bad(row)]
    for row in wrong[:10]:
        print("bad:", row)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
