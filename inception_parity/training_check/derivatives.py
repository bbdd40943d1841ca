"""Training in the oracle: the loss, batch norm's statistics, and directional derivatives.

The oracle has no gradients. Given a direction d in the space of all weights, though,
it knows the loss's derivative along it: every layer is analytic, so with
weights w + i h d the imaginary part of the loss is h times that derivative,
and with an h of 1e-30 nothing else (Squire and Trapp 1998). No difference is taken, so
nothing cancels, and no kink of a ReLU or a max pool is crossed on the way, while finite
differences cross thousands. For a correct gradient g the derivative is <g, d>.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends import Adapter
from ..backends.base import Factors
from ..backends.recording import open_trace
from ..traces.freezing import frozen_norms
from ..traces.weights import is_statistic
from ..workers.request import Train
from .trial import FIRST, Trial, batches, dropout_factors

DIRECTIONS = 3  # in the space of the weights, and one more in that of the images
STEP = 1e-30
IMAGES = "images"  # the name that the direction in the images is drawn by


def direction(name: str, shape: tuple[int, ...], number: int) -> NDArray[np.float64]:
    """Return an array's part of direction `number`: normally distributed, drawn by its name."""
    entropy = hashlib.sha256(f"{number} {name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(entropy, "little")).standard_normal(shape)


def spread(weights: NDArray[Any]) -> float:
    """Return what an array's part of a direction is scaled by: its root mean square, or 1."""
    return float(np.sqrt(np.mean(weights.astype(np.float64) ** 2))) or 1.0


def record_oracle(
    backend: Adapter,
    net: Any,
    job: Train,
    images: NDArray[np.float64],
    weights: Mapping[str, NDArray[Any]],
) -> None:
    """Leave a trace of the first step's forward pass and of derivatives.

    The network is left in training mode.
    """
    from inception_np import TrainingLoss

    trial = Trial.read(job.recipe)
    recipe = trial.recipe
    x, labels = next(batches(images, int(job.options["num_classes"]), trial))
    loss = TrainingLoss(recipe.label_smoothing, recipe.aux_weight)

    def factors_of(path: str, p: float) -> Factors:
        return lambda shape: dropout_factors(recipe.seed, 0, path, shape, p)

    backend.control_dropout(net, factors_of)
    still = frozen_norms(weights, recipe.frozen)
    for path, module in net.named_modules():
        if path in still:
            module.frozen = True
    net.train()

    def derivative(given: Mapping[str, NDArray[Any]], number: int) -> NDArray[np.float64]:
        """Return the loss's derivative along direction `number`, from given weights."""
        _place(net, given, recipe.frozen, number)
        return _imaginary(loss(net(x), labels))

    with open_trace(backend, net, job, images, weights, job.out, job.recipe) as writer:
        writer.add("loss", np.array([loss(net(x), labels)]), kind="loss")
        for name, array in backend.get_weights(net).items():
            if is_statistic(name):
                kind = f"statistics.{FIRST}"
                writer.add(f"{kind} {name}", array, kind=kind)
        found = [derivative(weights, number) for number in range(DIRECTIONS)]
        for number, value in enumerate(found):
            writer.add(f"derivative {number}", value, kind="derivative")
        # What a last digit in each weight does to them: no gradient can be known better.
        nudged = {name: _nudged(name, array) for name, array in weights.items()}
        apart = [derivative(nudged, number) - found[number] for number in range(DIRECTIONS)]
        noise = np.linalg.norm(apart) / (np.linalg.norm(found) or 1.0)
        writer.add("noise", np.array([noise]), kind="noise")
        _place(net, weights, recipe.frozen, None)
        along = x + 1j * STEP * direction(IMAGES, x.shape, 0)
        writer.add(f"derivative {IMAGES}", _imaginary(loss(net(along), labels)), kind="derivative")


def _nudged(name: str, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return weights with the last digit of each moved up or down, drawn by the array's name."""
    up = direction(name, weights.shape, DIRECTIONS) > 0
    return np.nextafter(weights.astype(np.float64), np.where(up, np.inf, -np.inf))


def _imaginary(found: complex) -> NDArray[np.float64]:
    return np.array([found.imag / STEP])


def _place(
    net: Any, weights: Mapping[str, NDArray[Any]], frozen: Collection[str], number: int | None
) -> None:
    """Give the network its weights, plus a step along direction `number`; None for no step."""
    for path, module in net.named_modules():
        for last, array in module.arrays().items():
            name = f"{path}.{last}"
            value = weights[name].astype(np.complex128)
            trained = last not in module.buffers and name not in frozen
            if trained and number is not None:
                value += 1j * STEP * spread(weights[name]) * direction(name, array.shape, number)
            setattr(module, last, value)
