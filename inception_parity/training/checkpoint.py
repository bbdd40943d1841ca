"""Checkpoints: one safetensors file with everything that a training needs to go on.

Weights have their shared names, so that any backend can read them; the optimizer's arrays are under
`optimizer/…`, which only the backend that wrote them can read. The metadata hold the plan, the
position with the epochs so far, and the sha256 of everything. A file is written under another name,
flushed to the disk, and renamed: whatever happens, the folder holds one whole checkpoint.
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
from ..errors import InputError, reading
from ..files import digest
from ..networks import catalogue
from ..traces import weights
from .plan import Plan

FORMAT = "inception-parity checkpoint 1"
FILE = "checkpoint.safetensors"
OPTIMIZER = "optimizer/"
Arrays = dict[str, NDArray[Any]]


@dataclass
class Position:
    """How far a training has got."""

    epoch: int = 0  # whole epochs
    step: int = 0  # steps in the current epoch
    steps: int = 0  # steps in all
    images: int = 0  # seen in this epoch
    loss: float = 0.0  # the sum of their losses
    right: int = 0  # how many of them were classified right
    seconds: float = 0.0  # spent on this epoch
    history: list[dict[str, Any]] = field(default_factory=list)  # a record per whole epoch


@dataclass(frozen=True)
class Checkpoint:
    """A training after one of its steps."""

    plan: Plan
    position: Position
    weights: Arrays = field(repr=False)
    optimizer: Arrays = field(repr=False)


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, which replaces the last one completely or not at all.

    Raises:
        InputError: it can't be written; the last one is intact.
    """
    from safetensors.numpy import save

    state = {OPTIMIZER + name: array for name, array in checkpoint.optimizer.items()}
    given = {**checkpoint.weights, **state}
    arrays = {name: np.asarray(array, order="C") for name, array in given.items()}
    text = json.dumps([checkpoint.plan.record(), asdict(checkpoint.position)], sort_keys=True)
    metadata = {"format": FORMAT, "training": text, "sha256": _seal(text, arrays)}
    files.write_whole(path, save(arrays, metadata), durable=True)


def _seal(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    return hashlib.sha256(f"{text}\n{digest(arrays)}".encode()).hexdigest()


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint, and not a file of shared weights, say.

    Raises:
        InputError: it isn't a safetensors file.
    """
    return weights.read_safetensors(path, None)[0].get("format") == FORMAT


def read(path: Path) -> Checkpoint:
    """Read a checkpoint, and verify all of it.

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
    with reading(path, "broken metadata"):
        text = metadata["training"]
        plan_record, position_record = json.loads(text)
        plan, position = Plan.from_record(plan_record), Position(**position_record)
        stated = metadata["sha256"]
    if _seal(text, arrays) != stated:
        raise InputError(f"{path}: its content has changed since it was written (sha256)")
    options = catalogue.network(plan.network).resolve(plan.options)
    state = {n.removeprefix(OPTIMIZER): a for n, a in arrays.items() if n.startswith(OPTIMIZER)}
    own = {name: array for name, array in arrays.items() if not name.startswith(OPTIMIZER)}
    weights.require_match(own, weights.shapes(plan.network, options), str(path))
    return Checkpoint(plan, position, own, state)
