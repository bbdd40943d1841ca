"""Training: the same in every framework, and after an interruption as without one."""

from __future__ import annotations

import errno
import importlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import inception_np
from inception_parity import InputError
from inception_parity.data import datasets
from inception_parity.networks import catalogue
from inception_parity.traces import seeding, weights
from inception_parity.training import checkpoint, loop
from inception_parity.training.checkpoint import FILE

from ..conftest import chosen_backends
from ..support import tiny_training as tiny
from ..support.selection import slow_unless, takes_turn


class Watch:
    """Reports nothing, and stops or fails after a number of steps."""

    def __init__(self, stop: int | None = None, fail: int | None = None) -> None:
        self.steps, self.stop_at, self.fail_at = 0, stop, fail

    def begin(self, what, total, done):
        self.testing = what == "test"

    def step(self, images, loss):
        self.steps += not self.testing
        if self.steps == self.fail_at:
            raise KilledError

    def end(self, record):
        pass

    def stop(self):
        return self.stop_at is not None and self.steps >= self.stop_at


class KilledError(BaseException):
    """Stands in for a signal that leaves no time to react."""


@pytest.fixture(autouse=True)
def in_catalogue(monkeypatch):
    monkeypatch.setitem(catalogue.NETWORKS, "tiny", tiny.tiny())
    monkeypatch.setattr(loop, "use_threads", lambda count: None)  # of the whole test process
    monkeypatch.setattr(os, "fsync", lambda number: None)  # seconds, on a busy disk


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """72 images: four whole batches of 16, and one of 8."""
    return datasets.load("fashion-mnist", tiny.write_fashion(tmp_path_factory.mktemp("data")))


def run(folder: Path, start, data, watch=None, every=1e9):
    with loop.locked(folder):
        return loop.train(start, data, folder, watch or Watch(), every)


def begin(data, **given):
    return loop.begin(tiny.plan(data, **given))


def require_same(folder: Path, other: Path) -> None:
    """Assert that two trainings have equal results, bit for bit, except for the time they took."""
    found, expected = checkpoint.read(folder), checkpoint.read(other)
    for ours, theirs in ((found.weights, expected.weights), (found.optimizer, expected.optimizer)):
        assert list(ours) == list(theirs)
        assert [n for n in ours if ours[n].tobytes() != theirs[n].tobytes()] == []

    def timeless(file: Path) -> list[dict[str, float]]:
        records = [json.loads(line) for line in file.read_text().splitlines()]
        return [{k: v for k, v in r.items() if not k.endswith("seconds")} for r in records]

    assert timeless(folder / loop.METRICS) == timeless(other / loop.METRICS)
    final = [weights.read(f / loop.WEIGHTS).sha256 for f in (folder, other)]
    assert final[0] == final[1]


OPTIMIZERS = {
    "sgd": {},
    "nesterov": {"weight_decay": 2.0**-8},
    "adam": {"lr": 2.0**-6},
    "rmsprop": {"lr": 2.0**-6},
}


FRAMEWORKS = tuple(name for name in chosen_backends() if name != catalogue.ORACLE)


@slow_unless(
    lambda p: takes_turn(FRAMEWORKS, p["framework"], list(OPTIMIZERS).index(p["optimizer"])),
    "twelve of the same kind: each optimizer in one framework, each framework in turn",
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_killed_training_goes_on_bit_for_bit(framework, data, tmp_path, load_adapter, optimizer):
    """Dropout, batch norm, momentum, counts of steps, shuffle, augmentation: nothing is lost."""
    load_adapter(framework)
    given = {"backend": framework, "optimizer": optimizer, "augment": "crop-flip"}
    start = begin(data, **given, **OPTIMIZERS[optimizer])
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    history = run(whole, start, data)
    assert [record["steps"] for record in history] == [5, 10]
    with pytest.raises(KilledError):  # after the checkpoint of step 2, before that of step 3
        run(cut, start, data, Watch(fail=3), every=0)
    kept = checkpoint.read(cut)
    assert (kept.position.epoch, kept.position.step) == (0, 2)
    with pytest.raises(KilledError):
        run(cut, kept, data, Watch(fail=6), every=0)
    kept = checkpoint.read(cut)
    assert (kept.position.epoch, kept.position.step) == (1, 2)
    run(cut, kept, data)
    require_same(cut, whole)
    # All this would prove nothing if nothing had been trained. (Whether ten steps with dropout
    # lower the loss is a matter of luck.)
    trained = checkpoint.read(whole).weights
    kernels = [name for name in trained if name.endswith("weight")]
    assert [name for name in kernels if np.array_equal(trained[name], start.weights[name])] == []


def test_test_says_the_same_in_every_backend(data, framework, tmp_path, load_adapter):
    load_adapter(framework)
    loss, right = None, None
    start = begin(data, backend=framework, epochs=1, optimizer="nesterov")
    record = run(tmp_path, start, data)[0]
    trained = checkpoint.read(tmp_path)
    for backend in chosen_backends():
        if backend != catalogue.ORACLE:
            loss, right = loop.test(trained.plan, backend, trained.weights, data, Watch())
            assert right == record["test_right"]
            assert loss == pytest.approx(record["test_loss"], rel=1e-5)
    # The oracle says the same, by the definition.
    net = catalogue.network("tiny").build("inception_np", start.plan.options)
    inception_np.set_weights(net, trained.weights)
    images, labels = zip(*trained.plan.feed.test(data.test), strict=True)
    logits = net(np.concatenate(images).astype(np.float64))
    labels = np.concatenate(labels)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert loss == pytest.approx(-log_p[np.arange(len(labels)), labels].mean(), rel=1e-5)
    assert right == (logits.argmax(axis=1) == labels).sum()


def test_an_epoch_in_two_parts_trains_as_in_one(framework, data, load_adapter):
    """Adam counts its steps: were the end of the batches one of them, the next would be another."""
    by = load_adapter(framework)
    start = begin(data, backend=framework, optimizer="adam", lr=2.0**-6)
    batches = list(start.plan.feed.train(data.train, 0))
    found = []
    for parts in ([batches], [batches[:2], batches[2:]]):
        net = by.build(catalogue.network("tiny"), start.plan.options, "float32")
        by.set_weights(net, start.weights)
        training, first = by.training(net, start.plan.recipe), 0
        for part in parts:
            training.epoch(part, lambda loss, right: None, first)
            first += len(part)
        found.append(by.get_weights(net))
    whole, parted = found
    assert [n for n in whole if whole[n].tobytes() != parted[n].tobytes()] == []


def test_steps_drop_other_values_with_another_number_or_seed(framework, load_adapter):
    load_adapter(framework)
    package = catalogue.BACKENDS[framework].package
    seed_of_step = importlib.import_module(f"{package}.training").seed_of_step
    seeds = {seed_of_step(seed, step) for seed in range(20) for step in range(500)}
    assert len(seeds) == 20 * 500
    assert all(0 <= seed < 2**31 for seed in seeds)


# What follows tests the engine, not a framework: the first one that is installed will do.

ANY = next(name for name in (*chosen_backends(), "pt") if name != catalogue.ORACLE)


@pytest.fixture
def start(data):
    return begin(data, backend=ANY)


def test_stop_keeps_the_step_and_goes_on_bit_for_bit(start, data, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(whole, start, data)
    with pytest.raises(loop.StoppedError):
        run(cut, start, data, Watch(stop=7))
    kept = checkpoint.read(cut)
    assert (kept.position.epoch, kept.position.step, kept.position.steps) == (1, 2, 7)
    run(cut, kept, data)
    require_same(cut, whole)


def test_kill_while_a_checkpoint_is_written_keeps_the_last(start, data, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(whole, start, data)
    synced = []

    def die(number: int) -> None:
        synced.append(number)
        if len(synced) == 4:  # the beginning, steps 1 and 2 are written, and the bytes of step 3
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(os, "fsync", die)
        patch.setattr(Path, "unlink", lambda *arguments, **keywords: None)  # nor is it tidied up
        run(cut, start, data, every=0)
    assert len([p for p in cut.iterdir() if p.name.startswith(f".{FILE}-")]) == 1
    kept = checkpoint.read(cut)
    assert kept.position.steps == 2
    run(cut, kept, data)
    require_same(cut, whole)
    assert [p.name for p in cut.iterdir() if p.name.startswith(f".{FILE}-")] == []


def test_full_disk_keeps_the_last_checkpoint(start, data, tmp_path, monkeypatch):
    written = []

    def full(number: int) -> None:
        written.append(number)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"can't be written .No space left on device"):
            run(tmp_path, start, data, every=0)
    assert checkpoint.read(tmp_path).position.steps == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", FILE]


def test_divergence_is_said_and_the_last_checkpoint_is_from_before(start, data, tmp_path):
    wild = replace(start, plan=start.plan.changed(lr=1e30))
    with pytest.raises(loop.DivergedError, match=r"the loss is (nan|inf) at step \d of epoch 1"):
        run(tmp_path, wild, data)
    assert checkpoint.read(tmp_path).position.steps == 0


def test_two_trainings_do_not_share_a_folder(tmp_path):
    with (
        loop.locked(tmp_path),
        pytest.raises(InputError, match="another process is training there"),
        loop.locked(tmp_path),
    ):
        pass


def test_more_epochs_go_on_where_fewer_ended(start, data, tmp_path):
    run(tmp_path / "a", start, data)
    shorter = replace(start, plan=start.plan.changed(epochs=1))
    run(tmp_path / "b", shorter, data)
    kept = checkpoint.read(tmp_path / "b")
    run(tmp_path / "b", replace(kept, plan=start.plan), data)
    require_same(tmp_path / "b", tmp_path / "a")


def test_training_leaves_weights_metrics_and_a_picture(start, data, tmp_path):
    run(tmp_path, start, data)
    shared = weights.read(tmp_path / loop.WEIGHTS)
    assert (shared.network, shared.options["in_channels"]) == ("tiny", 1)
    assert shared.sha256 == weights.digest(checkpoint.read(tmp_path).weights)
    lines = (tmp_path / loop.METRICS).read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    record = json.loads(lines[1])
    assert record["test_accuracy"] == record["test_right"] / record["test_images"]
    assert (tmp_path / loop.CURVES).read_bytes().startswith(b"\x89PNG")


# Files of checkpoints


@pytest.fixture
def written(start, tmp_path):
    state = {"0/velocity": np.arange(6, dtype=np.float32).reshape(2, 3), "0/t": np.array(7)}
    checkpoint.write(tmp_path / FILE, replace(start, optimizer=state))
    return tmp_path / FILE


def test_checkpoint_comes_back_as_it_was_written(written, start):
    for path in (written, written.parent):
        found = checkpoint.read(path)
        assert (found.plan, found.position) == (start.plan, start.position)
        assert all(np.array_equal(found.weights[n], a) for n, a in start.weights.items())
        assert found.optimizer["0/velocity"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert found.optimizer["0/t"].shape == ()


def test_changed_or_cut_checkpoint_is_refused(written):
    content = bytearray(written.read_bytes())
    content[-1] ^= 1
    written.write_bytes(bytes(content))
    with pytest.raises(InputError, match="its content has changed since it was written"):
        checkpoint.read(written)
    for length in (0, 5, len(content) // 2, len(content) - 1):
        written.write_bytes(bytes(content[:length]))
        with pytest.raises(InputError, match=FILE):
            checkpoint.read(written)


def test_changed_plan_or_position_is_refused(written):
    content = written.read_bytes()
    assert content.count(b'lr\\\\\\": 0.125') + content.count(b'lr\\": 0.125') == 1
    written.write_bytes(content.replace(b'lr\\": 0.125', b'lr\\": 0.126'))
    with pytest.raises(InputError, match="its content has changed since it was written"):
        checkpoint.read(written)


def test_other_files_are_no_checkpoints(tmp_path, start):
    with pytest.raises(InputError, match="no training in this folder"):
        checkpoint.read(tmp_path)
    file = tmp_path / "w.safetensors"
    shared = weights.SharedWeights("tiny", start.plan.options, "", start.weights)
    weights.write(file, shared)
    with pytest.raises(InputError, match=r"inception-parity weights 1, but should be .*checkpoint"):
        checkpoint.read(file)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backend": "np"}, "--backend np"),
        ({"backend": "torch"}, "--backend torch"),
        ({"optimizer": "adamw"}, "--optimizer adamw (did you mean adam?)"),
        ({"epochs": 0}, "--epochs 0, but should be 1 or more"),
        ({"batch": -1}, "--batch -1, but should be 1 or more"),
        ({"lr": float("nan")}, "--lr nan, but should be at least 0 and finite"),
        ({"momentum": 1.0}, "--momentum 1, but should be at least 0 and less than 1"),
        (
            {"optimizer": "adam", "momentum": 0.5},
            "--momentum goes with --optimizer sgd or nesterov",
        ),
        ({"optimizer": "nesterov", "momentum": 0.0}, "--optimizer nesterov needs a --momentum"),
        ({"backend": "tf", "precision": "bfloat16"}, "are PyTorch's: give --backend pt"),
        ({"backend": "mx", "channels_last": True}, "are PyTorch's: give --backend pt"),
        ({"augment": "flip"}, "--augment flip (did you mean crop-flip?)"),
        ({"pixels": "0..1"}, "--pixels 0..1, but should be one of signed, unit, imagenet"),
        ({"epochs": 0, "batch": 0}, "--epochs 0, but should be 1 or more\n  --batch 0"),
    ],
)
def test_plan_that_cannot_be_used_is_refused_with_all_that_is_wrong(data, given, message):
    with pytest.raises(InputError) as error:
        tiny.plan(data, **given)
    assert message in str(error.value)


def test_xavier_is_uniform_within_its_bound():
    found = seeding.xavier("googlenet", {"batch_norm": True}, 0).arrays
    kernel, bound = found["b3.0.p2_2.conv.weight"], np.sqrt(6 / (9 * (96 + 128)))
    assert kernel.shape == (128, 96, 3, 3)
    assert 0.999 * bound < np.abs(kernel).max() <= bound
    assert abs(kernel.mean()) < 5 * bound / np.sqrt(3 * kernel.size)  # five standard errors
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.01)
    assert abs(found["fc.weight"]).max() <= np.sqrt(6 / (1024 + 10))
    for name, value in {"conv.bias": 0, "norm.weight": 1, "norm.running_mean": 0,
                        "norm.running_var": 1, "norm.bias": 0}.items():  # fmt: skip
        assert (found[f"b1.0.{name}"] == value).all()
    assert not np.array_equal(kernel, found["b3.1.p2_2.conv.weight"][:128, :96])
    assert not np.array_equal(
        kernel, seeding.xavier("googlenet", {}, 1).arrays["b3.0.p2_2.conv.weight"]
    )
