"""The commands `train`, `evaluate` and `race`, as a user calls them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from inception_parity import InputError
from inception_parity.backends.quiet import quiet
from inception_parity.data import datasets
from inception_parity.networks import catalogue
from inception_parity.traces import weights
from inception_parity.training import checkpoint, loop
from inception_parity.training.checkpoint import FILE

from ..conftest import chosen_backends
from ..support import tiny_training as tiny
from ..support.command import call, require_clear_error, start, use_temporary, wait_for
from ..support.selection import slow_unless

BACKENDS = [name for name in chosen_backends() if name != catalogue.ORACLE]
ANY = BACKENDS[0] if BACKENDS else "pt"
FOLDER = ("--data", "fashion-mnist", "--data-folder", "data")
SMALL = (*FOLDER, "--size", "24", "--batch", "8", "--lr", "0.01", "--threads", "1")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    temporary = use_temporary(tmp_path / "temporary", monkeypatch)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    tiny.write_fashion(Path("data"), train=36, test=20)
    yield
    # PyTorch makes its own folder there when it first makes an optimizer.
    assert [p.name for p in temporary.iterdir() if "inception-parity" in p.name] == []


@pytest.fixture
def quick(monkeypatch):
    """Put the tiny network into the catalogue, and leave this process's threads alone."""
    monkeypatch.setitem(catalogue.NETWORKS, "tiny", tiny.tiny())
    monkeypatch.setattr(loop, "use_threads", lambda count: None)


def begun(**given) -> Path:
    """Leave a training that has just begun in `begun`; return its folder."""
    data = datasets.load("fashion-mnist", Path("data"))
    folder = Path("begun")
    folder.mkdir()
    checkpoint.write(folder / FILE, loop.begin(tiny.plan(data, backend=ANY, **given)))
    return folder


def half_written() -> list[Path]:
    """Return the checkpoints that are being written, and have bytes already."""
    found = []
    for path in Path("cut").glob(f".{FILE}-*"):
        with contextlib.suppress(FileNotFoundError):  # it has been renamed meanwhile
            if path.stat().st_size:
                found.append(path)
    return found


def kill_while_it_writes(process: subprocess.Popen[str]) -> None:
    """Kill a training in the middle of a checkpoint's writing.

    It is paused first: a file that is seen half-written may be whole before the signal arrives.
    """
    while True:
        wait_for(half_written, every=0.001)
        process.send_signal(signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        if half_written():
            break
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.communicate(timeout=120)
    assert len(half_written()) == 1


@pytest.mark.slow  # test_training.py tests the same within this process
@pytest.mark.timeout(900)  # five trainings, one after another
def test_killed_command_resumes_bit_for_bit():
    """Killed while a checkpoint is written, in an epoch, stopped by SIGINT, then left alone."""
    words = ("train", "googlenet", "--backend", ANY, *SMALL, "--epochs", "3", "--optimizer", "adam")
    whole = start(*words, "--out", "whole")
    said = whole.communicate(timeout=280)
    assert whole.returncode == 0, said
    resume = ("train", "--resume", "cut", "--data-folder", "data", "--checkpoint-every", "0")

    def steps() -> int:
        try:
            return checkpoint.read(Path("cut")).position.steps
        except InputError:  # there is none yet
            return -1

    first = start(*words, "--out", "cut", "--checkpoint-every", "0")
    wait_for(lambda: steps() >= 1)
    kill_while_it_writes(first)
    assert 1 <= steps() < 11
    for number, least in ((signal.SIGKILL, steps() + 2), (signal.SIGINT, steps() + 4)):
        process = start(*resume)
        wait_for(lambda least=least: steps() >= least)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        if number == signal.SIGINT and process.returncode:
            assert process.returncode == 130, (out, err)
            assert "to go on: inception-parity train --resume cut" in err
            assert "Traceback" not in err
    last = start(*resume)
    out, err = last.communicate(timeout=120)
    assert last.returncode == 0, (out, err)
    ours, theirs = (checkpoint.read(Path(name)) for name in ("cut", "whole"))
    for found, expected in ((ours.weights, theirs.weights), (ours.optimizer, theirs.optimizer)):
        assert [n for n in expected if found[n].tobytes() != expected[n].tobytes()] == []
    assert sorted(p.name for p in Path("cut").iterdir()) == [
        ".lock", loop.BEST, FILE, loop.CURVES, loop.METRICS, loop.WEIGHTS
    ]  # fmt: skip
    for name in (loop.BEST, loop.WEIGHTS):
        found, expected = (weights.read(Path(run, name)).arrays for run in ("cut", "whole"))
        assert [n for n in expected if found[n].tobytes() != expected[n].tobytes()] == []


@slow_unless(lambda p: p["trainer"] == "tf", "one trainer is enough for a quick run")
@pytest.mark.parametrize("trainer", BACKENDS)
def test_trained_network_is_tested_by_every_backend_alike(capsys, quick, trainer):
    """Whichever backend trained it, the same images are right, and the float32 loss is the same."""
    words = ("train", "tiny", "--backend", trainer, *FOLDER, "--epochs", "2", "--out", "t")
    done = call(capsys, *words, "--batch", "12")
    assert done.code == 0, done
    epochs = [line.split()[:2] for line in done.out.splitlines()[:2]]
    assert epochs == [["epoch", "1"], ["epoch", "2"]]
    record = json.loads(Path("t", loop.METRICS).read_text().splitlines()[-1])
    for backend in BACKENDS:
        words = ("evaluate", "t", "--backend", backend, "--data-folder", "data")
        assert f"({record['test_right']} of 20)" in call(capsys, *words).out
        found = json.loads(call(capsys, *words, "--json").out)
        assert (found["backend"], found["test_right"]) == (backend, record["test_right"])
        assert found["test_loss"] == pytest.approx(record["test_loss"], rel=1e-5)


def test_weight_file_is_tested_and_begun_from(capsys, quick):
    words = ("train", "tiny", "--backend", ANY, *FOLDER, "--epochs", "1")
    assert call(capsys, *words, "--out", "t").code == 0
    record = json.loads(Path("t", loop.METRICS).read_text())
    file = Path("t", loop.WEIGHTS)
    found = call(capsys, "evaluate", file, "--backend", ANY, *FOLDER, "--json")
    assert json.loads(found.out)["test_right"] == record["test_right"]
    again = call(capsys, *words, "--out", "u", "--init", file, "--lr", "0")
    assert again.code == 0, again
    ours, theirs = (weights.read(Path(f, loop.WEIGHTS)).arrays for f in ("u", "t"))
    assert all((ours[n] == theirs[n]).all() for n in ours if "running" not in n)


RESUMED = {
    "network": (("googlenet",), "network tiny, but googlenet was asked for"),
    "option": (("--set", "in_channels=3"), "'in_channels': 1, 'num_classes': 10}, but {"),
    "backend": (("--backend", "torch"), f"backend {ANY}, but torch was asked for"),
    "optimizer": (("--optimizer", "adam"), "optimizer sgd, but adam was asked for"),
    "lr": (("--lr", "0.25"), "lr 0.125, but 0.25 was asked for"),
    "size": (("--size", "13x12"), "height 12, but 13 was asked for"),
    "data": (("--data", "cifar-10"), "a training on fashion-mnist, but --data cifar-10 was asked"),
    "images": (("--train-images", "8"), "train-images 36, but 8 was asked for"),
    "fewer epochs": (("--epochs", "0"), "--epochs 0, but 0 are done already"),
    "weights": (("--init", "seeded"), "init d2l, but seeded was asked for"),
}


@pytest.mark.parametrize(("words", "message"), RESUMED.values(), ids=RESUMED)
def test_checkpoint_of_another_training_is_refused(capsys, quick, words, message):
    folder = begun()
    before = (folder / FILE).read_bytes()
    done = call(capsys, "train", *words, "--resume", folder, "--data-folder", "data")
    require_clear_error(done, message)
    assert [(p.name, p.read_bytes()) for p in folder.iterdir()] == [(FILE, before)]


def test_other_data_than_the_trainings_are_refused(capsys, quick):
    folder = begun()
    tiny.write_fashion(Path("data"), train=36, test=21)
    done = call(capsys, "train", "--resume", folder, "--data-folder", "data")
    require_clear_error(done, "fashion-mnist: not the data that the training began with (from data")
    done = call(capsys, "evaluate", folder, "--data-folder", "data")
    require_clear_error(done, "not the data that the training began with")


REFUSED = {
    "nothing": (("train",), "give --out for a new training, or --resume"),
    "both": (("train", "--out", "a", "--resume", "b"), "give --out for a new training, or"),
    "no network": (("train", "--out", "a"), "give a network and --data, or --resume"),
    "no data": (("train", "googlenet", "--out", "a"), "give a network and --data"),
    "no such network": (("train", "googlenett", *SMALL, "--out", "a"), "did you mean googlenet"),
    "no training there": (("train", "--resume", "data"), "data: no training in this folder"),
    "no folder there": (("train", "--resume", "no"), "no: no such file"),
    "unwritable": (("train", "googlenet", *SMALL, "--out", "/proc/a"), "/proc/a: can't be written"),
    "under a file": (("train", "googlenet", *SMALL, "--out", "data/t10k-labels-idx1-ubyte/a"),
                     "can't be written"),
    "full folder": (("train", "googlenet", *SMALL, "--out", "data"), "data: exists and isn't emp"),
    "too small": (("train", "inception_v1", *FOLDER, "--size", "32", "--out", "a"), "--size"),
    "too few classes": (("train", "googlenet", *SMALL, "--set", "num_classes=9", "--out", "a"),
                        "num_classes=9, but fashion-mnist has 10"),
    "two channels": (("train", "googlenet", *SMALL, "--set", "in_channels=2", "--out", "a"),
                     "in_channels=2, but images have 1 or 3 channels"),
    "one image left": (("train", "googlenet", *FOLDER, "--size", "24", "--batch", "7", "--set",
                        "batch_norm=true", "--out", "a"),
                       "the last batch of an epoch, of 1 out of 36 images: googlenet can't be"),
    "one image at a time": (("race", "googlenet", *FOLDER, "--size", "24", "--batch", "1", "--set",
                             "batch_norm=true", "--out", "a"), "gets one value per channel"),
    "wrong weights": (("train", "googlenet", *SMALL, "--init", "data/t10k-labels-idx1-ubyte",
                       "--out", "a"), "t10k-labels-idx1-ubyte"),
    "never": (("train", "googlenet", *SMALL, "--checkpoint-every", "-1", "--out", "a"),
              "--checkpoint-every -1, but should be 0 seconds or more"),
    "oracle": (("train", "googlenet", *SMALL, "--backend", "np", "--out", "a"), "--backend np"),
    "evaluate nothing": (("evaluate", "no"), "no: no such file"),
    "evaluate data": (("evaluate", "data/t10k-labels-idx1-ubyte"), "t10k-labels-idx1-ubyte"),
    "race alone": (("race", "googlenet", *FOLDER, "--backends", ANY, "--dtypes", "float32",
                    "--out", "a"), "a race needs two runners"),
    "race in float16": (("race", "googlenet", *FOLDER, "--dtypes", "float16", "--out", "a"),
                        "no dtype 'float16'"),
    "race of the oracle": (("race", "googlenet", *FOLDER, "--backends", "np,pt", "--out", "a"),
                           "np is the oracle"),
    "race of no steps": (("race", "googlenet", *FOLDER, "--steps", "0", "--out", "a"), "--steps 0"),
    "race into a full folder": (("race", "googlenet", *FOLDER, "--out", "data"), "isn't empty"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_and_nothing_is_left(capsys, words, message):
    require_clear_error(call(capsys, *words), message)
    assert [p.name for p in Path.cwd().iterdir()] == ["data"]


def test_damaged_data_and_checkpoints_are_refused(capsys, quick):
    folder = begun()
    file = folder / FILE
    content = file.read_bytes()
    file.write_bytes(content[:-9])
    require_clear_error(call(capsys, "train", "--resume", folder), FILE)
    file.write_bytes(content[:-9] + b"123456789")
    require_clear_error(call(capsys, "evaluate", folder), "its content has changed")
    Path("data/train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    done = call(capsys, "train", "tiny", *FOLDER, "--out", "a")
    require_clear_error(done, "train-images-idx3-ubyte: not an idx file")
    assert not Path("a").exists()


def test_new_training_does_not_replace_another(capsys, quick):
    folder = begun()
    done = call(capsys, "train", "tiny", *FOLDER, "--out", folder)
    require_clear_error(done, "begun: holds a training; go on with --resume, or give another")


def test_divergence_ends_with_1_and_says_what_to_do(capsys, quick):
    """Of loss, test and weights, each may be the first that isn't finite."""
    words = ("train", "tiny", "--backend", ANY, *FOLDER, "--out")
    for folder, batch, decay, message in (
        ("a", "16", "0", "diverged: the loss is"),
        ("b", "36", "0", "diverged: the test's loss is"),
        ("c", "36", "1e20", "diverged: weights are infinite or NaN after step 1"),
    ):
        wild = ("--lr", "1e30", "--batch", batch, "--weight-decay", decay, "--init", "seeded")
        done = call(capsys, *words, folder, *wild)
        assert done.code == 1
        assert message in done.err
        assert "give a smaller --lr" in done.err
        kept = checkpoint.read(Path(folder))
        assert all(np.isfinite(array).all() for array in kept.weights.values())
        assert kept.position.history == []


@pytest.mark.slow  # four trainings of GoogLeNet; test_race.py has the small ones
@pytest.mark.skipif(len(BACKENDS) < 2, reason="a race needs two backends")
def test_race_agrees_in_float64_and_leaves_steps_and_picture(capsys):
    two = [name for name in ("pt", "mx", "tf") if name in BACKENDS][:2]
    done = call(
        capsys, "race", "googlenet", *FOLDER, "--backends", ",".join(two), "--size", "24",
        "--batch", "4", "--steps", "2", "--out", "race",
    )  # fmt: skip
    assert done.code == 0, done
    steps = [json.loads(line) for line in Path("race/race.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2]
    a, b = two
    for step in steps:
        assert step["apart"][f"{a} and {b} float64"] < 1e-10 < step["moved"]
        assert 1e-10 < step["apart"][f"{a} and {b} float32"] < 1e-4
        assert step["loss"][f"{a} float64"] == pytest.approx(step["loss"][f"{b} float64"], 1e-10)
        assert step["distance"][f"{a} float64"] < 1e-10 < step["distance"][f"{a} float32"]
        assert len(step["layers"][f"{a} float64"]) == 58  # convolutions and the classifier
    assert "float64: " in done.out
    assert "float32: " in done.out
    assert "apart after step 1" in done.out
    assert "more than rounding" not in done.out
    assert Path("race/race.png").read_bytes().startswith(b"\x89PNG")


def test_libraries_start_in_silence_unless_they_fail(capfd):
    with quiet():
        os.write(2, b"hello from C++")
    assert capfd.readouterr().err == ""
    with pytest.raises(KeyError), quiet():
        os.write(2, b"what went wrong")
        raise KeyError
    assert capfd.readouterr().err == "what went wrong"
    os.write(2, b"later")
    assert capfd.readouterr().err == "later"


@pytest.mark.parametrize("command", ["train", "evaluate", "race"])
def test_help_teaches(capsys, command):
    done = call(capsys, command, "--help")
    assert done.code == 0
    words = {"train": "--resume", "evaluate": "whichever trained it", "race": "race.jsonl"}
    assert words[command] in done.out
