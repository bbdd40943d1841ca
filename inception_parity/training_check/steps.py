"""Training a live network for a few steps, and the trace that it leaves.

The step is the one that users train with: `Training` of the framework's package.
What a trace holds, by kind:

- `loss`: the loss of every step;
- `gradient.1`, `gradient.K`: of every trained array, in the first and the last step;
- `input gradient`: of the images of the first step;
- `update`: for every trained array and step, how far its new value is from what the
  definition in NumPy makes of the old one and of this backend's own gradient;
- `statistics.1`, `statistics.K`: batch norm's, converted to the oracle's convention;
- `weights.1`, `weights.K`: of all other arrays;
- `perturbed gradient.K`, `perturbed statistics.K`, `perturbed weights.K`, in float64: the L2
  distance of each array from the result of a second training that begins with another last digit
  in every weight. No two implementations can be expected to stay closer than one to itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends import TrainingAdapter
from ..backends.base import Factors
from ..backends.recording import open_trace
from ..traces.freezing import frozen_norms
from ..traces.trace import TraceWriter
from ..traces.weights import is_statistic
from ..workers.request import Train
from .trial import FIRST, LAST, Trial, batches, definition, dropout_factors

MOMENTUM = 0.9  # share of the old statistics, in the oracle and by name in every framework


def record_training(
    backend: TrainingAdapter,
    net: Any,
    job: Train,
    images: NDArray[np.float64],
    weights: Mapping[str, NDArray[Any]],
) -> None:
    """Train a loaded network for a trial's steps on batches made of `images`, and leave a trace.

    The network's dropout stays controlled.
    """
    trial, classes = Trial.read(job.recipe), int(job.options["num_classes"])
    with open_trace(backend, net, job, images, weights, job.out, job.recipe) as writer:
        observer = _Observer(backend, net, trial, job.counts, writer)
        backend.control_dropout(net, observer.factors_of)
        training = backend.training(net, trial.recipe, keep_gradients=True)
        first = next(batches(images, classes, trial))
        gradient = backend.input_gradient(net, training, *first)
        writer.add("input gradient", gradient, kind="input gradient", dtype=job.dtype)
        backend.set_weights(net, weights)  # that pass has moved batch norm's statistics
        observer.begin(training)
        training.epoch(batches(images, classes, trial), observer.on_step)
        observer.end()
        if trial.steps > 1 and job.dtype == "float64":
            observer.again(batches(images, classes, trial), weights)


@dataclass
class _Observer:
    """Looks at a network after each step, and writes what the trace holds."""

    backend: TrainingAdapter
    net: Any
    trial: Trial
    counts: Mapping[str, int]
    writer: TraceWriter
    step: int = 0
    losses: list[float] = field(default_factory=list)
    updates: dict[str, list[float]] = field(default_factory=dict)
    gradients: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def factors_of(self, path: str, p: float) -> Factors:
        """Return the function that a dropout layer gets its factors from, step by step."""
        return lambda shape: dropout_factors(self.trial.recipe.seed, self.step, path, shape, p)

    def begin(self, training: Any) -> None:
        """Look at the weights before the first step."""
        self.training = training
        self.definition = definition(self.trial.recipe)
        self.state = training.get_state()
        self.before = self.backend.get_weights(self.net)
        running = {name: a for name, a in self.before.items() if is_statistic(name)}
        self.statistics = {name: array.astype(np.float64) for name, array in running.items()}

    def on_step(self, loss: float, right: int) -> None:
        """Look at everything after a step."""
        gradients = self.backend.gradients(self.net, self.training)
        after = self.backend.get_weights(self.net)
        self.losses.append(loss)
        self._compare_with_definition(gradients, after)
        self._convert_statistics(after)
        self.before, self.gradients = after, gradients
        self.step += 1
        if self.step == 1:
            self._write(FIRST, gradients)
        elif self.step == self.trial.steps:
            self._write(LAST, gradients)

    def _compare_with_definition(
        self, gradients: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]]
    ) -> None:
        wide = {name: g.astype(np.float64) for name, g in gradients.items()}
        defined = {name: self.before[name].astype(np.float64) for name in wide}
        self.definition.step(defined, wide)
        for name, expected in defined.items():
            norm = float(np.linalg.norm(expected))
            apart = float(np.linalg.norm(after[name] - expected))
            self.updates.setdefault(name, []).append(apart / norm if norm else apart)

    def _convert_statistics(self, after: Mapping[str, NDArray[Any]]) -> None:
        """Take the batch's part out of each running statistic, and add it as the oracle does.

        A framework adds (1 - m) times the batch's, with m as the framework stores it, and the
        variance / n or / (n - 1).
        """
        m = self.backend.bn_momentum
        still = frozen_norms(after, self.trial.recipe.frozen)
        for name, running in self.statistics.items():
            if name.rpartition(".")[0] in still:
                self.statistics[name] = after[name]
                continue
            old, new = (w[name].astype(np.float64) for w in (self.before, after))
            batch = (new - m * old) / (1.0 - m)
            if name.endswith("running_var") and self.backend.bn_unbiased:
                n = self.counts[name.rpartition(".")[0]]
                batch *= (n - 1) / n
            self.statistics[name] = MOMENTUM * running + (1.0 - MOMENTUM) * batch

    def _write(self, which: str, gradients: Mapping[str, NDArray[Any]]) -> None:
        found: dict[str, Mapping[str, NDArray[Any]]] = {
            f"gradient.{which}": gradients,
            f"statistics.{which}": self.statistics,
            f"weights.{which}": {n: a for n, a in self.before.items() if not is_statistic(n)},
        }
        for kind, arrays in found.items():
            for name, array in arrays.items():
                self.writer.add(f"{kind} {name}", array, kind=kind)

    def end(self) -> None:
        """Write what is known after the last step."""
        self.writer.add("loss", np.array(self.losses), kind="loss")
        for name, apart in self.updates.items():
            self.writer.add(f"update {name}", np.array(apart), kind="update")

    def again(self, feed: Iterable[Any], weights: Mapping[str, NDArray[Any]]) -> None:
        """Train once more from weights with another last digit; write how far apart the two end."""
        # An array that an optimizer makes only in its first step is 0 before it.
        made = {name: 0 * array for name, array in self.training.get_state().items()}
        self.training.set_state({**made, **self.state})
        self.backend.set_weights(self.net, {n: _perturbed(n, a) for n, a in weights.items()})
        self.step = 0

        def on_step(loss: float, right: int) -> None:
            self.step += 1

        self.training.epoch(feed, on_step)
        gradients = self.backend.gradients(self.net, self.training)
        after = self.backend.get_weights(self.net)
        statistics = [name for name in after if is_statistic(name)]
        others = [name for name in after if not is_statistic(name)]
        for kind, names, first, second in (
            ("gradient", list(gradients), self.gradients, gradients),
            ("statistics", statistics, self.before, after),
            ("weights", others, self.before, after),
        ):
            apart = [float(np.linalg.norm(second[name] - first[name])) for name in names]
            self.writer.add(f"perturbed {kind}.{LAST}", np.array(apart), kind="perturbed")


def _perturbed(name: str, array: NDArray[Any]) -> NDArray[np.float64]:
    """Return an array with another last digit in every value."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], array.shape)
    return array.astype(np.float64) * (1.0 + signs * 2.0**-52)
