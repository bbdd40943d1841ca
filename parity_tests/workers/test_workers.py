"""Workers that fail cost their own column, and nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from inception_parity.workers import processes
from inception_parity.workers.processes import run_all, workers
from inception_parity.workers.request import Request

from ..support.command import (
    ENDPOINTS,
    SMALL,
    SOUND,
    alive,
    call,
    interpreter,
    processes_that_mention,
    start,
    use_temporary,
    wait_for,
)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="processes are looked for in /proc"
)
TWO = ("check", *SMALL, "--dtypes", "float64", "--backends", "pt,tf")

HALF_A_TRACE = """
import numpy
from inception_parity.traces.trace import TraceWriter
writer = TraceWriter(pathlib.Path(request["jobs"][0]["out"]))
writer.add("input", numpy.ones(9))
os._exit(3)
"""
A_FOLDER_FOR_A_TRACE = """
pathlib.Path(request["jobs"][0]["out"]).mkdir()
pathlib.Path(request["result"]).write_text("{}")
"""
NO_TRACE = 'pathlib.Path(request["result"]).write_text("{}")\n'
CUT_ARRAY = (
    """
from inception_parity.traces.trace import TraceWriter
close = TraceWriter.close

def cut(writer, *arguments):
    array = writer.partial / "0007.npy"
    array.write_bytes(array.read_bytes()[:-8])
    return close(writer, *arguments)

TraceWriter.close = cut
"""
    + SOUND
)
MEGABYTES = """
for stream in (sys.stdout, sys.stderr):
    stream.write("noise without an end " * 250_000)
    stream.flush()
"""
LAST_WORDS = """
for number in range(40):
    print(f"\\nline {number}", file=sys.stderr)
sys.exit(7)
"""

FAILURES = {
    "raises": ('raise RuntimeError("a kernel is missing")', "RuntimeError: a kernel is missing"),
    "ends with 0": ("sys.exit(0)", "ended without a result"),
    "ends with 7": ("sys.exit(7)", "ended with exit code 7"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL (out of memory, perhaps"),
    "crashes": ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
    "nameless signal": ("os.kill(os.getpid(), 40)", "killed by signal 40"),
    "out of memory": (
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); bytearray(1 << 31)",
        "MemoryError",
    ),
    "half a trace": (HALF_A_TRACE, "ended with exit code 3"),
    "empty trace": (A_FOLDER_FOR_A_TRACE.replace("{}", '{\\"backend\\": 1}'), "can't be read"),
    "no trace": (NO_TRACE, "ended without a trace of float64 propagated"),
    "folder for a trace": (A_FOLDER_FOR_A_TRACE, "left a trace that can't be used: "),
    "cut array": (CUT_ARRAY, "can't read endpoint"),
    "no result": (NO_TRACE.replace("{}", "{"), "left a result that can't be read"),
    "megabytes": (MEGABYTES + LAST_WORDS, "  | line 39"),
}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_temporary(tmp_path / "temporary", monkeypatch)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return interpreter(tmp_path / "bin", "sound", SOUND)


# Each takes three processes, the oracle's included; another failure of the same kind stays quick.
ALIKE = (
    "ends with 7",
    "crashes",
    "nameless signal",
    "empty trace",
    "folder for a trace",
    "no trace",
)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param(*failure, id=name, marks=[pytest.mark.slow] if name in ALIKE else [])
        for name, failure in FAILURES.items()
    ],
)
def test_failing_worker_costs_its_own_column(tmp_path, temporary, capsys, sound, code, message):
    bad = interpreter(tmp_path / "bin", "bad", code)
    report = tmp_path / "report.json"
    done = call(
        capsys, *TWO, "--python", f"pt={bad}", "--python", f"tf={sound}", "--json", report
    )  # fmt: skip
    assert done.code == 3
    assert "Traceback" not in done.err
    assert "pt  failed: " in done.out
    assert message in done.out
    assert f"{ENDPOINTS}/{ENDPOINTS}" in done.out
    assert "pt didn't finish; tf agrees." in done.out
    (check,) = json.loads(report.read_text())["checks"]
    assert [check["exit_code"], check["outcomes"]["pt"]["status"]] == [3, "failed"]
    assert message in check["outcomes"]["pt"]["message"]
    assert [(r["backend"], r["fails"]) for r in check["reports"]] == [("tf", False)]
    assert list(temporary.iterdir()) == []
    assert processes_that_mention(temporary) == []


def test_failed_worker_is_quoted_with_its_last_lines_only(tmp_path, temporary, capsys, sound):
    bad = interpreter(tmp_path / "bin", "bad", MEGABYTES + LAST_WORDS)
    done = call(capsys, *TWO, "--python", f"pt={bad}", "--python", f"tf={sound}")
    quoted = [line.strip("| ") for line in done.out.splitlines() if line.startswith("  | ")]
    assert quoted == [f"line {number}" for number in range(40 - processes.TAIL_LINES, 40)]


def test_worker_that_prints_megabytes_can_succeed(tmp_path, temporary, capsys):
    loud = interpreter(tmp_path / "bin", "loud", MEGABYTES + SOUND + MEGABYTES)
    done = call(capsys, "check", *SMALL, "--dtypes", "float64", "--backends", "tf",
                "--python", f"tf={loud}")  # fmt: skip
    assert done.code == 0
    assert "noise" not in done.out


@pytest.mark.slow  # waits until the time limit ends it
def test_worker_that_hangs_is_ended_with_all_it_started(tmp_path, temporary, capsys, sound):
    child = tmp_path / "child"
    hanging = interpreter(tmp_path / "bin", "hanging", hang(child))
    done = call(
        capsys, *TWO, "--python", f"pt={hanging}", "--python", f"tf={sound}", "--timeout", "10"
    )  # fmt: skip
    assert done.code == 3
    assert "pt  timeout: not done after 10 s\n  | waiting for a lock" in done.out
    assert "pt didn't finish; tf agrees." in done.out
    assert not alive(int(child.read_text()))
    assert list(temporary.iterdir()) == []
    assert processes_that_mention(temporary) == []


def hang(child: Path) -> str:
    """Return a worker's code that starts a process, hangs, and ignores polite signals."""
    return f"""
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
print("waiting for a lock", file=sys.stderr)
partial = pathlib.Path({str(child)!r} + ".partial")
partial.write_text(str(child.pid))
partial.replace({str(child)!r})
from inception_parity import worker
worker._work = lambda *arguments: time.sleep(600)
work()
"""


def test_what_a_worker_started_ends_with_it(tmp_path, temporary, capsys):
    child = tmp_path / "child"
    code = f"""
child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
pathlib.Path({str(child)!r}).write_text(str(child.pid))
"""
    parent = interpreter(tmp_path / "bin", "parent", code + SOUND)
    done = call(capsys, "check", *SMALL, "--dtypes", "float64", "--backends", "tf",
                "--python", f"tf={parent}")  # fmt: skip
    assert done.code == 0
    wait_for(lambda: not alive(int(child.read_text())))


def test_oracle_out_of_time_is_exit_code_3(temporary, capsys, tmp_path, sound):
    done = call(capsys, *TWO, "--python", f"pt={sound}", "--python", f"tf={sound}",
                "--timeout", "0.01")  # fmt: skip
    assert done.code == 3
    assert done.err.startswith("error: the oracle didn't finish: not done after 0.01 s")
    assert list(temporary.iterdir()) == []
    assert processes_that_mention(temporary) == []


def test_workers_end_where_the_next_one_cannot_start(tmp_path):
    hanging = interpreter(tmp_path / "bin", "hanging", hang(tmp_path / "child"))
    requests = [
        Request(backend=name, jobs=(), folder=tmp_path, result=tmp_path / f"{name}.json")
        for name in ("pt", "tf")
    ]
    nothing = {"pt": hanging, "tf": tmp_path / "nothing"}
    with pytest.raises(FileNotFoundError), workers(requests, nothing, 600):
        pass
    assert processes_that_mention(tmp_path) == []


@pytest.mark.parametrize("cores", [1, 2])
def test_no_more_workers_run_at_once_than_there_are_cores(tmp_path, monkeypatch, cores):
    monkeypatch.setattr(processes, "cores", lambda: cores)
    brief = interpreter(tmp_path / "bin", "brief", "time.sleep(0.2)\n" + NO_TRACE)
    names = ["np", "pt", "tf", "mx"]
    requests = [
        Request(backend=name, jobs=(), folder=tmp_path, result=tmp_path / f"{name}.json")
        for name in names
    ]
    seen: list[list[str]] = []

    def watch(made):
        seen.append([worker.backend for worker in made if worker.running])

    outcomes = run_all(requests, dict.fromkeys(names, brief), 60, watch)
    assert [(o.backend, o.status) for o in outcomes] == [(name, "ok") for name in names]
    assert seen[0] == names[:cores]
    assert max(map(len, seen)) == cores
    assert seen[-1] == []


def test_run_keeps_no_trace_of_a_worker_that_failed(tmp_path, temporary, capsys):
    bad = interpreter(tmp_path / "bin", "bad", SOUND.replace("oracle.name = ", "name = ")
                      + "sys.exit(7)")  # fmt: skip
    out = tmp_path / "made" / "trace"
    done = call(capsys, "run", "googlenet", "--backend", "np", *SMALL, "--out", out,
                "--python", f"np={bad}")  # fmt: skip
    assert done.code == 3
    assert "np  failed: ended with exit code 7" in done.err
    assert not (tmp_path / "made").exists()


# Signals to the command itself.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_ends_all_workers(tmp_path, temporary, number):
    child = tmp_path / "child"
    hanging = interpreter(tmp_path / "bin", "hanging", hang(child))
    command = start(*TWO[:-1], "pt", "--python", f"pt={hanging}", "--keep", tmp_path / "a" / "b")
    wait_for(child.exists)
    command.send_signal(number)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 130
    assert (
        err
        == f"interrupted by {number.name}: all workers were stopped, and nothing was left behind\n"
    )
    assert out == ""
    assert processes_that_mention(tmp_path) == []
    assert not alive(int(child.read_text()))
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "a").exists()


def test_workers_end_when_the_command_is_killed(tmp_path, temporary):
    child = tmp_path / "child"
    hanging = interpreter(tmp_path / "bin", "hanging", hang(child))
    command = start(*TWO[:-1], "pt", "--python", f"pt={hanging}")
    wait_for(child.exists)
    assert len(processes_that_mention(temporary)) >= 1
    command.kill()
    command.communicate()
    os.kill(int(child.read_text()), signal.SIGKILL)  # nobody knows of it any more
    wait_for(lambda: processes_that_mention(temporary) == [])
    wait_for(lambda: list(temporary.iterdir()) == [])


STUBBORN = """
import errno, select, shutil
from inception_parity import worker
folder = pathlib.Path(request["folder"])

def fill():
    (folder / "late").mkdir(parents=True, exist_ok=True)
    pathlib.Path({started!r}).touch()
"""
WRITES_ON = """
def write(*arguments):
    while True:
        fill()

worker._work = write
work()
"""
# Another worker has removed the folder, and this one notices before its own thread does.
FAILS_FIRST = """
execv = os.execv

def wait_and_exec(*arguments):
    time.sleep(1)
    execv(*arguments)

def fail(*arguments):
    fill()
    select.select([0], [], [])
    shutil.rmtree(folder)
    fill()
    raise FileNotFoundError(errno.ENOENT, "gone")

os.execv = wait_and_exec
worker._work = fail
work()
"""


@pytest.mark.parametrize("code", [WRITES_ON, FAILS_FIRST], ids=["writes on", "fails first"])
def test_nothing_is_left_by_a_worker_that_is_writing_when_the_command_is_killed(
    tmp_path, temporary, code
):
    started = tmp_path / "started"
    code = STUBBORN.format(started=str(started)) + code
    stubborn = interpreter(tmp_path / "bin", "stubborn", code)
    words = ("run", "googlenet", "--backend", "np", *SMALL, "--out", temporary / "trace")
    command = start(*words, "--python", f"np={stubborn}")
    wait_for(started.exists)
    command.kill()
    command.communicate()
    wait_for(
        lambda: processes_that_mention(temporary) == [] and list(temporary.iterdir()) == [],
        seconds=20,
    )


# Frameworks that can't be loaded.


def shim(folder: Path, package: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers in our own interpreter find a package that can't be imported."""
    (folder / "shim" / package).mkdir(parents=True)
    (folder / "shim" / package / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder / "shim"))


def test_missing_framework_is_reported_and_the_others_run(
    tmp_path, temporary, capsys, sound, monkeypatch
):
    code = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
    shim(tmp_path, "torch", code, monkeypatch)
    done = call(capsys, *TWO, "--python", f"tf={sound}")
    assert done.code == 3
    assert (
        "pt  missing: PyTorch: No module named 'torch'; pip install 'inception-parity[torch]'"
    ) in done.out
    assert "pt didn't finish; tf agrees." in done.out


def test_broken_framework_is_reported_without_a_hint_that_would_not_help(
    tmp_path, temporary, capsys, sound, monkeypatch
):
    shim(tmp_path, "torch", "raise ImportError('undefined symbol: foo')", monkeypatch)
    done = call(capsys, *TWO, "--python", f"tf={sound}")
    assert done.code == 3
    assert "pt  missing: PyTorch: undefined symbol: foo\n" in done.out


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= "2.0.0", reason="MXNet needs numpy < 2")
def test_missing_system_library_of_mxnet_is_named_with_its_packages(
    tmp_path, temporary, capsys, monkeypatch
):
    problem = "libquadmath.so.0: cannot open shared object file: No such file or directory"
    shim(tmp_path, "mxnet", f"raise OSError({problem!r})", monkeypatch)
    done = call(capsys, "check", *SMALL, "--dtypes", "float64", "--backends", "mx")
    assert done.code == 3
    assert f"mx  missing: MXNet: MXNet can't load a system library ({problem})" in done.out
    assert "apt-get install libgomp1 libquadmath0" in done.out


def test_file_of_the_current_folder_does_not_shadow_a_module(
    tmp_path, temporary, capsys, monkeypatch, sound
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numpy.py").write_text("raise SystemExit('shadowed')")
    done = call(capsys, *TWO[:-1], "tf", "--python", f"tf={sound}")
    assert done.code == 0


def test_second_interpreter_with_another_numpy_agrees(temporary, capsys):
    python = os.environ.get("INCEPTION_SECOND_PYTHON")
    if not python:
        pytest.skip("INCEPTION_SECOND_PYTHON names no interpreter with torch and numpy 2")
    major = "import numpy; print(numpy.__version__.partition('.')[0])"
    assert subprocess.check_output([python, "-c", major], text=True).strip() == "2"
    done = call(capsys, "check", *SMALL, "--backends", "pt", "--python", f"pt={python}")
    assert done.code == 0, done


# What diverges, and which exit code wins.

WRONG_ACTIVATION = """
from torch.nn import ReLU
forward = ReLU.forward
ReLU.forward = lambda self, x: forward(self, x) * 1.001
work()
"""


def test_divergence_is_exit_code_1_and_a_failed_worker_wins(tmp_path, temporary, capsys, sound):
    pytest.importorskip("torch")
    wrong = interpreter(tmp_path / "bin", "wrong", WRONG_ACTIVATION)
    done = call(capsys, *TWO, "--python", f"pt={wrong}", "--python", f"tf={sound}")
    assert done.code == 1
    assert "pt diverges; tf agrees." in done.out
    assert "first: b1.0.act (" in done.out
    assert "cause: the output times 1.001" in done.out
    bad = interpreter(tmp_path / "bin", "bad", "sys.exit(7)")
    done = call(capsys, *TWO, "--python", f"pt={wrong}", "--python", f"tf={bad}")
    assert done.code == 3
    assert "pt diverges; tf didn't finish." in done.out
    assert list(temporary.iterdir()) == []
