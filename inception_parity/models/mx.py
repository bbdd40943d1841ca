"""Captures any Gluon block, hybridized or not: every operation as it is invoked."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any

# Errors surface where they happen, and operations run in the order of the source.
os.environ.setdefault("MXNET_ENGINE_TYPE", "NaiveEngine")

# Not through `inception_mx`, which turns on `mx.np` for the whole process: here the
# process is the user's, and MXNet is loaded already, since there is a block of it.
import mxnet
import numpy as np

from ..errors import InputError
from .capturer import Array, Capturer, Replacements
from .mx_ops import WEIGHTS, settings_of
from .recorder import Recorder, Slot


class GluonCapturer(Capturer):
    """MXNet Gluon, where the block's parameters are."""

    name = "mx"

    def versions(self) -> dict[str, str]:
        return {"mxnet": mxnet.__version__}

    def title(self, model: Any) -> str:
        return type(model).__name__

    def build(self, model: Any, inputs: Sequence[Array], layout: str) -> None:
        parameters = model.collect_params().values()
        for path, block in _blocks(model):
            if isinstance(block, mxnet.gluon.SymbolBlock):
                raise InputError(
                    f"{path or type(block).__name__}: a SymbolBlock hides its layers; "
                    "give the block that it was made from, or an ONNX file"
                )
        bare = [p.name for p in parameters if p._data is None and not p._deferred_init]
        if bare:
            raise InputError(
                f"{bare[0]} and {len(bare) - 1} other parameters have no values; "
                "call the block's initialize() or load_parameters() first"
            )
        if any(p._data is None for p in parameters):
            with _imperative(model):
                _either(lambda: model(*_arguments(model, inputs, "float32")))

    @contextlib.contextmanager
    def held(
        self, model: Any, dtype: str, training: bool, replaced: Replacements
    ) -> Iterator[None]:
        parameters = list(model.collect_params().values())
        before = [(p, p._data, p._grad, p._dtype) for p in parameters]
        try:
            for parameter, data, _, _ in before:
                array = replaced.get(parameter.name)
                parameter._data = [_copy(part, dtype, array) for part in data]
                parameter._grad, parameter._dtype = None, dtype
            self._training = training
            with _imperative(model):
                yield
        finally:
            for parameter, data, grad, own in before:
                parameter._data, parameter._grad, parameter._dtype = data, grad, own

    def run(
        self, model: Any, inputs: Sequence[Array], layout: str, dtype: str, recorder: Recorder
    ) -> None:
        tensors = _arguments(model, inputs, dtype)
        for tensor in tensors:
            recorder.input(tensor, tensor.asnumpy())

        def run() -> Any:
            watch = _Watch(model, recorder)
            with watch.attached(), mxnet.autograd.pause(train_mode=self._training):
                return model(*tensors)

        try:
            output = run()
        except Exception:  # what the wrong interface leads to, unless a layer has run
            if recorder.layers.keys() - set(recorder.inputs):
                raise
            output = _other(run)  # of the older interface, or of the newer one
        for tensor in _arrays(output):
            recorder.output(tensor, tensor.asnumpy())

    def convert(self, tensor: Any) -> Array:
        array: Array = tensor.asnumpy()
        return array


def _copy(array: Any, dtype: str, value: Array | None) -> Any:
    new = array.astype(dtype, copy=True)
    if value is not None:
        new[:] = value
    return new


@contextlib.contextmanager
def _imperative(model: Any) -> Iterator[None]:
    """Let hybridized blocks run operation by operation; their compiled graphs are kept."""
    active = [(block, block._active) for _, block in _blocks(model) if hasattr(block, "_active")]
    try:
        for block, _ in active:
            block._active = False
        yield
    finally:
        for block, was in active:
            block._active = was


def _either(run: Any) -> Any:
    try:
        return run()
    except Exception:
        return _other(run)


def _other(run: Any) -> Any:
    """Run under the other of MXNet's two interfaces: `mx.np`, or the older `mx.nd`."""
    array, shape = mxnet.util.np_array, mxnet.util.np_shape
    if mxnet.util.is_np_array():
        with array(False), shape(False):
            return run()
    with shape(True), array(True):  # arrays of `mx.np` need its shapes, in and out
        return run()


def _blocks(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, model
    for name, child in model._children.items():
        yield from _blocks(child, f"{path}.{_attribute(model, name, child)}".lstrip("."))


def _attribute(owner: Any, name: str, child: Any) -> str:
    """Return what the source calls a child: the attribute, or its place in a container."""
    return next((k for k, v in vars(owner).items() if v is child), str(name))


def _arguments(model: Any, inputs: Sequence[Array], dtype: str) -> list[Any]:
    context = next(iter(model.collect_params().values()), None)
    where = mxnet.cpu() if context is None or context._data is None else context.list_ctx()[0]
    make = mxnet.np.array if mxnet.util.is_np_array() else mxnet.nd.array
    return [
        make(a, dtype=dtype if np.issubdtype(a.dtype, np.floating) else a.dtype, ctx=where)
        for a in inputs
    ]


def _arrays(value: Any) -> list[Any]:
    if isinstance(value, mxnet.nd.NDArray):
        return [value]
    if isinstance(value, (tuple, list)):
        return [array for part in value for array in _arrays(part)]
    return []


@functools.cache
def _operations() -> dict[int, str]:
    """Return the handle of every operation, and its first name."""
    from mxnet.base import _LIB, check_call, py_str

    size, names = ctypes.c_uint(), ctypes.POINTER(ctypes.c_char_p)()
    check_call(_LIB.MXListAllOpNames(ctypes.byref(size), ctypes.byref(names)))
    found: dict[int, str] = {}
    for index in range(size.value):
        handle = ctypes.c_void_p()
        check_call(_LIB.NNGetOpHandle(names[index], ctypes.byref(handle)))
        found.setdefault(int(handle.value or 0), py_str(names[index]))
    return found


class _Watch:
    """Sees every operation, and in which block."""

    def __init__(self, model: Any, recorder: Recorder) -> None:
        self.recorder = recorder
        self.paths = {id(block): path for path, block in _blocks(model)}
        self.stack: list[tuple[Any, str]] = []
        self.quiet = False
        self.calls = 0
        self.named: set[tuple[str, int]] = set()
        self.parameters = {
            id(array): parameter.name
            for parameter in model.collect_params().values()
            for array in parameter._data
        }

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hear of blocks and operations. No block is changed, only their common class."""
        from mxnet.ndarray import register

        base, invoke = mxnet.gluon.Block, register._imperative_invoke
        call = base.__call__

        def called(block: Any, *args: Any) -> Any:
            if self.quiet:
                return call(block, *args)
            return self._block(call, block, args)

        def invoked(handle: int, given: Any, keys: Any, values: Any, *rest: Any) -> Any:
            output = invoke(handle, given, keys, values, *rest)
            if not self.quiet:
                self.quiet = True  # what recording itself computes isn't the model's
                try:
                    own = _operations().get(handle, "operation")
                    self._operation(own, given, dict(zip(keys, values, strict=False)), output)
                finally:
                    self.quiet = False
            return output

        base.__call__, register._imperative_invoke = called, invoked
        try:
            yield
        finally:
            base.__call__, register._imperative_invoke = call, invoke

    def _block(self, call: Any, block: Any, args: Any) -> Any:
        above = self.stack[-1][1] if self.stack else ""
        made_here = f"{above}.{type(block).__name__.lower()}".lstrip(".")
        path = self.paths.get(id(block), made_here)
        self.calls += 1
        self.stack.append((block, path))
        try:
            output = call(block, *args)
        finally:
            self.stack.pop()
        arrays = _arrays(output)
        if not _is_layer(block) and len(arrays) == 1:
            kind = type(block).__name__
            self.recorder.block(path, arrays[0], kind, self.recorder.convert)
        return output

    def _operation(self, own: str, given: Any, attributes: dict[str, Any], output: Any) -> None:
        fed = [a for a in given if id(a) not in self.parameters]
        if not any(self.recorder.producer(a) for a in fed):
            return
        kind, settings = settings_of(own, attributes, fed, given)
        weights = {}
        for role, array in zip(WEIGHTS.get(own, ()), given[1:], strict=False):
            if id(array) in self.parameters and not (
                role == "weight" and str(attributes.get("fix_gamma", False)) in ("True", "1")
            ):
                weights[role] = Slot(self.parameters[id(array)], array.asnumpy())
        path, block = self._name(own)
        outputs = [output] if not isinstance(output, list) else output
        for index, array in enumerate(outputs):
            name = path if len(outputs) == 1 else f"{path}.{index}"
            shared = array.asnumpy()
            self.recorder.layer(name, kind, settings, fed, array, shared, weights, block, own)

    def _name(self, own: str) -> tuple[str, str]:
        """Return what an operation is known by: its block, if that is a layer."""
        block, path = self.stack[-1] if self.stack else (None, "")
        above = path.rpartition(".")[0]
        if block is not None and _is_layer(block) and (path, self.calls) not in self.named:
            self.named.add((path, self.calls))
            return path, above
        short = own.lower().removeprefix("_npi_").removeprefix("_npx_").removeprefix("_np_")
        return f"{path}.{short.strip('_')}".lstrip("."), path


def _is_layer(block: Any) -> bool:
    """Return whether a block is one of Gluon's own layers, rather than a container of them."""
    own = type(block).__module__.startswith("mxnet.gluon.")
    containers = (mxnet.gluon.nn.Sequential, mxnet.gluon.nn.HybridSequential)
    zoo = type(block).__module__.startswith("mxnet.gluon.model_zoo")
    concurrent = type(block).__name__ in ("HybridConcurrent", "Concurrent")
    return own and not zoo and not concurrent and not isinstance(block, containers)
