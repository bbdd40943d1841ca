"""Captures any Keras 3 model on TensorFlow, run eagerly: layers and raw operations."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..backends.quiet import import_tensorflow

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import_tensorflow()

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_callbacks

from ..errors import InputError
from . import tf_attention, tf_layers, tf_ops, tf_recurrent
from .capturer import Array, Capturer, Conditions, Watch
from .inputs import Arguments, Parameters, parameters_of
from .layouts import LAST
from .operations import ROLES, Call
from .recorder import Recorder, Slot


class KerasCapturer(Capturer):
    """Keras 3 on TensorFlow."""

    name = "tf"
    forces = True

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

    def parameters(self, model: Any) -> Parameters:
        inputs = _stated_inputs(model)
        if inputs is None:
            names = parameters_of(model.call)
            own = tuple(name for name in names.names if name != "training")
            return replace(names, names=own, required=min(names.required, len(own)), packs=True)
        shapes = tuple(None if t.shape is None else tuple(t.shape) for t in inputs.values())
        return Parameters(tuple(inputs), len(inputs), shapes=shapes)

    def channels_last(self, model: Any) -> frozenset[int]:
        """Return those of the layers that have a data format; without any, Keras' own of images."""
        stated = _data_formats(model)
        stated.setdefault(4, keras.config.image_data_format())
        return frozenset(n for n, own in stated.items() if n > 3 and own == "channels_last")

    def build(self, model: Any, given: Arguments) -> None:
        layers = list(model._flatten_layers())
        if not all(layer.built for layer in layers) or not model.variables:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Keras on models without a build() of their own
                given = given.filled([tf.constant(array) for array in given.leaves()])
                call_model(model, given, training=False)

    def run(self, model: Any, given: Arguments, how: Conditions, recorder: Recorder) -> None:
        images = any(how.turned) or "channels_last" in _data_formats(model).values()
        recorder.unknown = LAST if how.layout == "NHWC" and images else None
        with held(model, how):
            given = given.filled([tensor_of(array, how.dtype) for array in given.leaves()])
            watch = _Watch(model, recorder)
            for tensor in given.leaves():
                recorder.input(tensor)
            with watch.attached():
                output = call_model(model, given, training=how.training)
            for tensor in tf.nest.flatten(output):
                recorder.output(tensor)

    def convert(self, tensor: Any) -> Array:
        array: Array = tensor.numpy()
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


@contextlib.contextmanager
def held(model: Any, how: Conditions) -> Iterator[None]:
    """Let a model compute in a dtype, with copies of its variables, some of them replaced."""
    flat = list(model._flatten_layers())
    functional = [x for x in map(_functional, flat) if x is not None]
    layers = list({id(x): x for x in (*flat, *functional)}.values())
    policies = [(layer, layer._dtype_policy) for layer in layers]
    variables = [(v, v._value, v._dtype) for v in {id(v): v for v in model.variables}.values()]
    stated = [(x, x._dtype) for x in _cast_to(layers) if tf.as_dtype(x._dtype).is_floating]
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_floatx(how.dtype)
        keras.config.set_dtype_policy(how.dtype)
        for layer in layers:
            layer._dtype_policy = keras.DTypePolicy(how.dtype)
        for which, _ in stated:
            which._dtype = how.dtype
        for variable, value, own in variables:
            array = how.replaced.get(id(variable))
            array = value.numpy() if array is None else array
            if tf.as_dtype(own).is_floating:
                variable._dtype = how.dtype
                array = tf.cast(array, how.dtype)
            variable._value = tf.Variable(array)
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
        for layer, own in policies:
            layer._dtype_policy = own
        for which, own in reversed(stated):
            which._dtype = own
        for variable, value, own in variables:
            variable._value, variable._dtype = value, own


def _cast_to(layers: Iterable[Any]) -> Iterator[Any]:
    """Yield what says to which dtype inputs are cast, also those of a model inside of another."""
    for layer in layers:
        if isinstance(layer, keras.src.models.functional.Functional):
            yield from layer._inputs
        elif isinstance(layer, keras.layers.InputLayer):
            yield layer


def tensor_of(array: Array, dtype: str) -> Any:
    """Return an array as a tensor, in a dtype if it is of floating-point numbers."""
    tensor = tf.constant(array)
    return tf.cast(tensor, dtype) if tensor.dtype.is_floating else tensor


def _functional(layer: Any) -> Any:
    """Return the functional model that a layer is, or has if it is sequential; else None."""
    if isinstance(layer, keras.Sequential):
        layer = layer._functional
    return layer if isinstance(layer, keras.src.models.functional.Functional) else None


def _stated_inputs(model: Any) -> dict[str, Any] | None:
    """Return the inputs that a functional or sequential model states, by name; None elsewhere."""
    model = _functional(model)
    if model is None:
        return None
    struct = model._inputs_struct
    if isinstance(struct, dict):
        return dict(struct)
    return {tensor.name: tensor for tensor in keras.tree.flatten(struct)}


def _data_formats(model: Any) -> dict[int, str]:
    """Return the data format of a model's first convolution or pool, by the axes of its images."""
    found: dict[int, str] = {}
    for layer in model._flatten_layers(include_self=False):
        own = getattr(layer, "data_format", None)
        if own in ("channels_last", "channels_first") and type(layer).__name__ != "Flatten":
            found.setdefault(_image_axes(layer), own)
    return found


def _image_axes(layer: Any) -> int:
    """Return how many axes the images of a convolution or pool have, 4 where it isn't known."""
    digits = re.search(r"([123])D", type(layer).__name__)
    return 4 if digits is None else int(digits[1]) + 2


def call_model(model: Any, given: Arguments, training: bool) -> Any:
    """Call a model; one that states its inputs gets them nested as it states them."""
    inputs = _stated_inputs(model)
    if inputs is None:
        return model(*given.positional, **given.named, training=training)
    found = dict(zip(inputs, given.by_position(tuple(inputs)), strict=True))
    if isinstance(model, keras.Sequential):
        return model(next(iter(found.values())), training=training)
    struct = model._inputs_struct
    packed = found if isinstance(struct, dict) else keras.tree.pack_sequence_as(
        struct, list(found.values())
    )  # fmt: skip
    return model(packed, training=training)


def _like(tensor: Any, array: Array) -> Any:
    return tf.constant(array, tensor.dtype)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


class _Watch(Watch):
    """Sees every layer that is called, wherever it was made, and what TensorFlow does between."""

    def __init__(self, model: Any, recorder: Recorder) -> None:
        super().__init__(recorder, _parts(model))
        self.resources = {id(v._value.handle): v for v in model.variables}
        self.read: dict[int, tuple[Any, Any]] = {}  # id of a tensor -> it, and its variable

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hear of layers and operations. No layer is changed, only their common class."""
        base = keras.layers.Layer
        call = base.__call__

        def called(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if self.ignoring:
                return call(layer, *args, **kwargs)
            if tf_layers.is_layer(layer):
                return self._layer(call, layer, args, kwargs)
            return self._block(call, layer, args, kwargs)

        def operation(kind: Any, inputs: Any, attrs: Any, outputs: Any, *_: Any, **__: Any) -> None:
            if not self.ignoring and outputs and hasattr(outputs[0], "numpy"):
                with self.ignored():
                    given = {k: _text(v) for k, v in zip(attrs[::2], attrs[1::2], strict=False)}
                    self._operation(str(_text(kind)), inputs, given, outputs[0])
                    if isinstance(outputs, list):
                        outputs[0] = self.recorder.given_on(outputs[0], _like)

        base.__call__ = called
        op_callbacks.add_op_callback(operation)
        try:
            yield
        finally:
            base.__call__ = call
            op_callbacks.remove_op_callback(operation)

    def _block(self, call: Any, layer: Any, args: Any, kwargs: Any) -> Any:
        own = type(layer).__name__
        path = self.begin(layer, _snake(own))
        try:
            output = call(layer, *args, **kwargs)
        finally:
            self.stack.pop()
        if tf.is_tensor(output):
            self.recorder.block(path, output, own)
        return output

    def _layer(self, call: Any, layer: Any, args: Any, kwargs: Any) -> Any:
        path = self.path(layer, _snake(type(layer).__name__))
        before: list[Any] = []
        fused = tf_layers.fused_activation(layer)
        if fused is not None:

            def activation(x: Any) -> Any:
                before.append(x)
                return fused(x)

            vars(layer)["activation"] = activation
        try:
            with self.ignored():
                output = call(layer, *args, **kwargs)
                fed = [t for t in tf.nest.flatten((args, kwargs)) if tf.is_tensor(t)]
                block = path.rpartition(".")[0]
                called = tf_recurrent.Called(layer, path, block, args, kwargs, output)
                if tf_recurrent.taken_apart(layer) and tf_recurrent.record(self.recorder, called):
                    return output
                if type(layer).__name__ in tf_attention.KINDS and tf_attention.known(layer):
                    outputs = tf.nest.flatten(output)
                    tf_attention.record(self.recorder, layer, (path, block), args, kwargs, outputs)
                    return output
                self._record(layer, path, fed, tf.nest.flatten(before or output))
                if before:
                    tag = self.recorder.tag(before[0])
                    called_with = Call("activation", {}, before, output, tag)
                    settings = tf_layers.activation(fused, called_with)
                    self.recorder.layer(
                        f"{path}.{settings['function']}", "act", settings, before, [output],
                        block=path.rpartition(".")[0], own="activation",
                    )  # fmt: skip
        finally:
            if fused is not None:
                vars(layer)["activation"] = fused
        return self.recorder.given_on(output, _like)

    def _record(self, layer: Any, path: str, fed: list[Any], outputs: list[Any]) -> None:
        own = type(layer).__name__
        tag = self.recorder.tag(fed[0]) if fed else None
        kind, settings = tf_layers.LAYERS.describe(Call(own, vars(layer), fed, outputs[0], tag))
        self.recorder.layer(
            path, kind, settings, fed,
            [None if any(tensor is one for one in fed) else tensor for tensor in outputs],
            tf_layers.weights_of(layer, kind, tag), path.rpartition(".")[0], own,
            None if own == "Flatten" else getattr(layer, "data_format", None),
        )  # fmt: skip

    def _operation(self, own: str, inputs: Any, given: dict[str, Any], output: Any) -> None:
        if own == "ReadVariableOp":
            variable = self.resources.get(id(inputs[0]))
            if variable is not None:
                self.read[id(output)] = (output, variable)
            return
        held = [self.read[id(tensor)][1] for tensor in inputs if id(tensor) in self.read]
        if held and len(inputs) == 1:  # a variable that is cast or reshaped
            self.read[id(output)] = (output, held[0])
            return
        fed = [tensor for tensor in inputs if self.recorder.producer(tensor)]
        if not fed or own in ("Shape", "ShapeN", "Size"):
            return
        if not output.dtype.is_floating:
            if output.dtype.is_integer or output.dtype.is_bool:  # indices, a mask
                self.recorder.whole(_snake(own), fed, output)
            return
        if own == "ConcatV2":
            given["axis"] = inputs[-1]
        named = tf_ops.OPERATIONS.named(own, inputs)
        variables = {r: self.read[id(named[r])][1] for r in ROLES if id(named.get(r)) in self.read}
        tag = self.recorder.tag(fed[0])
        call = Call(own, given | named, fed, output, tag, variables)
        kind, settings = tf_ops.OPERATIONS.describe(call)
        weights = {
            role: tf_layers.kernel_slot(variable, own, kind, tag)
            if role == "weight"
            else Slot(id(variable), variable.numpy())
            for role, variable in variables.items()
        }
        name, block = self.name(_snake(own), False)
        self.recorder.layer(
            name, kind, settings, fed, [output], weights, block, own, given.get("data_format")
        )


def _parts(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, layer): attributes of subclassed models, names elsewhere."""
    seen = {id(model)}
    todo = [(model, "")]
    yield "", model
    while todo:
        owner, path = todo.pop(0)
        for name, layer in _children(owner):
            if id(layer) not in seen:
                seen.add(id(layer))
                below = f"{path}.{name}".lstrip(".")
                yield below, layer
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
