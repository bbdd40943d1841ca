"""What is checked, and how: the network, its weights and images, and the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison import floors
from ..data import images as image_files
from ..errors import InputError
from ..files import digest
from ..networks import catalogue
from ..networks.empty_batch import require_size
from ..traces.weights import SharedWeights

Cell = tuple[str, str, str]  # backend, dtype, mode


@dataclass(frozen=True)
class Subject:
    """What a task is about, without its arrays, which results outlive."""

    network: str
    options: dict[str, Any]
    provenance: str  # of the weights
    sha256: str  # of the weights
    image_names: tuple[str, ...]
    size: tuple[int, int]  # (height, width) of the images


@dataclass(frozen=True)
class Task:
    """What every backend is given."""

    weights: SharedWeights
    images: NDArray[np.float64] = field(repr=False)
    image_names: tuple[str, ...]
    image_files: tuple[Path, ...] = ()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What two tasks must share to be the same: network, options, images, weights."""
        return {
            "network": self.weights.network,
            "options": self.weights.options,
            "images": digest({"images": self.images}),
            "weights": self.weights.sha256,
        }

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    @property
    def subject(self) -> Subject:
        """What the task is about."""
        return Subject(
            self.weights.network,
            self.weights.options,
            self.weights.provenance,
            self.identity["weights"],
            self.image_names,
            self.size,
        )


@dataclass(frozen=True)
class Settings:
    """How a task is run.

    Args:
        backends: those that are compared with the oracle.
        dtypes: what each of them computes in.
        device: `cpu` or `gpu`.
        pythons: other interpreters, by backend.
        timeout: time limit per backend, in seconds.
        onnx: the file that the onnx backend runs; by default one is exported.
    """

    backends: tuple[str, ...]
    dtypes: tuple[str, ...]
    device: str = "cpu"
    pythons: dict[str, Path] = field(default_factory=dict)
    timeout: float = 600.0
    onnx: Path | None = None

    @property
    def cells(self) -> list[Cell]:
        """All runs; only dtypes that are judged by noise floors are run layer by layer as well."""
        return [
            (backend, dtype, mode)
            for backend in self.backends
            for dtype in self.dtypes
            for mode in (("propagated",) if dtype == "float64" else floors.MODES)
        ]


def make_task(
    weights: SharedWeights,
    files: Sequence[Path] | None,
    size: tuple[int, int],
    batch: int | None,
) -> Task:
    """Load images for the network that `weights` belong to.

    Args:
        weights: the weights, with the network and its options.
        files: image files; None for the photographs of the package.
        size: (height, width).
        batch: how many images; None for all of `files`, or two photographs.

    Raises:
        InputError: the images can't be used or are too few, or the network
            doesn't take their size.
    """
    if batch is not None and batch < 1:
        raise InputError(f"batch {batch}, but should be 1 or more")
    if min(size) < 1:
        raise InputError(f"size {size[0]}x{size[1]}, but should be 1x1 or more")
    network = catalogue.network(weights.network)
    require_size(network, weights.options, size)
    if files is None:
        files = image_files.photographs()
        batch = batch or 2
    if batch is not None and batch > len(files):
        raise InputError(
            f"batch {batch}, but there are {len(files)} images; give more with --images"
        )
    files = files[:batch]
    channels = int(weights.options["in_channels"])
    loaded = image_files.load(files, size, channels)
    return Task(weights, loaded, tuple(f.name for f in files), tuple(files))
