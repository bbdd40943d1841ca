"""The same training in several backends and dtypes, side by side, step by step.

Every runner is a process of its own, begins with the same weights, and gets the same batches.
After each step their weights are compared with each other and with the reference, the mean of
the float64 runs (or of all runs, where there are none), and thrown away: only numbers are kept.

Arrays that don't affect the loss of a later step are left out: running statistics, whose
conventions differ, and biases before batch norm, which subtracts them again.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, combinations, count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.feed import DataSet
from ..errors import InputError, ReportedError
from ..files import appearing, save_arrays
from ..networks import catalogue
from ..networks.empty_batch import with_heads
from ..networks.idle_biases import idle_biases
from ..traces.freezing import frozen_norms
from ..traces.weights import trained_names
from ..workers.processes import Worker, workers
from ..workers.request import Race, Request
from .loop import initial
from .plan import Plan
from .racer import in_a_row

AHEAD = 2  # batches that lie ready
LOOK = 0.005  # seconds between two looks for a file
LOST = 0.1  # of the way that the weights have come: runners as far apart train other networks
Runner = tuple[str, str]  # backend, dtype


class FailedError(ReportedError):
    """A runner couldn't be started, crashed, or ran out of time."""


@dataclass(frozen=True)
class Step:
    """The result of a step, for every runner by its label, such as `pt float64`."""

    step: int
    loss: dict[str, float]
    distance: dict[str, float]  # |w - reference| / |reference|
    apart: dict[str, float]  # of two backends in one dtype, `pt and tf float64`: |w - v| / |ref|
    moved: float  # |reference - begin| / |begin|
    layers: dict[str, dict[str, float]]  # by layer: distance, of its own arrays alone


@dataclass(frozen=True)
class Parting:
    """How backends that compute in the same dtype drift apart."""

    first: float  # how far the two furthest are apart after the first step
    last: float  # and after the last one
    growth: float | None  # per step, until they are lost; None where there is nothing to grow
    lost: int | None  # the first step after which they are further apart than LOST of the way
    layer: str  # the one that is furthest from the reference in the end
    at_layer: float


def layer_of(name: str) -> str:
    """Return the layer that an array belongs to; a convolution and its batch norm are one."""
    return name.rpartition(".")[0].removesuffix(".conv").removesuffix(".norm")


def label(runner: Runner) -> str:
    """Return a runner's label."""
    return " ".join(runner)


def race(
    plan: Plan,
    runners: Sequence[Runner],
    steps: int,
    data: DataSet,
    timeout: float,
    pythons: dict[str, Path],
    say: Callable[[Step], None],
) -> list[Step]:
    """Run the race.

    Args:
        plan: what is trained; its backend and precision don't matter.
        runners: (backend, dtype), each in a process of its own.
        steps: how many; a new epoch begins when the data are used up.
        data: the data that the plan names.
        timeout: seconds for the whole race.
        pythons: other interpreters, by backend.
        say: called with each step.

    Returns:
        A record per step; fewer than `steps` if weights became infinite or NaN.

    Raises:
        InputError: there is no room for temporary files, or the weights can't be used.
        FailedError: a runner failed.
    """
    begin = initial(plan).arrays
    trained = trained_names(plan.network, plan.options)
    net = with_heads(catalogue.network(plan.network), plan.options)
    shape = (int(plan.options["in_channels"]), plan.height, plan.width)
    idle = idle_biases(net, shape, frozen_norms(begin, plan.recipe.frozen))
    names = [name for name in trained if name not in idle]
    found: list[Step] = []
    try:
        with tempfile.TemporaryDirectory(prefix="inception-parity-") as made:
            folder = Path(made)
            weights = save_arrays(folder / "weights", begin)
            comparer = _WeightComparer(runners, names, begin)
            requests = [_request(plan, runner, steps, names, folder, weights) for runner in runners]
            with workers(requests, pythons, timeout) as running:
                ready = _lay_out(plan, data, steps, folder)
                for step in range(1, steps + 1):
                    for _ in range(AHEAD if step == 1 else 1):
                        next(ready, None)
                    results = _gather(running, runners, folder, step)
                    (folder / f"batch-{step}.npz").unlink()
                    if not all(np.isfinite(w).all() for _, w in results.values()):
                        break
                    found.append(comparer.step(step, results))
                    say(found[-1])
    except OSError as error:
        raise InputError(f"the folder for temporary files (TMPDIR): {error.strerror}") from error
    return found


def _request(
    plan: Plan, runner: Runner, steps: int, names: Sequence[str], folder: Path, weights: Path
) -> Request:
    backend, dtype = runner
    recipe = replace(plan.recipe, precision="float32", channels_last=False)
    job = Race(
        plan.network, plan.options, dtype, recipe=asdict(recipe), steps=steps, names=tuple(names),
        label=label(runner), out=folder,
    )  # fmt: skip
    return Request(
        backend=backend, jobs=(job,), folder=folder, result=folder / f"{job.label}.json",
        device=plan.device, weights=weights,
    )  # fmt: skip


def _lay_out(plan: Plan, data: DataSet, steps: int, folder: Path) -> Iterator[None]:
    """Write the batch of another step whenever the next item is taken."""
    epochs = (plan.feed.train(data.train, epoch) for epoch in count())
    batches = islice(chain.from_iterable(epochs), steps)
    for step, (images, labels) in enumerate(batches, 1):
        with appearing(folder / f"batch-{step}.npz") as file:
            np.savez(file, images=images, labels=labels)
        yield


def _gather(
    running: Sequence[Worker], runners: Sequence[Runner], folder: Path, step: int
) -> dict[Runner, tuple[float, NDArray[np.float64]]]:
    """Wait for every runner's loss and weights after a step, and remove their files."""
    found = {}
    for worker, runner in zip(running, runners, strict=True):
        file = folder / f"{label(runner)}-{step}.npz"
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


class _WeightComparer:
    """Compares the runners' weights."""

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
    """Return how the backends that compute in `dtype` drift apart; None if there is only one."""
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
