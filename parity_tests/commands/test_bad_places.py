"""Places that can't be written to are refused early, and whatever fails is not left half-done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inception_parity import InputError, files
from inception_parity.networks import catalogue
from inception_parity.traces import trace

from ..support.command import SMALL, call, empty_place, environment_of_ours, require_clear_error

CHECK = ("check", *SMALL, "--backends", "pt", "--dtypes", "float64")
RUN = ("run", "googlenet", "--backend", "np", *SMALL)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    with empty_place(tmp_path, monkeypatch):
        yield


# Places to write to. Root may write anywhere but under a file, and in /proc.

PLACES = {
    "under a file": (("weights", "googlenet", "--out", "file/w"), "there is no folder file"),
    "in no folder": (("weights", "googlenet", "--out", "no/w"), "there is no folder no; make it"),
    "in /proc": (("weights", "googlenet", "--out", "/proc/w"), "the folder /proc can't be written"),
    "a folder": (
        ("weights", "googlenet", "--out", "full"),
        "full: is a folder; give the name of a file",
    ),
    "a device": (
        ("weights", "googlenet", "--out", "/dev/full"),
        "/dev/full: is a device; give the name of a file",
    ),
    "report in no folder": ((*CHECK, "--json", "no/r.json"), "there is no folder no; make it"),
    "report in /proc": ((*CHECK, "--json", "/proc/r.json"), "the folder /proc can't be written to"),
    "report in a folder": (
        (*CHECK, "--json", "full"),
        "full: is a folder; give the name of a file",
    ),
    "traces in a full folder": ((*CHECK, "--keep", "full"), "full: exists and isn't empty; give"),
    "traces in a file": ((*CHECK, "--keep", "file"), "file: exists and isn't a folder; give"),
    "traces under a file": ((*CHECK, "--keep", "file/a/b"), "file/a/b: can't be written (Not a di"),
    "traces in /proc": ((*CHECK, "--keep", "/proc/a"), "/proc/a: can't be written"),
    "traces in a link": ((*CHECK, "--keep", "link"), "link: exists and isn't a folder"),
    "trace in a full folder": ((*RUN, "--out", "full"), "full: exists and isn't empty; give"),
    "trace in a file": ((*RUN, "--out", "file"), "file: exists and isn't a folder; give another"),
    "trace under a file": ((*RUN, "--out", "file/a"), "file/a: can't be written (File exists)"),
}


@pytest.mark.parametrize(("words", "message"), PLACES.values(), ids=PLACES)
def test_unwritable_place_is_refused_before_any_work(capsys, monkeypatch, words, message):
    Path("full").mkdir()
    Path("full/file").touch()
    Path("file").touch()
    Path("link").symlink_to("nowhere")

    def work(*arguments: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr("inception_parity.checking.runner.Collector", work)
    monkeypatch.setattr("inception_parity.checking.runner._jobs", work)
    monkeypatch.setattr("inception_parity.checking.runner.write_shared", work)
    require_clear_error(call(capsys, *words), message)
    assert sorted(map(str, Path.cwd().rglob("*"))) == sorted(
        str(Path.cwd() / name) for name in ("full", "full/file", "file", "link")
    )


def test_full_folder_is_refused_for_several_networks(capsys, monkeypatch):
    twin = catalogue.NETWORKS["googlenet"]
    monkeypatch.setitem(catalogue.NETWORKS, "twin", twin)
    Path("full").mkdir()
    Path("full/file").touch()
    done = call(capsys, "check", "googlenet", "twin", *CHECK[1:], "--keep", "full")
    require_clear_error(done, "full: exists and isn't empty; give another folder")


def test_device_is_never_replaced_by_a_file():
    os.mkfifo("pipe")
    with pytest.raises(InputError, match="pipe: can't be written"):
        files.write_whole(Path("pipe"), b"content")
    assert Path("pipe").is_fifo()


def limited(lines: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the command from a shell script that takes something away first."""
    return subprocess.run(
        ["/bin/sh", "-c", f'set -e\n{lines}\nexec "$@"', "sh",
         sys.executable, "-m", "inception_parity.cli", *map(str, words)],
        capture_output=True, text=True, env=environment_of_ours(), timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("weights", "googlenet", "--out", "w"), "w: can't be written (File too large)"),
        ((*CHECK, "--keep", "kept/here"), "kept/here: can't be written"),
    ],
    ids=["weights", "traces"],
)
def test_file_that_grows_too_large_is_not_left(words, message):
    done = limited("ulimit -f 2000", *words)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert message in done.stderr
    assert list(Path.cwd().iterdir()) == []


# What the command itself writes fits into 26 MB, what the workers write doesn't.
@pytest.mark.parametrize(("size", "message"), [("1m", "TMPDIR"), ("26m", "the traces of ")])
def test_full_disk_is_said_and_left_empty(tmp_path, size, message):
    disk = tmp_path / "temporary"
    mount = f'mount -t tmpfs -o size={size} none "{disk}"'
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("a small disk can't be mounted here")
    script = f'{mount}; "$@" || code=$?; ls -A "{disk}"; exit $code'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh",
         sys.executable, "-m", "inception_parity.cli", *CHECK],
        capture_output=True, text=True, env=environment_of_ours(), timeout=120,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "No space left on device" in done.stderr
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["networks"], ["networks", "--json"]])
def test_full_output_is_said(words):
    done = limited("exec > /dev/full", *words)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert done.stderr.startswith("error: can't read or write: [Errno 28] No space left")


def test_lack_of_memory_is_said(capsys, monkeypatch):
    def huge(*arguments: object) -> None:
        np.empty(1 << 55)

    monkeypatch.setattr("inception_parity.traces.seeding.shapes", huge)
    require_clear_error(call(capsys, *CHECK), "out of memory; give a smaller --batch or --size")


def test_half_written_trace_is_not_seen(tmp_path):
    with pytest.raises(ZeroDivisionError), trace.TraceWriter(tmp_path / "t") as writer:
        writer.add("input", np.ones(3))
        _ = 1 / 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "temporary"]


def test_half_written_file_is_not_left():
    class Interrupted(BaseException):
        pass

    def interrupt(*arguments: object) -> None:
        raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(Interrupted):
            files.write_whole(Path("w"), b"content")
    assert list(Path.cwd().iterdir()) == []
