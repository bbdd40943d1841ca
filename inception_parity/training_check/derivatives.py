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
from .trial import FIRST, Trial, batches, dropout_factors, endpoint

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

    # Along an idle bias the derivative is 0, and what is computed rounding times its own size.
    fixed = {*recipe.frozen, *job.idle}

    def derivative(given: Mapping[str, NDArray[Any]], number: int) -> complex:
        """Return the loss, and its derivative along direction `number`, from given weights."""
        _place(net, given, fixed, number)
        value = loss(net(x), labels)
        return complex(value.real, value.imag / STEP)

    def statistics() -> dict[str, NDArray[np.float64]]:
        return {n: a.real for n, a in backend.get_weights(net).items() if is_statistic(n)}

    with open_trace(backend, net, job, images, weights, job.out, job.recipe) as writer:
        value = loss(net(x), labels)
        writer.add("loss", np.array([value]), kind="loss")
        kind, running = f"statistics.{FIRST}", statistics()
        for name, array in running.items():
            writer.add(endpoint(kind, name), array, kind=kind)
        found = np.array([derivative(weights, number) for number in range(DIRECTIONS)])
        for number, one in enumerate(found):
            writer.add(f"derivative {number}", np.array([one.imag]), kind="derivative")
        # What a last digit in each weight does to them: nothing can be known better.
        nudged, moved = [], []
        for number in range(DIRECTIONS):
            given = {name: _nudged(name, array, number) for name, array in weights.items()}
            nudged.append(derivative(given, number))
            after = statistics()
            moved.append([float(np.linalg.norm(after[n] - running[n])) for n in running])
        apart = np.array(nudged) - found
        noise = np.linalg.norm(apart.imag) / (np.linalg.norm(found.imag) or 1.0)
        writer.add("noise", np.array([noise]), kind="noise")
        writer.add("perturbed loss", np.abs(apart.real).max(keepdims=True), kind="perturbed")
        writer.add(f"perturbed {kind}", np.max(moved, axis=0), kind="perturbed")
        _place(net, weights, fixed, None)
        along = loss(net(x + 1j * STEP * direction(IMAGES, x.shape, 0)), labels)
        writer.add(f"derivative {IMAGES}", np.array([along.imag / STEP]), kind="derivative")


def _nudged(name: str, weights: NDArray[Any], number: int) -> NDArray[np.float64]:
    """Return weights with the last digit of each moved up or down, drawn by name and number."""
    up = direction(name, weights.shape, DIRECTIONS + number) > 0
    return np.nextafter(weights.astype(np.float64), np.where(up, np.inf, -np.inf))


def _place(
    net: Any, weights: Mapping[str, NDArray[Any]], fixed: Collection[str], number: int | None
) -> None:
    """Give the network its weights, plus a step along direction `number`; None for no step."""
    for path, module in net.named_modules():
        for last, array in module.arrays().items():
            name = f"{path}.{last}"
            value = weights[name].astype(np.complex128)
            trained = last not in module.buffers and name not in fixed
            if trained and number is not None:
                value += 1j * STEP * spread(weights[name]) * direction(name, array.shape, number)
            setattr(module, last, value)
