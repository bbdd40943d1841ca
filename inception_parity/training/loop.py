"""One training: a network in one backend, from data, through checkpoints, to metrics."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import files
from ..backends import Adapter, adapter
from ..data.feed import DataSet, Feed
from ..errors import InputError
from ..networks import catalogue
from ..traces import seeding, weights
from ..traces.weights import SharedWeights
from . import checkpoint
from .checkpoint import Checkpoint, Position
from .recipe import OPTIMIZERS, Recipe

METRICS = "metrics.jsonl"
CURVES = "curves.png"
WEIGHTS = "weights.safetensors"
LOCK = ".lock"


class Watch(Protocol):
    """What a training tells while it runs, and asks."""

    def begin(self, what: str, total: int, done: int) -> None:
        """A stretch of `total` batches begins, `done` of which are behind us."""

    def step(self, images: int, loss: float) -> None:
        """A batch of so many images is done; the mean loss so far is `loss`."""

    def end(self, record: dict[str, Any]) -> None:
        """An epoch has ended."""

    def stop(self) -> bool:
        """Return whether the user wants to stop."""


class StoppedError(Exception):
    """The user wanted to stop; the checkpoint is written."""


class DivergedError(Exception):
    """Loss or weights aren't finite any more; the last checkpoint's weights are."""


def initial(recipe: Recipe) -> SharedWeights:
    """Return the weights that a training begins with.

    Raises:
        InputError: the file of weights can't be used, or is another network's.
    """
    if recipe.init == "d2l":
        return seeding.xavier(recipe.network, recipe.options, recipe.seed)
    if recipe.init == "seeded":
        return seeding.seeded(recipe.network, recipe.options, recipe.seed)
    shared = weights.read(Path(recipe.init))
    shared.require(recipe.network, recipe.options, recipe.init)
    return shared


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a training's folder; what a killed process left half-written there goes.

    Raises:
        InputError: another process trains there, or nothing can be written.
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
        for name in (checkpoint.FILE, METRICS, CURVES, WEIGHTS):
            for left in folder.glob(f".{name}-*"):
                left.unlink()
        yield


def use_threads(count: int) -> None:
    """Let a framework that is loaded after this compute with `count` threads.

    Sums are taken in another order with another number of threads: it belongs to the recipe.
    """
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[name] = str(count)


@dataclass
class _Run:
    """A training under way."""

    recipe: Recipe
    position: Position
    data: DataSet
    folder: Path
    watch: Watch
    every: float  # seconds between checkpoints
    backend: Adapter
    net: Any
    training: Any
    written: float = field(default_factory=time.monotonic)
    ticked: float = field(default_factory=time.monotonic)

    @property
    def feed(self) -> Feed:
        """What makes the batches."""
        return self.recipe.feed

    def save(self) -> None:
        """Write the checkpoint; one that nobody can go on from doesn't replace the last."""
        self._tick()
        arrays = self.backend.get_weights(self.net)
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise DivergedError(f"weights are infinite or NaN after step {self.position.steps}")
        state = Checkpoint(self.recipe, self.position, arrays, self.training.get_state())
        checkpoint.write(self.folder / checkpoint.FILE, state)
        self.written = time.monotonic()

    def _tick(self) -> None:
        now = time.monotonic()
        self.position.seconds += now - self.ticked
        self.ticked = now

    def step(self, loss: float, right: int) -> None:
        """Count a step that was made, and keep it if it is time to."""
        p = self.position
        images = self.feed.images(self.data.train, p.step)
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
        """Train the rest of an epoch, test, and write what came out."""
        p, total = self.position, self.feed.steps(self.data.train)
        self.watch.begin(f"epoch {p.epoch + 1}/{self.recipe.epochs}", total, p.step)
        self.ticked = time.monotonic()
        if p.step < total:
            batches = self.feed.train(self.data.train, p.epoch, p.step)
            self.training.epoch(batches, self.step, p.steps)
        self.save()  # the test may be interrupted as well
        started = time.monotonic()
        test_loss, test_right = evaluate(self.training, self.feed, self.data, self.watch)
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
        self.save()
        self.report()
        self.watch.end(record)

    def report(self) -> None:
        """Write metrics and curves from the history: the same after a resumption as without."""
        from ..plots import curves

        lines = "".join(json.dumps(record) + "\n" for record in self.position.history)
        files.write_whole(self.folder / METRICS, lines.encode())
        curves.draw(self.folder / CURVES, self.recipe, self.position.history)


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
    """Train from a checkpoint to the end of its recipe, and leave everything in `folder`.

    Args:
        start: where to begin: `begin` returns one, and so does `checkpoint.read`.
        data: what to learn; the recipe's.
        folder: for the checkpoint, the metrics, the curves, and in the end the weights.
        watch: what is told, and asked whether to stop.
        every: seconds between checkpoints.

    Returns:
        A record per epoch.

    Raises:
        InputError: something can't be written; the last checkpoint is intact.
        StoppedError: `watch.stop()` said so; a checkpoint was written.
        DivergedError: loss or weights became infinite or NaN; the last checkpoint's are not.
        UnavailableError: the backend can't be loaded.
    """
    recipe = start.recipe
    backend, net = network_of(recipe, recipe.backend, start.weights)
    training = training_of(recipe, net)
    training.set_state(start.optimizer)
    run = _Run(recipe, replace(start.position), data, folder, watch, every, backend, net, training)
    if start.position.steps == 0:
        run.save()
    while run.position.epoch < recipe.epochs:
        run.epoch()
    said = f"trained in {catalogue.BACKENDS[recipe.backend].title} on {recipe.data}"
    arrays = backend.get_weights(net)
    weights.write(folder / WEIGHTS, SharedWeights(recipe.network, recipe.options, said, arrays))
    return run.position.history


def begin(recipe: Recipe) -> Checkpoint:
    """Return a training that is to begin.

    Raises:
        InputError: the file of weights can't be used, or is another network's.
    """
    return Checkpoint(recipe, Position(), initial(recipe).arrays, {})


def network_of(recipe: Recipe, name: str, arrays: Mapping[str, Any], dtype: str = "float32") -> Any:
    """Return a backend, and the recipe's network in it, with weights.

    Raises:
        UnavailableError: the backend can't be loaded.
    """
    use_threads(recipe.threads)
    with quiet():
        backend = adapter(name, recipe.device)
        net = backend.build(catalogue.network(recipe.network), recipe.options, dtype)
        backend.set_weights(net, arrays)
    return backend, net


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep from standard error what libraries say while they start; all of it, if they fail.

    TensorFlow and MXNet write there from C++, past Python's `sys.stderr`.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept, os.fdopen(os.dup(2), "wb") as real:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            kept.seek(0)
            real.write(kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(real.fileno(), 2)


def training_of(recipe: Recipe, net: Any) -> Any:
    """Return the `Training` of the backend's package, with loss and optimiser, as the recipe says.

    Args:
        recipe: what is trained, and in which backend.
        net: the recipe's network.
    """
    info = catalogue.BACKENDS[recipe.backend]
    package = importlib.import_module(info.package)
    # PyTorch's optimisers are told at once what they train, and it has options of its own.
    first = (net.parameters(),) if info.name == "pt" else ()
    optimizer = getattr(package, OPTIMIZERS[recipe.optimizer])
    loss = package.TrainingLoss(recipe.label_smoothing, recipe.aux_weight, **_dtype(info.name, net))
    own = (
        {"autocast": recipe.precision == "bfloat16", "channels_last": recipe.channels_last}
        if info.name == "pt"
        else {}
    )
    return package.Training(
        net, loss, optimizer(*first, **recipe.optimizer_arguments()), seed=recipe.seed, **own
    )


def _dtype(backend: str, net: Any) -> dict[str, Any]:
    """Return the argument that Keras needs for a loss in float64: without it, it is float32."""
    return {"dtype": net.dtype} if backend == "tf" else {}


def test(
    recipe: Recipe, name: str, arrays: Mapping[str, Any], data: DataSet, watch: Watch
) -> tuple[float, int]:
    """Test weights in backend `name`; return the mean loss, and how many images were right.

    Raises:
        UnavailableError: the backend can't be loaded.
        StoppedError: `watch.stop()` said so.
    """
    _, net = network_of(recipe, name, arrays)
    training = importlib.import_module(catalogue.BACKENDS[name].package).Training(net)
    return evaluate(training, recipe.feed, data, watch)
