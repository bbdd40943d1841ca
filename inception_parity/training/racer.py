"""One runner of a race, in a worker: the recipe's training, and its weights after every step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends import Adapter, loaded
from ..files import appearing
from ..workers.request import Job, Race
from .loop import training_of
from .recipe import Recipe

PAUSE = 0.005  # seconds between two looks for a file


def run(backend: Adapter, job: Race, weights: Mapping[str, NDArray[Any]]) -> None:
    """Train on the batches that appear in the job's folder, and leave weights and losses.

    Raises:
        UnavailableError: the backend can't compute in the job's dtype.
    """
    recipe = Recipe.from_record(job.recipe)
    net = loaded(backend, Job(recipe.network, recipe.options, job.dtype), weights)
    silence_dropout(backend, net)
    with _computing_in(backend, job.dtype):
        training = training_of(recipe, net)
    step = 0

    def on_step(loss: float, right: int) -> None:
        nonlocal step
        step += 1
        row = in_a_row(backend.get_weights(net), job.names)
        with appearing(job.out / f"{job.label}-{step}.npz") as file:
            np.savez(file, loss=np.float64(loss), weights=row)

    training.epoch(_batches(job.out, job.steps), on_step)


def _computing_in(backend: Adapter, dtype: str) -> contextlib.AbstractContextManager[None]:
    """Let Keras' optimisers keep their numbers, such as 0.9, in `dtype` too."""
    if backend.name != "tf":
        return contextlib.nullcontext()
    from ..backends.tf import precision

    return precision(dtype)


def silence_dropout(backend: Adapter, net: Any) -> None:
    """Let dropout drop nothing: frameworks never draw the same masks."""
    names = {"pt": "p", "tf": "rate", "mx": "_rate"}
    for _, module, _ in backend.modules(net):
        if backend.dropout(module) is not None:
            setattr(module, names[backend.name], 0.0)


def in_a_row(weights: Mapping[str, NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    """Return the arrays of these names as one."""
    return np.concatenate([weights[name].ravel() for name in names])


def _batches(folder: Path, steps: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield the batches, each when it is there; the parent ends us if none comes."""
    for step in range(1, steps + 1):
        file = folder / f"batch-{step}.npz"
        while not file.exists():
            time.sleep(PAUSE)
        with np.load(file) as batch:
            yield batch["images"], batch["labels"]
