"""One runner of a race, in a worker: a training that leaves its weights after every step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends import TrainingAdapter, loaded
from ..backends.recipe import Recipe
from ..files import appearing
from ..workers.request import Race

PAUSE = 0.005  # seconds between two looks for a file


def run(backend: TrainingAdapter, job: Race, weights: Mapping[str, NDArray[Any]]) -> None:
    """Train on the batches that appear in the job's folder, and leave weights and losses.

    Raises:
        UnavailableError: the backend can't compute in the job's dtype.
    """
    net = loaded(backend, job, weights)
    backend.control_dropout(net, None)  # frameworks never draw the same masks
    training = backend.training(net, Recipe(**job.recipe))
    step = 0

    def on_step(loss: float, right: int) -> None:
        nonlocal step
        step += 1
        row = in_a_row(backend.get_weights(net), job.names)
        with appearing(job.out / f"{job.label}-{step}.npz") as file:
            np.savez(file, loss=np.float64(loss), weights=row)

    training.epoch(_batches(job.out, job.steps), on_step)


def in_a_row(weights: Mapping[str, NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    """Return the arrays of these names as one."""
    return np.concatenate([weights[name].ravel() for name in names])


def _batches(folder: Path, steps: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield each batch as soon as it is there; the parent ends this process if none comes."""
    for step in range(1, steps + 1):
        file = folder / f"batch-{step}.npz"
        while not file.exists():
            time.sleep(PAUSE)
        with np.load(file) as batch:
            yield batch["images"], batch["labels"]
