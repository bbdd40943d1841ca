"""The same training in several backends and dtypes, side by side, step by step.

Every runner is a process of its own, begins with the same weights, and is given the same batches.
After each step their weights are held against each other and against the reference, the mean of
the float64 runs (or of all, where there is none), and thrown away: what is kept are numbers.

What has no part in the loss of a later step is left out: running statistics, whose conventions
differ, and biases before batch norm, which it takes away again.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.feed import Batch, DataSet
from ..errors import InputError, ReportedError
from ..files import appearing, save_arrays
from ..training_check.limits import scale_of
from ..training_check.task import trained_arrays
from ..workers.processes import Worker, workers
from ..workers.request import Race, Request
from .loop import initial
from .racer import in_a_row
from .recipe import Recipe

AHEAD = 2  # batches that lie ready
LOOK = 0.005  # seconds between two looks for a file
LOST = 0.1  # of the way that the weights have come: who is as far apart goes another one
Runner = tuple[str, str]  # backend, dtype


class FailedError(ReportedError):
    """A runner couldn't be started, crashed, or took too long."""


@dataclass(frozen=True)
class Step:
    """What a step came to, for every runner, by its label, as in `pt float64`."""

    step: int
    loss: dict[str, float]
    distance: dict[str, float]  # |w - reference| / |reference|
    apart: dict[str, float]  # of two backends in one dtype, `pt and tf float64`: |w - v| / |ref|
    moved: float  # |reference - begin| / |begin|
    layers: dict[str, dict[str, float]]  # by layer: distance, of its own arrays alone


@dataclass(frozen=True)
class Parting:
    """How backends that compute in one dtype part from each other."""

    first: float  # how far the two furthest are apart after the first step
    last: float  # and after the last one
    growth: float | None  # in a step, until they are lost; None where there is nothing to grow
    lost: int | None  # the step from which they are as far apart as LOST of the way
    layer: str  # the layer that is furthest from the reference in the end
    at_layer: float


def layer_of(name: str) -> str:
    """Return the layer that an array belongs to: a convolution has its batch norm with it."""
    return name.rpartition(".")[0].removesuffix(".conv").removesuffix(".norm")


def label(runner: Runner) -> str:
    """Return what a runner is called."""
    return " ".join(runner)


def race(
    recipe: Recipe,
    runners: Sequence[Runner],
    steps: int,
    data: DataSet,
    timeout: float,
    pythons: dict[str, Path],
    say: Callable[[Step], None],
) -> list[Step]:
    """Run the race.

    Args:
        recipe: what is trained; its backend and precision don't matter.
        runners: (backend, dtype), each in a process of its own.
        steps: how many; a new epoch begins where the data end.
        data: the recipe's.
        timeout: seconds for all of it.
        pythons: other interpreters, by backend.
        say: called with each step.

    Returns:
        A record per step; fewer than `steps` where weights became infinite or NaN.

    Raises:
        InputError: there is no room for temporary files, or weights that can't be used.
        FailedError: a runner didn't get through.
    """
    begin = initial(recipe).arrays
    names = [
        name
        for name in trained_arrays(recipe.network, recipe.options)
        if scale_of(name, begin) == name
    ]
    found: list[Step] = []
    try:
        with tempfile.TemporaryDirectory(prefix="inception-parity-") as made:
            folder = Path(made)
            weights = save_arrays(folder / "weights", begin)
            comparer = _Comparer(runners, names, begin)
            requests = [
                _request(recipe, runner, steps, names, folder, weights) for runner in runners
            ]
            with workers(requests, pythons, timeout) as running:
                ready = _lay_out(_batches(recipe, data, steps), folder)
                for step in range(1, steps + 1):
                    for _ in range(AHEAD if step == 1 else 1):
                        next(ready, None)
                    came_to = _gather(running, runners, folder, step)
                    (folder / f"batch-{step}.npz").unlink()
                    if not all(np.isfinite(w).all() for _, w in came_to.values()):
                        break
                    found.append(comparer.step(step, came_to))
                    say(found[-1])
    except OSError as error:
        raise InputError(f"the folder for temporary files (TMPDIR): {error.strerror}") from error
    return found


def _request(
    recipe: Recipe, runner: Runner, steps: int, names: Sequence[str], folder: Path, weights: Path
) -> Request:
    backend, dtype = runner
    own = replace(recipe, backend=backend, precision="float32", channels_last=False)
    name = "-".join(runner)
    job = Race(
        recipe=asdict(own), dtype=dtype, steps=steps, names=tuple(names), label=name, out=folder
    )
    return Request(
        backend=backend, jobs=(job,), folder=folder, result=folder / f"{name}.json",
        device=recipe.device, weights=weights,
    )  # fmt: skip


def _batches(recipe: Recipe, data: DataSet, steps: int) -> Iterator[Batch]:
    made = epoch = 0
    while made < steps:
        for batch in recipe.feed.train(data.train, epoch):
            yield batch
            made += 1
            if made == steps:
                return
        epoch += 1


def _lay_out(batches: Iterator[Batch], folder: Path) -> Iterator[None]:
    for step, (images, labels) in enumerate(batches, 1):
        with appearing(folder / f"batch-{step}.npz") as file:
            np.savez(file, images=images, labels=labels)
        yield


def _gather(
    running: Sequence[Worker], runners: Sequence[Runner], folder: Path, step: int
) -> dict[Runner, tuple[float, NDArray[np.float64]]]:
    """Wait for what every runner came to in a step, and take it away."""
    found = {}
    for worker, runner in zip(running, runners, strict=True):
        file = folder / f"{'-'.join(runner)}-{step}.npz"
        while not file.exists():
            if worker.poll() and not file.exists():
                assert worker.outcome is not None
                why = worker.outcome.message or next(iter(worker.outcome.unsupported.values()), "")
                raise FailedError(f"{label(runner)}: {worker.outcome.status}: {why}")
            time.sleep(LOOK)
        with np.load(file) as left:
            found[runner] = float(left["loss"]), left["weights"].astype(np.float64)
        file.unlink()
    return found


class _Comparer:
    """Holds the runners' weights against each other."""

    def __init__(
        self, runners: Sequence[Runner], names: Sequence[str], begin: Mapping[str, NDArray[Any]]
    ) -> None:
        self.runners = runners
        self.begin = in_a_row(begin, names).astype(np.float64)
        fine = [runner for runner in runners if runner[1] == "float64"]
        self.referees = fine or list(runners)
        self.starts: dict[str, int] = {}  # where in the row a layer's arrays begin
        start = 0
        for name in names:
            self.starts.setdefault(layer_of(name), start)
            start += begin[name].size

    def step(self, number: int, found: dict[Runner, tuple[float, NDArray[np.float64]]]) -> Step:
        weights = {runner: array for runner, (_, array) in found.items()}
        reference = np.mean([weights[r] for r in self.referees], axis=0)
        size, sizes = _norm(reference), self._by_layer(reference)
        distance, layers = {}, {}
        for runner, array in weights.items():
            difference = array - reference
            distance[label(runner)] = _norm(difference) / size
            by_layer = self._by_layer(difference) / sizes
            layers[label(runner)] = dict(zip(self.starts, by_layer.tolist(), strict=True))
        return Step(
            number,
            {label(r): loss for r, (loss, _) in found.items()},
            distance,
            {
                f"{a[0]} and {b[0]} {a[1]}": _norm(weights[a] - weights[b]) / size
                for a, b in combinations(self.runners, 2)
                if a[1] == b[1]
            },
            _norm(reference - self.begin) / _norm(self.begin),
            layers,
        )

    def _by_layer(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sqrt(np.add.reduceat(row**2, list(self.starts.values())))


def _norm(array: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(array))


def parting(steps: Sequence[Step], dtype: str) -> Parting | None:
    """Return how the backends that compute in `dtype` part; None if there is only one."""
    pairs = [pair for pair in steps[0].apart if pair.endswith(f" {dtype}")]
    if not pairs:
        return None
    apart = [max(step.apart[pair] for pair in pairs) for step in steps]
    lost = next((n for n, s in enumerate(steps) if apart[n] > LOST * s.moved), None)
    until = len(apart) - 1 if lost is None else lost
    growth = (apart[until] / apart[0]) ** (1 / until) if until and apart[0] else None
    worst = [
        max((distance, layer) for layer, distance in by_layer.items())
        for runner, by_layer in steps[-1].layers.items()
        if runner.endswith(f" {dtype}")
    ]
    at_layer, layer = max(worst)
    return Parting(
        apart[0], apart[-1], growth, None if lost is None else steps[lost].step, layer, at_layer
    )


def lines(steps: Sequence[Step]) -> str:
    """Return the steps as JSON lines."""
    return "".join(json.dumps(asdict(step)) + "\n" for step in steps)
