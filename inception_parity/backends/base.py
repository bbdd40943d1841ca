"""What the engine needs from a framework, and the one way in which a job is run.

An adapter knows how one framework builds a network, converts arrays, and lets
something happen before and after each layer. Everything else is here, once.
"""

from __future__ import annotations

import importlib
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import versions
from ..files import digest
from ..networks import catalogue
from ..numerics import to_dtype
from ..traces.trace import INPUT, Run, Trace, TraceWriter
from ..workers.request import Job
from .recipe import Recipe

Before = Callable[[tuple[Any, ...]], tuple[Any, ...]]
After = Callable[[tuple[Any, ...], Any], None]
Factors = Callable[[tuple[int, ...]], NDArray[np.float64]]


class UnavailableError(Exception):
    """The framework isn't installed, can't be loaded, or lacks the device or dtype."""


class Adapter(ABC):
    """One framework, on one device."""

    name: ClassVar[str]
    dtypes: ClassVar[tuple[str, ...]] = ("float64", "float32")
    bn_momentum: ClassVar[float] = 0.9  # share of batch norm's old statistics, as it is kept

    def __init__(self, device: str) -> None:
        self.device = device
        self.package = catalogue.BACKENDS[self.name].package

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return the versions of the framework and of what it computes with."""

    def prepare(  # noqa: B027
        self, job: Job, weights: Mapping[str, NDArray[Any]], size: tuple[int, int], folder: Path,
        file: Path | None,
    ) -> None:  # fmt: skip
        """Make what `build` needs beside its arguments; only a backend that runs files does.

        Args:
            job: the network and its options.
            weights: shared weights.
            size: (height, width) of the images.
            folder: for files that are made.
            file: the user's own file, if there is one.
        """

    @abstractmethod
    def build(self, network: catalogue.Network, options: Mapping[str, Any], dtype: str) -> Any:
        """Return the network, in inference mode, in `dtype`, on the device."""

    @abstractmethod
    def modules(self, net: Any) -> Iterator[tuple[str, Any, bool]]:
        """Yield (dotted path, module, whether it is a leaf), the network itself first."""

    @abstractmethod
    def attach(self, module: Any, before: Before, after: After) -> Callable[[], None]:
        """Let `before` replace the module's inputs and `after` see its output.

        Returns:
            What undoes it.
        """

    @abstractmethod
    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        """Return an array of the shared layout as the framework's tensor."""

    @abstractmethod
    def to_shared(self, tensor: Any) -> NDArray[Any]:
        """Return a copy of a tensor in the shared layout; bfloat16 as float32."""

    @abstractmethod
    def dtype_of(self, tensor: Any) -> str:
        """Return the name of the tensor's dtype."""

    def dropout(self, module: Any) -> float | None:
        """Return with what probability a module drops values; None if it isn't a dropout."""
        return None

    def multiply_by(self, module: Any, factors: Factors | None) -> None:
        """Let a dropout layer, in training, multiply by given factors instead of drawing a mask.

        Args:
            module: the layer.
            factors: from a shape in the shared layout to the factors, called in each step; None
                to drop nothing.
        """
        raise UnavailableError(f"{self.name} doesn't train")

    def control_dropout(self, net: Any, factors_of: Callable[[str, float], Factors] | None) -> None:
        """Take the randomness out of every dropout layer, for good.

        Args:
            net: the network; its `training` is made afterwards.
            factors_of: from a layer's path and the probability of dropping a value to what the
                layer multiplies by; None to drop nothing.
        """
        for path, module, _ in self.modules(net):
            p = self.dropout(module)
            if p is not None:
                self.multiply_by(module, factors_of(path, p) if factors_of else None)

    @property
    def bn_unbiased(self) -> bool:
        """Whether batch norm's running variance takes in the batch's by n - 1, not by n."""
        return False

    def training(self, net: Any, recipe: Recipe, keep_gradients: bool = False) -> Any:
        """Return the package's `Training` of a network, with loss and optimizer of the recipe.

        Args:
            net: the network; the recipe's frozen arrays are frozen in it.
            recipe: how it is trained.
            keep_gradients: whether `gradients` will be called, for which Keras must keep them.
        """
        raise UnavailableError(f"{self.name} doesn't train")

    def gradients(self, net: Any, training: Any) -> dict[str, NDArray[Any]]:
        """Return the gradients of the mean loss in the last step, by shared name and layout."""
        raise UnavailableError(f"{self.name} has no gradients")

    def input_gradient(
        self, net: Any, training: Any, images: NDArray[Any], labels: NDArray[Any]
    ) -> NDArray[Any]:
        """Return the mean loss's gradient by the images; it moves batch norm's statistics."""
        raise UnavailableError(f"{self.name} has no gradients")

    def forward(self, net: Any, x: Any) -> Any:
        """Run the network on a native tensor, layer by layer, without gradients."""
        return net(x)

    def get_weights(self, net: Any) -> dict[str, NDArray[Any]]:
        """Read the weights back out of a network."""
        weights: dict[str, NDArray[Any]] = importlib.import_module(self.package).get_weights(net)
        return weights

    def set_weights(self, net: Any, weights: Mapping[str, NDArray[Any]]) -> None:
        """Load shared weights into a network."""
        importlib.import_module(self.package).set_weights(net, weights)


def adapter(name: str, device: str = "cpu") -> Adapter:
    """Return the adapter of backend `name`, which imports its framework.

    Raises:
        UnavailableError: the framework can't be imported, or has no such device.
    """
    info = catalogue.backend(name)
    try:
        module = importlib.import_module(f".{name}", __package__)
        found: Adapter = module.Backend(device)
    except ImportError as error:
        hint = f"; pip install 'inception-parity[{info.extra}]'" if error.name else ""
        raise UnavailableError(f"{info.title}: {error}{hint}") from error
    return found


def run_job(
    backend: Adapter,
    job: Job,
    images: NDArray[np.float64],
    weights: Mapping[str, NDArray[Any]],
    out: Path,
    oracle: Trace | None = None,
) -> Trace:
    """Build the network, load the weights, run it, and leave a trace in `out`.

    Args:
        backend: where to run it.
        job: what to run.
        images: (N, C, H, W), preprocessed.
        weights: shared weights.
        out: the folder to make.
        oracle: for isolated mode, where each layer's inputs come from.

    Raises:
        UnavailableError: the backend can't compute in the job's dtype.
    """
    return record(backend, loaded(backend, job, weights), job, images, weights, out, oracle)


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
    """Run a live network and leave a trace in `out`; the arguments are those of `run_job`.

    The weights are read back first, and the trace says which of them the
    network doesn't hold as they were given.
    """
    with TraceWriter(out) as writer:
        read_back = backend.get_weights(net)
        problems = compare_weights(read_back, weights, job.dtype)
        for name in problems:
            if name in read_back and name in weights:
                writer.hold(name, read_back[name])  # for the diagnosis
        recorder = _Recorder(backend, catalogue.network(job.network), job, writer, oracle)
        start = time.perf_counter()
        with recorder.attached(net):
            backend.forward(net, backend.to_native(images, job.dtype))
        seconds = time.perf_counter() - start
        run = Run(
            job.network,
            dict(job.options),
            backend.name,
            job.dtype,
            backend.device,
            job.mode,
            digest({"images": images}),
            digest(read_back if problems else dict(weights)),
        )
        lines = [f"{name}: {problem}" for name, problem in problems.items()]
        return writer.close(run, versions.recorded(backend.versions()), seconds, lines)


def compare_weights(
    read_back: Mapping[str, NDArray[Any]], given: Mapping[str, NDArray[Any]], dtype: str
) -> dict[str, str]:
    """Return what is wrong with every array that isn't held bit for bit as it was given."""
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


class _Recorder:
    """Records every endpoint while a network runs, and feeds isolated layers."""

    def __init__(
        self,
        backend: Adapter,
        network: catalogue.Network,
        job: Job,
        writer: TraceWriter,
        oracle: Trace | None,
    ) -> None:
        self.backend = backend
        self.network = network
        self.job = job
        self.writer = writer
        self.oracle = oracle if job.mode == "isolated" else None
        # id of a tensor -> the tensor, weakly, and the endpoint that it is
        self.producers: dict[int, tuple[weakref.ref[Any], str]] = {}

    def attached(self, net: Any) -> ExitStack:
        """Return a context in which `net` is recorded."""
        stack = ExitStack()
        for path, module, leaf in self.backend.modules(net):
            if path and self.job.endpoints and path not in self.job.endpoints:
                continue
            before, after = self._callbacks(path, module, leaf)
            stack.callback(self.backend.attach(module, before, after))
        return stack

    def _callbacks(self, path: str, module: Any, leaf: bool) -> tuple[Before, After]:
        kind = module.describe() if hasattr(module, "describe") else ""

        def before(args: tuple[Any, ...]) -> tuple[Any, ...]:
            if path == "":
                self._record(INPUT, args[0], "images", ())
            if leaf and self.oracle is not None and path in self.oracle.endpoints:
                names = self.oracle.endpoints[path].inputs
                return tuple(
                    self.backend.to_native(self.oracle.array(name), self.job.dtype)
                    for name in names
                )
            return args

        def after(args: tuple[Any, ...], output: Any) -> None:
            if path:
                sources = args if leaf else (output,)
                self._record(path, output, kind, sources, leaf)
                return
            outputs = output if isinstance(output, (tuple, list)) else (output,)
            for name, tensor in zip(self.network.outputs, outputs, strict=False):
                self._record(name, tensor, "output", (tensor,), False)

        return before, after

    def _record(
        self, name: str, tensor: Any, kind: str, sources: tuple[Any, ...], leaf: bool = True
    ) -> None:
        inputs = [p for p in map(self._producer, sources) if p is not None]
        self.writer.add(
            name,
            self.backend.to_shared(tensor),
            kind=kind,
            dtype=self.backend.dtype_of(tensor),
            inputs=inputs,
            leaf=leaf,
        )
        # A block's output is known by the layer that made it, and only the
        # oracle's tensors keep their identity from layer to layer for sure.
        if self.backend.name == catalogue.ORACLE and self._producer(tensor) is None:
            self.producers[id(tensor)] = (weakref.ref(tensor), name)

    def _producer(self, tensor: Any) -> str | None:
        ref, name = self.producers.get(id(tensor), (None, None))
        return name if ref is not None and ref() is tensor else None
