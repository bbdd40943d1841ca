"""Captures any Keras 3 model on TensorFlow, run eagerly: layers and raw operations."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from ..backends.quiet import import_tensorflow

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import_tensorflow()

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_callbacks

from ..errors import InputError
from . import tf_layers, tf_ops
from .capturer import Array, Capturer, Replacements
from .layouts import LAST, Layouts
from .recorder import Recorder

RAW = "raw"  # TensorFlow's own operations, outside of any Keras layer


class KerasCapturer(Capturer):
    """Keras 3 on TensorFlow."""

    name = "tf"

    def __init__(self) -> None:
        if keras.backend.backend() != "tensorflow":
            raise InputError(
                f"Keras runs on {keras.backend.backend()}, but should run on tensorflow; "
                "set KERAS_BACKEND=tensorflow"
            )

    def versions(self) -> dict[str, str]:
        return {"tensorflow": tf.__version__, "keras": keras.__version__}

    def title(self, model: Any) -> str:
        own = type(model).__name__
        return str(model.name) if own in ("Functional", "Sequential") else own

    def layout(self, model: Any) -> str:
        """Return what the first layer with a data format says; else what Keras is set to."""
        for layer in model._flatten_layers(include_self=False):
            found = getattr(layer, "data_format", None)
            if found in ("channels_last", "channels_first"):
                return "NHWC" if found == "channels_last" else "NCHW"
        return "NHWC" if keras.config.image_data_format() == "channels_last" else "NCHW"

    def build(self, model: Any, inputs: Sequence[Array], layout: str) -> None:
        layers = list(model._flatten_layers())
        if not all(layer.built for layer in layers) or not model.variables:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Keras on models without a build() of their own
                model(*_arguments(model, inputs, layout, "float32"), training=False)

    @contextlib.contextmanager
    def held(
        self, model: Any, dtype: str, training: bool, replaced: Replacements
    ) -> Iterator[None]:
        layers = list({id(x): x for x in model._flatten_layers()}.values())
        policies = [(layer, layer._dtype_policy) for layer in layers]
        variables = [(v, v._value, v._dtype) for v in {id(v): v for v in model.variables}.values()]
        floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
        try:
            keras.config.set_floatx(dtype)
            keras.config.set_dtype_policy(dtype)
            for layer, _ in policies:
                layer._dtype_policy = keras.DTypePolicy(dtype)
            for variable, value, own in variables:
                array = replaced.get(id(variable))
                array = value.numpy() if array is None else array
                if tf.as_dtype(own).is_floating:
                    variable._dtype = dtype
                    variable._value = tf.Variable(tf.cast(array, dtype))
                else:
                    variable._value = tf.Variable(array)
            self._training = training
            yield
        finally:
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy(policy)
            for layer, own in policies:
                layer._dtype_policy = own
            for variable, value, own in variables:
                variable._value, variable._dtype = value, own

    def run(
        self, model: Any, inputs: Sequence[Array], layout: str, dtype: str, recorder: Recorder
    ) -> None:
        arguments = _arguments(model, inputs, layout, dtype)
        watch = _Watch(model, recorder, layout)
        for tensor in tf.nest.flatten(arguments):
            if layout == "NHWC" and tensor.ndim > 2:
                watch.layouts.set(tensor, LAST)
            recorder.input(tensor, watch.shared(tensor))
        with watch.attached():
            output = model(*arguments, training=self._training)
        for tensor in tf.nest.flatten(output):
            recorder.output(tensor, watch.shared(tensor))

    def convert(self, tensor: Any) -> Array:
        return numpy_of(tensor)


def numpy_of(tensor: Any) -> Array:
    """Return a tensor as an array of NumPy's own dtypes."""
    array: Array = tensor.numpy()
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _arguments(model: Any, inputs: Sequence[Array], layout: str, dtype: str) -> tuple[Any, ...]:
    """Return the inputs as the model takes them: several of them as a list, if it wants that."""
    tensors = []
    for array in inputs:
        if layout == "NHWC" and array.ndim > 2:
            array = np.moveaxis(array, 1, -1)
        wanted = dtype if np.issubdtype(array.dtype, np.floating) else array.dtype
        tensors.append(tf.constant(np.ascontiguousarray(array), dtype=wanted))
    functional = isinstance(model, (keras.Sequential, keras.src.models.functional.Functional))
    return ([*tensors],) if functional and len(tensors) > 1 else tuple(tensors)


class _Watch:
    """Sees every layer that is called, wherever it was made, and what TensorFlow does between."""

    def __init__(self, model: Any, recorder: Recorder, layout: str) -> None:
        self.recorder = recorder
        self.layouts = Layouts(LAST if layout == "NHWC" else None)
        self.paths = dict(_paths(model))
        self.stack: list[str] = []
        self.inside = 0  # of how many layers whose operations aren't looked at
        self.resources = {id(v._value.handle): v for v in model.variables}
        self.read: dict[int, tuple[Any, Any]] = {}  # id of a tensor -> it, and its variable

    def shared(self, tensor: Any) -> Array:
        """Return a tensor's value in the shared layout."""
        return self.layouts.shared(numpy_of(tensor), self.layouts.of(tensor))

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hear of layers and operations. No layer is changed, only their common class."""
        base = keras.layers.Layer
        call = base.__call__

        def called(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return call(layer, *args, **kwargs)
            if tf_layers.is_layer(layer):
                return self._layer(call, layer, args, kwargs)
            return self._block(call, layer, args, kwargs)

        def operation(kind: Any, inputs: Any, attrs: Any, outputs: Any, *_: Any, **__: Any) -> None:
            if not self.inside and outputs and hasattr(outputs[0], "numpy"):
                self.inside += 1  # what recording itself computes isn't the model's
                try:
                    self._operation(kind, inputs, attrs, outputs)
                finally:
                    self.inside -= 1

        base.__call__ = called
        op_callbacks.add_op_callback(operation)
        try:
            yield
        finally:
            base.__call__ = call
            op_callbacks.remove_op_callback(operation)

    def _block(self, call: Any, layer: Any, args: Any, kwargs: Any) -> Any:
        path = self._path(layer)
        self.stack.append(path)
        try:
            output = call(layer, *args, **kwargs)
        finally:
            self.stack.pop()
        if tf.is_tensor(output):
            self.recorder.block(path, output, type(layer).__name__, self.shared)
        return output

    def _layer(self, call: Any, layer: Any, args: Any, kwargs: Any) -> Any:
        path, before = self._path(layer), []
        fused = tf_layers.fused_activation(layer)
        if fused is not None:

            def activation(x: Any) -> Any:
                before.append(x)
                return fused(x)

            vars(layer)["activation"] = activation
        self.inside += 1
        try:
            output = call(layer, *args, **kwargs)
            fed = [t for t in tf.nest.flatten((args, kwargs)) if tf.is_tensor(t)]
            self._record(layer, path, fed, before[0] if before else output)
            if before:
                self._activated(fused, path, before[0], output)
        finally:
            self.inside -= 1
            if fused is not None:
                vars(layer)["activation"] = fused
        return output

    def _record(self, layer: Any, path: str, fed: list[Any], output: Any) -> None:
        block = path.rpartition(".")[0]
        tags = [self.layouts.of(tensor) for tensor in fed]
        kind, settings = tf_layers.settings_of(layer, fed, tags[0] if tags else None)
        weights = tf_layers.weights_of(layer, kind, tags[0] if tags else None)
        outputs = tf.nest.flatten(output)
        for index, tensor in enumerate(outputs):
            name = path if len(outputs) == 1 else f"{path}.{index}"
            if any(tensor is one for one in fed):  # an identity
                self.recorder.alias(tensor, tensor)
                continue
            self.layouts.follow(tensor, kind, settings, fed, tf_layers.data_format(layer))
            self.recorder.layer(
                name, kind, settings, fed, tensor, self.shared(tensor), weights, block,
                type(layer).__name__,
            )  # fmt: skip

    def _activated(self, function: Any, path: str, before: Any, after: Any) -> None:
        settings = tf_layers.activation(function)
        self.layouts.follow(after, "act", settings, [before], None)
        name = f"{path}.{settings['function']}"
        block = path.rpartition(".")[0]
        shared = self.shared(after)
        self.recorder.layer(name, "act", settings, [before], after, shared, {}, block, "activation")

    def _operation(self, kind: Any, inputs: Any, attrs: Any, outputs: Any) -> None:
        own = kind.decode() if isinstance(kind, bytes) else str(kind)
        if own == "ReadVariableOp":
            variable = self.resources.get(id(inputs[0]))
            if variable is not None:
                self.read[id(outputs[0])] = (outputs[0], variable)
            return
        output = outputs[0]
        held = {i: self.read[id(t)][1] for i, t in enumerate(inputs) if id(t) in self.read}
        if held and len(inputs) == 1:  # a variable that is cast or reshaped
            self.read[id(output)] = (output, *held.values())
            return
        if not output.dtype.is_floating or not any(map(self.recorder.producer, inputs)):
            return
        given = dict(zip(attrs[::2], attrs[1::2], strict=False))
        fed = [t for t in inputs if self.recorder.producer(t)]
        tag = self.layouts.of(fed[0])
        name, settings, weights = tf_ops.settings_of(own, inputs, given, output, held, fed, tag)
        path = self.stack[-1] if self.stack else ""
        self.layouts.follow(output, name, settings, fed, given.get("data_format"))
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", own).lower()
        called = f"{path}.{snake}" if path else snake
        shared = self.shared(output)
        self.recorder.layer(called, name, settings, fed, output, shared, weights, path, own)

    def _path(self, layer: Any) -> str:
        """Return a layer's dotted path; of one made while the model runs, its class."""
        known = self.paths.get(id(layer))
        if known is not None:
            return known
        made = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(layer).__name__).lower()
        return f"{self.stack[-1]}.{made}" if self.stack and self.stack[-1] else made


def _paths(model: Any, prefix: str = "") -> Iterator[tuple[int, str]]:
    """Yield (id, dotted path) of all layers: attributes of subclassed models, names elsewhere."""
    seen = {id(model)}
    todo = [(model, "")]
    yield id(model), prefix
    while todo:
        owner, path = todo.pop(0)
        for name, layer in _children(owner):
            if id(layer) not in seen:
                seen.add(id(layer))
                below = f"{path}.{name}" if path else name
                yield id(layer), below
                todo.append((layer, below))


def _children(owner: Any) -> Iterator[tuple[str, Any]]:
    """Yield a layer's layers with a name: the attribute's, as in the source, if there is one."""
    named = isinstance(owner, (keras.Sequential, keras.src.models.functional.Functional))
    attributes = {} if named else vars(owner)
    for name, value in attributes.items():
        if isinstance(value, keras.layers.Layer) and not name.startswith("_"):
            yield name, value
        elif isinstance(value, (list, tuple, dict)) and not name.startswith("_"):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, part in items:
                if isinstance(part, keras.layers.Layer):
                    yield f"{name}.{key}", part
    for layer in owner._layers if hasattr(owner, "_layers") else ():
        yield layer.name, layer
