"""Shared by several test files: cases, inputs that hide no mistake, comparisons."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inception_parity.backends import Adapter, Job, loaded, record
from inception_parity.networks import catalogue
from inception_parity.traces import seeding, weights
from inception_parity.traces.trace import Trace


@dataclass(frozen=True)
class Case:
    """A network with its options and the shape of its input."""

    network: str
    settings: tuple[tuple[str, Any], ...]
    shape: tuple[int, int, int, int]

    @property
    def options(self) -> dict[str, Any]:
        settings = {"in_channels": self.shape[1], **dict(self.settings)}
        return catalogue.network(self.network).resolve(settings)

    def __str__(self) -> str:
        settings = "".join(f"-{name}={value}" for name, value in self.settings)
        return f"{self.network}{settings}-{'x'.join(map(str, self.shape))}"


def variants(network: str) -> list[dict[str, Any]]:
    """Return the settings of the network's notable variants."""
    return [dict(settings) for settings in catalogue.network(network).variants]


def images(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float64]:
    """Return noise on a slope: no symmetry, no constant region, no two images alike."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    slopes = [np.linspace(-1.0, 1.0 + axis, n) for axis, n in enumerate(shape)]
    return noise + sum(np.ix_(*slopes))


@functools.lru_cache(maxsize=2)  # a network's traces take up to 100 MB
def shared_weights(network: str, settings: tuple[tuple[str, Any], ...]) -> weights.SharedWeights:
    return seeding.seeded(network, dict(settings), 0)


def trace_of(
    backend: Adapter,
    case: Case,
    dtype: str,
    out: Path,
    oracle: Trace | None = None,
) -> Trace:
    """Run `case` with seeded weights; isolated if the oracle's trace is given."""
    mode = "propagated" if oracle is None else "isolated"
    arrays = shared_weights(case.network, tuple(case.options.items())).arrays
    job = Job(case.network, case.options, dtype, mode)
    return run_job(backend, job, images(case.shape), arrays, out, oracle)


def run_job(
    backend: Adapter,
    job: Job,
    images: NDArray[np.float64],
    arrays: Mapping[str, NDArray[Any]],
    out: Path,
    oracle: Trace | None = None,
) -> Trace:
    """Build the network, load the weights, run it, and leave a trace, as a worker does."""
    net = loaded(backend, job, arrays)
    return record(backend, net, job, images, arrays, out, oracle)


def relative_l2(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return |found - expected| / |expected|; the shapes must be equal."""
    if found.shape != expected.shape:
        raise AssertionError(f"shape {found.shape}, but should be {expected.shape}")
    difference = np.linalg.norm((found.astype(np.float64) - expected).ravel())
    return float(difference / np.linalg.norm(expected.ravel()))
