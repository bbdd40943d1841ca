"""Checkpoints: one safetensors file with all that a training needs to go on.

Weights stand under their shared names, so that any backend can read them; the optimiser's arrays
under `optimizer/…`, which only the backend that wrote them can. The metadata hold the recipe, the
position and the epochs so far, and the sha256 of it all. A file is written to a neighbour, brought
to the disk, and renamed: whatever happens, the folder holds one whole checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files
from ..errors import InputError
from ..files import digest
from ..networks import catalogue
from ..traces import weights
from .recipe import Recipe

FORMAT = "inception-parity checkpoint 1"
FILE = "checkpoint.safetensors"
OPTIMIZER = "optimizer/"
Arrays = dict[str, NDArray[Any]]


@dataclass
class Position:
    """How far a training has come."""

    epoch: int = 0  # whole epochs
    step: int = 0  # steps in the current epoch
    steps: int = 0  # steps in all
    images: int = 0  # seen in this epoch
    loss: float = 0.0  # their sum of losses
    right: int = 0  # how many of them were right
    seconds: float = 0.0  # spent on this epoch
    history: list[dict[str, Any]] = field(default_factory=list)  # a record per whole epoch


@dataclass(frozen=True)
class Checkpoint:
    """A training as it stood after a step."""

    recipe: Recipe
    position: Position
    weights: Arrays = field(repr=False)
    optimizer: Arrays = field(repr=False)


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; it replaces the last one whole, or not at all.

    Raises:
        InputError: it can't be written; the last one is intact.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in _flat(checkpoint).items()}
    text = json.dumps([asdict(checkpoint.recipe), asdict(checkpoint.position)], sort_keys=True)
    metadata = {"format": FORMAT, "training": text, "sha256": _seal(text, arrays)}
    files.write_whole(path, save(arrays, metadata), durable=True)


def _flat(checkpoint: Checkpoint) -> Arrays:
    state = {OPTIMIZER + name: array for name, array in checkpoint.optimizer.items()}
    return {**checkpoint.weights, **state}


def _seal(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    return hashlib.sha256(f"{text}\n{digest(arrays)}".encode()).hexdigest()


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint and not, say, a file of shared weights.

    Raises:
        InputError: it isn't a safetensors file.
    """
    return weights.read_safetensors(path, None)[0].get("format") == FORMAT


def read(path: Path) -> Checkpoint:
    """Read a checkpoint, and check all of it.

    Args:
        path: the file, or the folder of the training.

    Raises:
        InputError: there is none, or its content isn't what was written.
    """
    if path.is_dir():
        if not (path / FILE).is_file():
            raise InputError(f"{path}: no training in this folder (there is no {FILE})")
        path = path / FILE
    metadata, arrays = weights.read_safetensors(path, FORMAT)
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "no format")
        raise InputError(f"{path}: {found}, but should be {FORMAT!r}, as `train` writes it")
    try:
        text = metadata["training"]
        recipe_fields, position_fields = json.loads(text)
        recipe, position = Recipe.from_record(recipe_fields), Position(**position_fields)
        stated = metadata["sha256"]
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: broken metadata ({error!r})") from error
    if _seal(text, arrays) != stated:
        raise InputError(f"{path}: its content has changed since it was written (sha256)")
    options = catalogue.network(recipe.network).resolve(recipe.options)
    own = {name: array for name, array in arrays.items() if not name.startswith(OPTIMIZER)}
    weights.require_match(own, weights.shapes(recipe.network, options), str(path))
    state = {
        name.removeprefix(OPTIMIZER): array
        for name, array in arrays.items()
        if name.startswith(OPTIMIZER)
    }
    return Checkpoint(recipe, position, own, state)
