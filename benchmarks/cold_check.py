"""A cold check compared with each backend's bare cost: import, build, load, one forward pass.

    python -m benchmarks.cold_check googlenet --set in_channels=3

Everything is measured in one run, so the ratio holds on any machine. Peak memory is that
of all processes of a command together, sampled from /proc as proportional set size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BARE = """
import sys, time
import numpy as np
from inception_parity.networks import catalogue
from inception_parity.traces import weights
from inception_parity.backends import Job, adapter, loaded
file, images, name = sys.argv[1:]
shared = weights.read(__import__("pathlib").Path(file))
backend = adapter(name)
net = loaded(backend, Job(shared.network, shared.options, "float32"), shared.arrays)
output = backend.forward(net, backend.to_native(np.load(images), "float32"))
backend.to_shared(output[0] if isinstance(output, tuple) else output)
"""


def pss(pid: int) -> int:
    """Return the proportional set size of a process in bytes, or 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(s.split()[1]) * 1024 for s in text.splitlines() if s.startswith("Pss:")), 0)


def tree(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    found = [pid]
    for one in found:
        try:
            tasks = Path(f"/proc/{one}/task").iterdir()
            for task in tasks:
                found += [int(c) for c in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, int, int]:
    """Run a command; return wall seconds, peak memory in bytes, exit code."""
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    tail: list[bytes] = []
    reader = threading.Thread(target=lambda: tail.append(process.stdout.read()), daemon=True)
    reader.start()
    while process.poll() is None:
        peak = max(peak, sum(map(pss, tree(process.pid))))
        time.sleep(0.1)
    if process.returncode:
        reader.join()
        print(tail[0].decode()[-2000:])
    return time.perf_counter() - start, peak, process.returncode


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("network")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--size")
    parser.add_argument("--backends", default="pt,tf,mx")
    arguments = parser.parse_args()
    settings = [word for value in arguments.set for word in ("--set", value)]
    command = [sys.executable, "-m", "inception_parity.cli"]
    size = ["--size", arguments.size] if arguments.size else []
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": f"{folder}/cache",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        file = f"{folder}/w.safetensors"
        subprocess.run(
            [*command, "weights", arguments.network, *settings, "--out", file], check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        subprocess.run(
            [*command, "run", arguments.network, *settings, *size, "--backend", "np",
             "--weights", file, "--out", f"{folder}/np"], check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        images = f"{folder}/np/0000.npy"  # the input is the first endpoint
        for backend in arguments.backends.split(","):
            bare = [sys.executable, "-c", BARE, file, images, backend]
            rows[f"bare {backend}"] = measure(bare, environment)
        check = [
            *command,
            "check",
            arguments.network,
            *settings,
            *size,
            "--backends",
            arguments.backends,
        ]
        rows["cold check"] = measure(check, environment)
        rows["check, floors kept"] = measure(check, environment)
    slowest = max(seconds for name, (seconds, *_) in rows.items() if name.startswith("bare"))
    for name, (seconds, memory, code) in rows.items():
        print(f"{name:20} {seconds:6.1f} s  {seconds / slowest:5.2f} x slowest bare  "
              f"{memory / 2**30:5.2f} GiB  exit {code}")  # fmt: skip
    print(json.dumps({k: [round(s, 2), m, c] for k, (s, m, c) in rows.items()}))


if __name__ == "__main__":
    main()
