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
- `perturbed input gradient`, `perturbed gradient.1` and so on, in float64: the L2 distance of each
  array from that of a second training, which begins with another last digit in every weight.
  No two implementations can be expected to stay closer than one to itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
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
from .trial import FIRST, LAST, Trial, batches, definition, dropout_factors, endpoint

Keep = Callable[[str, Mapping[str, NDArray[Any]]], None]
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
    with open_trace(backend, net, job, images, weights, job.out, job.recipe) as writer:
        observer = _Observer(backend, net, job, images)
        training = observer.training
        state = training.get_state()
        observer.train(weights, _as_it_is(writer))
        writer.add("loss", np.array(observer.losses), kind="loss")
        for name, apart in observer.updates.items():
            writer.add(f"update {name}", np.array(apart), kind="update")
        if job.dtype == "float64":
            # An array that an optimizer makes only in its first step is 0 before it.
            made = {name: 0 * array for name, array in training.get_state().items()}
            training.set_state({**made, **state})
            nudged = {name: _perturbed(name, array) for name, array in weights.items()}
            backend.set_weights(net, nudged)
            observer.train(nudged, _apart(writer), define=False)


def _as_it_is(writer: TraceWriter) -> Keep:
    """Return what writes the arrays of a kind."""

    def keep(kind: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name, array in arrays.items():
            writer.add(endpoint(kind, name), array, kind=kind)

    return keep


def _apart(writer: TraceWriter) -> Keep:
    """Return what writes how far the arrays of a kind are from those that have been written."""

    def keep(kind: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        apart = [
            float(np.linalg.norm(array - writer.array(endpoint(kind, name))))
            for name, array in arrays.items()
        ]
        writer.add(f"perturbed {kind}", np.array(apart), kind="perturbed")

    return keep


class _Observer:
    """Trains a network, and looks at it after each step."""

    def __init__(
        self, backend: TrainingAdapter, net: Any, job: Train, images: NDArray[np.float64]
    ) -> None:
        self.backend, self.net, self.counts = backend, net, job.counts
        self.trial = Trial.read(job.recipe)
        self.images, self.classes = images, int(job.options["num_classes"])
        self.step = 0
        backend.control_dropout(net, self.factors_of)
        self.training = backend.training(net, self.trial.recipe, keep_gradients=True)

    def factors_of(self, path: str, p: float) -> Factors:
        """Return the function that a dropout layer gets its factors from, step by step."""
        return lambda shape: dropout_factors(self.trial.recipe.seed, self.step, path, shape, p)

    def train(self, weights: Mapping[str, NDArray[Any]], keep: Keep, define: bool = True) -> None:
        """Train for the trial's steps.

        Args:
            weights: what the network begins with, and has been given.
            keep: called with each kind of what the trace is to hold, and its arrays.
            define: whether to compare steps with the optimizer's definition.
        """
        self.keep, self.step = keep, 0
        self.losses: list[float] = []
        self.updates: dict[str, list[float]] = {}
        self.definition = definition(self.trial.recipe) if define else None
        first = next(batches(self.images, self.classes, self.trial))
        keep("input gradient", {"": self.backend.input_gradient(self.net, self.training, *first)})
        # That pass has moved batch norm's statistics.
        self.backend.set_weights(self.net, weights)
        self.before = self.backend.get_weights(self.net)
        running = {name: a for name, a in self.before.items() if is_statistic(name)}
        self.statistics = {name: array.astype(np.float64) for name, array in running.items()}
        self.training.epoch(batches(self.images, self.classes, self.trial), self.on_step)

    def on_step(self, loss: float, right: int) -> None:
        """Look at everything after a step."""
        gradients = self.backend.gradients(self.net, self.training)
        after = self.backend.get_weights(self.net)
        self.losses.append(loss)
        if self.definition is not None:
            self._compare(self.definition, gradients, after)
        self._convert_statistics(after)
        self.before = after
        self.step += 1
        if self.step == 1:
            self._keep_all(FIRST, gradients)
        elif self.step == self.trial.steps:
            self._keep_all(LAST, gradients)

    def _compare(
        self,
        definition: Any,
        gradients: Mapping[str, NDArray[Any]],
        after: Mapping[str, NDArray[Any]],
    ) -> None:
        """Compare a step with what the optimizer's definition makes of the gradients."""
        wide = {name: g.astype(np.float64) for name, g in gradients.items()}
        defined = {name: self.before[name].astype(np.float64) for name in wide}
        definition.step(defined, wide)
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

    def _keep_all(self, which: str, gradients: Mapping[str, NDArray[Any]]) -> None:
        self.keep(f"gradient.{which}", gradients)
        self.keep(f"statistics.{which}", self.statistics)
        others = {name: a for name, a in self.before.items() if not is_statistic(name)}
        self.keep(f"weights.{which}", others)


def _perturbed(name: str, array: NDArray[Any]) -> NDArray[np.float64]:
    """Return an array with another last digit in every value."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], array.shape)
    return array.astype(np.float64) * (1.0 + signs * 2.0**-52)
