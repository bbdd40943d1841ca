"""How a network is run and recorded: in one way, whatever the framework."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import versions
from ..files import digest
from ..networks import catalogue
from ..numerics import to_dtype
from ..traces.trace import INPUT, Run, Trace, TraceWriter
from ..workers.request import Job
from .base import Adapter, After, Before, UnavailableError


def loaded(backend: Adapter, job: Job, weights: Mapping[str, NDArray[Any]]) -> Any:
    """Return the job's network in its dtype, with the weights loaded.

    Raises:
        UnavailableError: the backend can't compute in the job's dtype.
        ValueError: the weights don't fit.
    """
    if job.dtype not in backend.dtypes:
        has = ", ".join(backend.dtypes)
        raise UnavailableError(f"{backend.name} can't compute in {job.dtype} here, only in {has}")
    net = backend.build(catalogue.network(job.network), job.options, job.dtype)
    backend.set_weights(net, weights)
    return net


def record(
    backend: Adapter,
    net: Any,
    job: Job,
    images: NDArray[np.float64],
    weights: Mapping[str, NDArray[Any]],
    out: Path,
    oracle: Trace | None = None,
) -> Trace:
    """Run a live network and leave a trace.

    Args:
        backend: where the network lives.
        net: the network, with the weights loaded.
        job: what the network is, and what to record.
        images: (N, C, H, W), preprocessed.
        weights: shared weights, as they were loaded.
        out: the folder to make.
        oracle: for isolated mode, where each layer's inputs come from.
    """
    with open_trace(backend, net, job, images, weights, out) as writer:
        recorder = _Recorder(backend, job, writer, oracle if job.mode == "isolated" else None)
        with recorder.attached(net):
            backend.forward(net, backend.to_native(images, job.dtype))
    return Trace.read(out)


@contextlib.contextmanager
def open_trace(
    backend: Adapter,
    net: Any,
    job: Job,
    images: NDArray[np.float64],
    weights: Mapping[str, NDArray[Any]],
    out: Path,
    recipe: str = "",
) -> Iterator[TraceWriter]:
    """Open a trace of a live network, which appears at the end, with the time that it took.

    The weights are read back first, and the trace says which of them the network doesn't hold as
    they were given. The arguments are those of `record`; `recipe` says how the network is trained.
    """
    with TraceWriter(out) as writer:
        read_back = backend.get_weights(net)
        problems = compare_weights(read_back, weights, job.dtype)
        for name in problems:
            if name in read_back and name in weights:
                writer.hold(name, read_back[name])  # for the diagnosis
        held = read_back if problems else dict(weights)
        del read_back  # the network has them
        start = time.perf_counter()
        yield writer
        seconds = time.perf_counter() - start
        run = Run(
            job.network, dict(job.options), backend.name, job.dtype, backend.device, job.mode,
            digest({"images": images}), digest(held), recipe,
        )  # fmt: skip
        lines = [f"{name}: {problem}" for name, problem in problems.items()]
        writer.close(run, versions.recorded(backend.versions()), seconds, lines)


def compare_weights(
    read_back: Mapping[str, NDArray[Any]], given: Mapping[str, NDArray[Any]], dtype: str
) -> dict[str, str]:
    """Return what is wrong with each array that the network doesn't hold bit for bit as given."""
    problems = {}
    for name, array in given.items():
        found = read_back.get(name)
        array = to_dtype(array, dtype)
        if found is None:
            problems[name] = "not in the network"
        elif found.shape != array.shape:
            problems[name] = f"shape {found.shape}, but {array.shape} was loaded"
        elif not np.array_equal(found, array):
            changed = int((found != array).sum())
            problems[name] = f"{changed} of {array.size} elements are not as loaded"
    for name in read_back:
        if name not in given:
            problems[name] = "in the network, but not loaded"
    return problems


@dataclass(frozen=True)
class _Recorder:
    """Records every endpoint while a network runs, and feeds layers from the oracle if given."""

    backend: Adapter
    job: Job
    writer: TraceWriter
    oracle: Trace | None
    # id of a tensor -> the tensor, weakly, and the endpoint that it is
    producers: dict[int, tuple[weakref.ref[Any], str]] = field(default_factory=dict)

    def attached(self, net: Any) -> contextlib.ExitStack:
        """Return a context in which `net` is recorded."""
        stack = contextlib.ExitStack()
        for path, module, leaf in self.backend.modules(net):
            if not path:
                before, after = self._around_network()
            elif self.job.endpoints and path not in self.job.endpoints:
                continue
            else:
                before, after = self._around(path, module, leaf)
            stack.callback(self.backend.attach(module, before, after))
        return stack

    def _around_network(self) -> tuple[Before, After]:
        def before(args: tuple[Any, ...]) -> tuple[Any, ...]:
            self._record(INPUT, args[0], "images", ())
            return args

        def after(args: tuple[Any, ...], output: Any) -> None:
            outputs = output if isinstance(output, (tuple, list)) else (output,)
            network = catalogue.network(self.job.network)
            names = network.outputs_with(self.job.options)
            for name, tensor in zip(names, outputs, strict=False):
                self._record(name, tensor, "output", (tensor,), leaf=False)

        return before, after

    def _around(self, path: str, module: Any, leaf: bool) -> tuple[Before, After]:
        kind = module.describe() if hasattr(module, "describe") else ""

        def before(args: tuple[Any, ...]) -> tuple[Any, ...]:
            oracle = self.oracle
            if not leaf or oracle is None or path not in oracle.endpoints:
                return args
            arrays = [oracle.array(name) for name in oracle.endpoints[path].inputs]
            return tuple(self.backend.to_native(array, self.job.dtype) for array in arrays)

        def after(args: tuple[Any, ...], output: Any) -> None:
            self._record(path, output, kind, args if leaf else (output,), leaf)

        return before, after

    def _record(
        self, name: str, tensor: Any, kind: str, sources: tuple[Any, ...], leaf: bool = True
    ) -> None:
        self.writer.add(
            name,
            self.backend.to_shared(tensor),
            kind=kind,
            dtype=self.backend.dtype_of(tensor),
            inputs=[known for known in map(self._producer, sources) if known is not None],
            leaf=leaf,
        )
        # A block's output is known by the layer that made it, and only the
        # oracle's tensors keep their identity from layer to layer for sure.
        if self.backend.name == catalogue.ORACLE and self._producer(tensor) is None:
            self.producers[id(tensor)] = (weakref.ref(tensor), name)

    def _producer(self, tensor: Any) -> str | None:
        ref, name = self.producers.get(id(tensor), (None, None))
        return name if ref is not None and ref() is tensor else None
