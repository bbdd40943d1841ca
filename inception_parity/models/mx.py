"""Captures any Gluon block, hybridized or not: every operation as it is invoked."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

# Errors surface where they happen, and operations run in the order of the source.
os.environ.setdefault("MXNET_ENGINE_TYPE", "NaiveEngine")

# Not through `inception_mx`, which turns on `mx.np` for the whole process: here the
# process is the user's, and MXNet is loaded already, since there is a block of it.
import mxnet
import numpy as np

from ..errors import InputError
from . import mx_recurrent
from .capturer import Array, CannotRunError, Capturer, Conditions, Watch, flattened
from .inputs import Arguments, Parameters, parameters_of
from .mx_ops import OPERATIONS, short, value_of
from .operations import ROLES, Call
from .recorder import Recorder, Slot


class GluonCapturer(Capturer):
    """MXNet Gluon, where the block's parameters are."""

    name = "mx"
    forces = True

    def versions(self) -> dict[str, str]:
        return {"mxnet": mxnet.__version__}

    def title(self, model: Any) -> str:
        return type(model).__name__

    def parameters(self, model: Any) -> Parameters:
        """Return those of `forward`, or of `hybrid_forward` without the weights."""
        if type(model).forward is not mxnet.gluon.HybridBlock.forward:
            return parameters_of(model.forward)
        if type(model).hybrid_forward is mxnet.gluon.HybridBlock.hybrid_forward:
            return Parameters(several=True)
        found = parameters_of(model.hybrid_forward, skip=1)
        names = tuple(name for name in found.names if name not in model._reg_params)
        return replace(found, names=names, required=min(found.required, len(names)), any_name=False)

    def build(self, model: Any, given: Arguments) -> None:
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
            with imperative(model):
                either(lambda: model(*self.call(model, arrays_of(given, model))))

    def run(self, model: Any, given: Arguments, how: Conditions, recorder: Recorder) -> None:
        if how.dtype == "bfloat16":
            raise CannotRunError("MXNet has no bfloat16 outside of oneDNN; give another dtype")
        with held(model, how), imperative(model):
            given = arrays_of(given, model)
            for tensor in given.leaves():
                recorder.input(tensor)

            def run() -> Any:
                watch = _Watch(model, recorder)
                with watch.attached(), mxnet.autograd.pause(train_mode=how.training):
                    return model(*self.call(model, given))

            try:
                output = run()
            except Exception:  # what the wrong interface leads to, unless a layer has run
                if recorder.layers.keys() - set(recorder.inputs):
                    raise
                output = _other(run)  # of the older interface, or of the newer one
            for tensor in flattened(output, mxnet.nd.NDArray):
                recorder.output(tensor)

    def call(self, model: Any, given: Arguments) -> list[Any]:
        """Return the arguments by position, as Gluon takes them."""
        return given.by_position(self.parameters(model).names)

    def convert(self, tensor: Any) -> Array:
        array: Array = tensor.asnumpy()
        return array


@contextlib.contextmanager
def held(model: Any, how: Conditions) -> Iterator[None]:
    """Let a block compute in a dtype, with copies of its parameters, some of them replaced."""
    before = [(p, p._data, p._grad, p._dtype) for p in model.collect_params().values()]
    try:
        for parameter, data, _, _ in before:
            array = how.replaced.get(parameter.name)
            parameter._data = [_copy(part, how.dtype, array) for part in data]
            parameter._grad, parameter._dtype = None, how.dtype
        yield
    finally:
        for parameter, data, grad, own in before:
            parameter._data, parameter._grad, parameter._dtype = data, grad, own


def _copy(array: Any, dtype: str, value: Array | None) -> Any:
    new = array.astype(dtype, copy=True)
    if value is not None:
        new[:] = value
    return new


@contextlib.contextmanager
def imperative(model: Any) -> Iterator[None]:
    """Let hybridized blocks run operation by operation; their compiled graphs are kept."""
    active = [(block, block._active) for _, block in _blocks(model) if hasattr(block, "_active")]
    try:
        for block, _ in active:
            block._active = False
        yield
    finally:
        for block, was in active:
            block._active = was


def either(run: Any) -> Any:
    """Run under MXNet's interface that is on, or else under the other."""
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


def arrays_of(given: Arguments, model: Any) -> Arguments:
    """Return the arguments as MXNet's arrays."""
    context = next(iter(model.collect_params().values()), None)
    where = mxnet.cpu() if context is None or context._data is None else context.list_ctx()[0]
    make = mxnet.np.array if mxnet.util.is_np_array() else mxnet.nd.array
    leaves = given.leaves()
    return given.filled([make(array, dtype=array.dtype, ctx=where) for array in leaves])


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


class _Watch(Watch):
    """Sees every operation, and in which block."""

    def __init__(self, model: Any, recorder: Recorder) -> None:
        super().__init__(recorder, _blocks(model))
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
            return call(block, *args) if self.ignoring else self._block(call, block, args)

        def invoked(handle: int, given: Any, keys: Any, values: Any, *rest: Any) -> Any:
            output = invoke(handle, given, keys, values, *rest)
            if not self.ignoring:
                with self.ignored():
                    own = _operations().get(handle, "operation")
                    self._operation(own, given, dict(zip(keys, values, strict=False)), output)
            return output

        base.__call__, register._imperative_invoke = called, invoked
        try:
            with self._views():
                yield
        finally:
            base.__call__, register._imperative_invoke = call, invoke

    @contextlib.contextmanager
    def _views(self) -> Iterator[None]:
        """Hear of indexing and reshaping, which may return a view and invoke nothing."""
        methods = {"__getitem__": "index", "reshape": "reshape"}
        kept = [
            (kind, name, vars(kind)[name])
            for kind in (mxnet.nd.NDArray, mxnet.np.ndarray)
            for name in methods
            if name in vars(kind)
        ]

        def watched(method: Any, name: str) -> Any:
            @functools.wraps(method)
            def called(array: Any, *args: Any, **kwargs: Any) -> Any:
                if self.ignoring:
                    return method(array, *args, **kwargs)
                with self.ignored():
                    output = method(array, *args, **kwargs)
                    key = args[0] if args else None
                    self._operation(name, [array], {"key": key}, output)
                return output

            return called

        try:
            for kind, name, method in kept:
                setattr(kind, name, watched(method, methods[name]))
            yield
        finally:
            for kind, name, method in kept:
                setattr(kind, name, method)

    def _block(self, call: Any, block: Any, args: Any) -> Any:
        own = type(block).__name__
        path = self.begin(block, own.lower())
        try:
            output = call(block, *args)
        finally:
            self.stack.pop()
        arrays = flattened(output, mxnet.nd.NDArray)
        if not _is_layer(block) and len(arrays) == 1:
            self.recorder.block(path, arrays[0], own)
        return output

    def _operation(self, own: str, given: Any, attributes: dict[str, Any], output: Any) -> None:
        fed = [array for array in given if id(array) not in self.parameters]
        if not any(self.recorder.producer(array) for array in fed):
            return
        name = short(own)
        arguments = OPERATIONS.named(name, given)
        arguments |= {key: value_of(value) for key, value in attributes.items()}
        if mx_recurrent.taken_apart(name, self.current[0], arguments):
            fused = mx_recurrent.Fused(self.current[0], given)
            outputs = output if isinstance(output, list) else [output]
            names = self.name("rnn", True)
            if mx_recurrent.record(self.recorder, fused, given, outputs, names):
                return
        unused = "weight" if arguments.get("fix_gamma") in (True, 1) else ""
        weights = {
            role: _slot(name, self.parameters[id(array)], array.asnumpy(), given[0])
            for role, array in arguments.items()
            if role in ROLES and role != unused and id(array) in self.parameters
        }
        outputs = output if isinstance(output, list) else [output]
        call = Call(name, arguments, fed, outputs[0], None, weights)
        kind, settings = OPERATIONS.describe(call)
        part = self.current[0]
        own_name = own.lower().removeprefix("_npi_").removeprefix("_npx_").removeprefix("_np_")
        path, block = self.name(own_name.strip("_"), part is not None and _is_layer(part))
        self.recorder.layer(path, kind, settings, fed, outputs, weights, block, own)
        for made in outputs:
            self.recorder.given_on(made, _fill)


def _fill(made: Any, array: Array) -> Any:
    made[:] = array
    return made


def _slot(operation: str, key: str, array: Array, x: Any) -> Slot:
    """Return a parameter's slot; a group norm here has one weight for each group."""
    if operation == "deconvolution" and array.ndim > 1:
        return Slot.transposed(key, array, (1, 0, *range(2, array.ndim)))
    channels = int(x.shape[1]) if len(x.shape) > 1 else 0
    if operation == "groupnorm" and channels > len(array):
        each = channels // len(array)
        return Slot(key, np.repeat(array, each), lambda shared: shared[::each])
    return Slot(key, array)


def _is_layer(block: Any) -> bool:
    """Return whether a block is one of Gluon's own layers, rather than a container of them."""
    own = type(block).__module__.startswith("mxnet.gluon.")
    containers = (mxnet.gluon.nn.Sequential, mxnet.gluon.nn.HybridSequential)
    zoo = type(block).__module__.startswith("mxnet.gluon.model_zoo")
    concurrent = type(block).__name__ in ("HybridConcurrent", "Concurrent")
    return own and not zoo and not concurrent and not isinstance(block, containers)
