"""Runs in this process: a task, its oracle, and one backend to compare."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from inception_parity.backends import Adapter, Job, adapter, record
from inception_parity.comparison import floors
from inception_parity.comparison.comparing import Report, compare
from inception_parity.data import images
from inception_parity.networks import catalogue
from inception_parity.traces import seeding, weights
from inception_parity.traces.trace import Trace

from .helpers import run_job


@cache
def backend_of(name: str) -> Adapter:
    return adapter(name)


def _build(
    backend: str, network: str, options: tuple[tuple[str, Any], ...], dtype: str
) -> tuple[Any, list[str]]:
    """Return a network, and a list for the digest of the weights loaded into it."""
    known = catalogue.network(network)
    return backend_of(backend).build(known, dict(options), dtype), []


# Building a network takes longer than running it, but one of these takes up to half a gigabyte.
LARGE = ("inception_v4", "inception_resnet_v1", "inception_resnet_v2")
_built, _large_built = lru_cache(maxsize=48)(_build), lru_cache(maxsize=3)(_build)


def forget_networks() -> None:
    """Release all cached networks."""
    _built.cache_clear()
    _large_built.cache_clear()


@dataclass
class Bench:
    """A network with weights and images, and the oracle's trace."""

    network: str
    shared: weights.SharedWeights
    images: np.ndarray[Any, Any]
    folder: Path
    oracle: Trace

    @classmethod
    def make(
        cls, network: str, options: dict[str, Any], size: tuple[int, int], batch: int, seed: int = 0
    ) -> Bench:
        shared = seeding.seeded(network, options, seed)
        files = images.photographs()[:batch]
        loaded = images.load(files, size, int(shared.options["in_channels"]))
        folder = Path(tempfile.mkdtemp(prefix="parity-bench-"))
        job = Job(network, shared.options, "float64")
        oracle = run_job(backend_of("np"), job, loaded, shared.arrays, folder / "np")
        return cls(network, shared, loaded, folder, oracle)

    def close(self) -> None:
        """Delete the traces."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def floors(self, dtype: str) -> floors.Floors:
        key = f"_floors_{dtype}"
        if key not in vars(self):
            measured = floors.measure(
                self.network,
                self.shared.options,
                self.images,
                self.shared.arrays,
                self.oracle,
                dtype,
            )
            setattr(self, key, measured)
        return getattr(self, key)

    def net(self, backend: str, dtype: str) -> Any:
        """Return the loaded network; it is shared, so any fault must be undone."""
        options = tuple(self.shared.options.items())
        build = _large_built if self.network in LARGE else _built
        net, held = build(backend, self.network, options, dtype)
        if held != [self.shared.sha256]:
            backend_of(backend).set_weights(net, self.shared.arrays)
            held[:] = [self.shared.sha256]
        return net

    def run(
        self,
        backend: str,
        dtype: str = "float64",
        mode: str = "propagated",
        plant: Callable[[Adapter, Any], Callable[[], None]] | None = None,
        adapter: Adapter | None = None,
    ) -> Report:
        """Run a backend, optionally with a fault planted meanwhile, and compare it."""
        adapter = adapter or backend_of(backend)
        net = self.net(backend, dtype)
        undo = plant(adapter, net) if plant is not None else None
        job = Job(self.network, self.shared.options, dtype, mode)
        try:
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                out = Path(folder) / "trace"
                trace = record(adapter, net, job, self.images, self.shared.arrays, out, self.oracle)
                known = None if dtype == "float64" else self.floors(dtype)
                return compare(trace, self.oracle, known)
        finally:
            if undo is not None:
                undo()

    def changed_by(self, backend: str, plant: Callable[[Adapter, Any], Callable[[], None]]) -> bool:
        """Return whether a fault changes what a backend computes, or which endpoints it has."""
        adapter, net = backend_of(backend), self.net(backend, "float64")

        def look() -> tuple[Any, list[str]]:
            output = adapter.forward(net, adapter.to_native(self.images, "float64"))
            return adapter.to_shared(output), [path for path, *_ in adapter.modules(net)]

        clean, paths = look()
        undo = plant(adapter, net)
        try:
            faulty, left = look()
        finally:
            undo()
        return left != paths or not np.array_equal(faulty, clean)


@lru_cache(maxsize=4)
def googlenet(batch_norm: bool, size: int, batch: int = 2, seed: int = 0) -> Bench:
    options = {"in_channels": 3, "batch_norm": batch_norm}
    return Bench.make("googlenet", options, (size, size), batch, seed)
