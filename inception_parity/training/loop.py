"""One training: a network in one backend, from data through checkpoints to metrics."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import files
from ..backends import Adapter, Job, adapter, loaded, trainable
from ..backends.quiet import quiet
from ..backends.recipe import Recipe
from ..data.feed import DataSet, Feed
from ..errors import InputError
from ..networks import catalogue
from ..plots import curves
from ..traces import seeding, weights
from ..traces.classifiers import for_classes
from ..traces.weights import SharedWeights
from . import checkpoint
from .checkpoint import Checkpoint, Position
from .plan import Plan

METRICS = "metrics.jsonl"
CURVES = "curves.png"
WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"
LOCK = ".lock"


class Watch(Protocol):
    """Follows a training, and may stop it."""

    def begin(self, what: str, total: int, done: int) -> None:
        """A stretch of `total` batches begins; `done` of them were done earlier."""

    def step(self, images: int, loss: float) -> None:
        """A batch of so many images is done; the mean loss so far is `loss`."""

    def end(self, record: dict[str, Any]) -> None:
        """An epoch has ended."""

    def stop(self) -> bool:
        """Return whether the user wants to stop."""


class StoppedError(Exception):
    """The user wanted to stop; the checkpoint has been written."""


class DivergedError(Exception):
    """Loss or weights are no longer finite; those of the last checkpoint are."""


def initial(plan: Plan) -> SharedWeights:
    """Return the weights that a training begins with.

    Raises:
        InputError: the weight file can't be used, or is another network's.
    """
    if plan.init == "d2l":
        return seeding.xavier(plan.network, plan.options, plan.recipe.seed)
    if plan.init == "seeded":
        return seeding.seeded(plan.network, plan.options, plan.recipe.seed)
    return fitting(weights.read(Path(plan.init)), plan)[0]


def fitting(shared: SharedWeights, plan: Plan) -> tuple[SharedWeights, list[str]]:
    """Return weights with as many classes as the plan has, and the arrays that are new.

    Raises:
        InputError: they are another network's, or one with other options.
    """
    classes, new = int(plan.options["num_classes"]), list[str]()
    if shared.network == plan.network and shared.options["num_classes"] != classes:
        shared, new = for_classes(shared, classes, plan.recipe.seed)
    shared.require(plan.network, plan.options, plan.init)
    return shared, new


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a training's folder, and remove what a killed process left half-written there.

    Raises:
        InputError: another process is training there, or nothing can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror})") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{folder}: another process is training there") from error
        for name in (checkpoint.FILE, METRICS, CURVES, WEIGHTS, BEST):
            for left in folder.glob(f".{name}-*"):
                left.unlink()
        yield


def use_threads(count: int) -> None:
    """Let a framework that is loaded after this compute with `count` threads."""
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[name] = str(count)


@dataclass
class _Run:
    """A training in progress."""

    plan: Plan
    position: Position
    data: DataSet
    folder: Path
    watch: Watch
    every: float  # seconds between checkpoints
    backend: Adapter
    net: Any
    training: Any = None
    recipe: Recipe | None = None  # of `training`
    written: float = field(default_factory=time.monotonic)
    ticked: float = field(default_factory=time.monotonic)

    def begin(self, state: Mapping[str, Any] | None = None) -> None:
        """Make what trains in this epoch, unless that is there; `state` is its optimizer's."""
        recipe = self.plan.recipe_in(self.position.epoch)
        if recipe != self.recipe:
            by = trainable(self.backend)
            self.training = by.training(self.net, recipe, lr_of=self.plan.lr_of())
            self.recipe = recipe
        if state is not None:
            self.training.set_state(state)

    def thaws(self) -> bool:
        """Return whether this is where layers that were frozen begin to be trained."""
        p, tuning = self.position, self.plan.tuning
        return (
            bool(p.epoch) and p.step == 0 and tuning.freezes(p.epoch - 1) > tuning.freezes(p.epoch)
        )

    def save(self) -> None:
        """Write the checkpoint, unless training could never continue from such weights."""
        self._tick()
        arrays = self.backend.get_weights(self.net)
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise DivergedError(f"weights are infinite or NaN after step {self.position.steps}")
        state = Checkpoint(self.plan, self.position, arrays, self.training.get_state())
        checkpoint.write(self.folder / checkpoint.FILE, state)
        self.written = time.monotonic()

    def _tick(self) -> None:
        now = time.monotonic()
        self.position.seconds += now - self.ticked
        self.ticked = now

    def step(self, loss: float, right: int) -> None:
        """Count a step, and write a checkpoint when it is time."""
        p = self.position
        images = self.plan.feed.images(self.data.train, p.step)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} at step {p.step + 1} of epoch {p.epoch + 1}")
        p.step, p.steps, p.images = p.step + 1, p.steps + 1, p.images + images
        p.loss, p.right = p.loss + loss * images, p.right + right
        self.watch.step(images, p.loss / p.images)
        stop = self.watch.stop()
        if stop or time.monotonic() - self.written >= self.every:
            self.save()
        if stop:
            raise StoppedError

    def epoch(self) -> None:
        """Train the rest of an epoch, test, and write the results."""
        self.begin()
        p, total = self.position, self.plan.feed.steps(self.data.train)
        self.watch.begin(f"epoch {p.epoch + 1}/{self.plan.epochs}", total, p.step)
        self.ticked = time.monotonic()
        if p.step < total:
            batches = self.plan.feed.train(self.data.train, p.epoch, p.step)
            self.training.epoch(batches, self.step, p.steps)
        self.save()  # the test may be interrupted as well
        started = time.monotonic()
        test_loss, test_right = evaluate(self.training, self.plan.feed, self.data, self.watch)
        if not math.isfinite(test_loss):
            raise DivergedError(f"the test's loss is {test_loss} after epoch {p.epoch + 1}")
        images, tested = p.images, len(self.data.test)
        record = {
            "epoch": p.epoch + 1,
            "steps": p.steps,
            "train_loss": p.loss / images,
            "train_accuracy": p.right / images,
            "test_loss": test_loss,
            "test_accuracy": test_right / tested,
            "test_right": test_right,
            "test_images": tested,
            "train_seconds": round(p.seconds, 3),
            "test_seconds": round(time.monotonic() - started, 3),
        }
        self.position = Position(p.epoch + 1, 0, p.steps, history=[*p.history, record])
        self.ticked = time.monotonic()
        if best_epoch(self.position.history) == record["epoch"]:
            self.write_weights(BEST)
        self.save()
        self.report()
        self.watch.end(record)

    def over(self) -> bool:
        """Return whether the plan is at its end, or its patience."""
        epoch, patience = self.position.epoch, self.plan.tuning.patience
        if not patience or not epoch:
            return epoch >= self.plan.epochs
        return epoch >= min(self.plan.epochs, best_epoch(self.position.history) + patience)

    def write_weights(self, name: str) -> None:
        """Write the network's weights to a file of this name."""
        plan = self.plan
        provenance = f"trained in {catalogue.BACKENDS[plan.backend].title} on {plan.data}"
        arrays = self.backend.get_weights(self.net)
        trained = SharedWeights(
            plan.network, plan.options, provenance, arrays, plan.inputs.history()
        )
        weights.write(self.folder / name, trained)

    def report(self) -> None:
        """Write metrics and curves from the whole history, so that resuming leaves no trace."""
        plan = self.plan
        title = f"{plan.network} in {catalogue.BACKENDS[plan.backend].title}, {plan.data}"
        lines = "".join(json.dumps(record) + "\n" for record in self.position.history)
        files.write_whole(self.folder / METRICS, lines.encode())
        curves.draw(self.folder / CURVES, f"{title}, {plan.summary}", self.position.history)


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """Return the epoch of the best test accuracy; among equals, of the smallest loss."""
    best = max(history, key=lambda record: (record["test_accuracy"], -record["test_loss"]))
    return int(best["epoch"])


def evaluate(training: Any, feed: Feed, data: DataSet, watch: Watch) -> tuple[float, int]:
    """Test the network of `training`; return the mean loss, and how many images were right."""
    loss, right, images, step = 0.0, 0, 0, 0

    def on_step(batch_loss: float, batch_right: int) -> None:
        nonlocal loss, right, images, step
        size = feed.images(data.test, step)
        loss, right, images = loss + batch_loss * size, right + batch_right, images + size
        step += 1
        watch.step(size, loss / images)
        if watch.stop():
            raise StoppedError

    watch.begin("test", feed.steps(data.test), 0)
    training.evaluate(feed.test(data.test), on_step)
    return loss / images, right


def train(
    start: Checkpoint, data: DataSet, folder: Path, watch: Watch, every: float = 60.0
) -> list[dict[str, Any]]:
    """Train from a checkpoint to the end of its plan, and leave everything in `folder`.

    Args:
        start: where to begin; `begin` and `checkpoint.read` return one.
        data: the data that the plan names.
        folder: for the checkpoint, the metrics, the curves, and in the end the weights.
        watch: is told of every step, and asked whether to stop.
        every: seconds between checkpoints.

    Returns:
        A record per epoch.

    Raises:
        InputError: something can't be written; the last checkpoint is intact.
        StoppedError: `watch.stop()` returned true; a checkpoint has been written.
        DivergedError: loss or weights became infinite or NaN; those of the last checkpoint aren't.
        UnavailableError: the backend can't be loaded, or doesn't train.
    """
    plan = start.plan
    backend, net = network_of(plan, plan.backend, start.weights)
    run = _Run(plan, replace(start.position), data, folder, watch, every, backend, net)
    run.begin({} if run.thaws() else start.optimizer)
    if start.position.steps == 0:
        run.save()
    while not run.over():
        run.epoch()
    run.write_weights(WEIGHTS)
    return run.position.history


def begin(plan: Plan, shared: SharedWeights | None = None) -> Checkpoint:
    """Return the checkpoint of a training that hasn't made a step yet.

    Args:
        plan: of the training.
        shared: weights to begin with; None for those that the plan names.

    Raises:
        InputError: the weight file can't be used, or is another network's.
    """
    first = initial(plan) if shared is None else fitting(shared, plan)[0]
    return Checkpoint(plan, Position(), first.arrays, {})


def network_of(plan: Plan, name: str, arrays: Mapping[str, Any]) -> tuple[Adapter, Any]:
    """Return a backend, and the plan's network in it, with weights.

    Raises:
        UnavailableError: the backend can't be loaded.
    """
    use_threads(plan.threads)
    with quiet():
        backend = adapter(name, plan.device)
        return backend, loaded(backend, Job(plan.network, plan.options, "float32"), arrays)


def test(
    plan: Plan, name: str, arrays: Mapping[str, Any], data: DataSet, watch: Watch
) -> tuple[float, int]:
    """Test weights in backend `name`; return the mean loss, and how many images were right.

    Raises:
        UnavailableError: the backend can't be loaded.
        StoppedError: `watch.stop()` returned true.
    """
    _, net = network_of(plan, name, arrays)
    training = importlib.import_module(catalogue.backend(name).package).Training(net)
    return evaluate(training, plan.feed, data, watch)
