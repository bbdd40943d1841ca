"""A training step of any Keras 3 model on TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from ...errors import InputError
from ..capturer import Array, Conditions
from ..inputs import Arguments
from ..tf import call_model, held, tensor_of
from .losses import Loss
from .optimizers import Optimizer
from .stepper import Stepped, Stepper, Task

_OWN = {"SGD": "SGD", "Adam": "Adam", "RMSProp": "RMSprop"}
_NAMES = {
    "lr": "learning_rate", "beta1": "beta_1", "beta2": "beta_2", "eps": "epsilon", "decay": "rho",
}  # fmt: skip
_RATES = ("rate", "dropout", "recurrent_dropout", "stddev")
_RANDOM = ("Dropout", "Noise", "RNN", "LSTM", "GRU", "Cell")  # in the names of layers with one


class KerasStepper(Stepper):
    """Keras on TensorFlow, by a gradient tape and Keras' optimizers."""

    def without_dropout(self, model: Any) -> AbstractContextManager[list[float]]:
        return _without_dropout(model)

    def step(self, model: Any, given: Arguments, task: Task) -> Stepped:
        how = Conditions("float64", tuple(task.turned), replaced=task.replaced)
        with held(model, how), _without_dropout(model) as rates:
            variables = list({id(v): v for v in model.variables}.values())
            trained = list({id(v): v for v in model.trainable_variables}.values())
            for number, variable in enumerate(trained):
                variable._value.assign(task.moved(str(number), variable.numpy()))
            before = _arrays(variables)
            inputs = how.arguments(task.arguments(given)).leaves()
            leaves = [tensor_of(array, "float64") for array in inputs]
            with tf.GradientTape(persistent=True) as tape:
                for leaf in leaves:
                    if leaf.dtype.is_floating:
                        tape.watch(leaf)
                result = call_model(model, given.filled(leaves), training=True)
                outputs = [x for x in tf.nest.flatten(result) if x.dtype.is_floating]
                added = tf.add_n(model.losses) if model.losses else None
                own = _own_loss(task, result, outputs) if not isinstance(task.loss, Loss) else None
            values = [x.numpy() for x in outputs]
            if own is None:
                loss, heads, shared = task.named(values)
                sources = [(x, tf.constant(g)) for x, g in zip(outputs, heads, strict=True)
                           if g is not None]  # fmt: skip
            else:
                loss = float(own)
                found = tape.gradient(own, outputs, unconnected_gradients="zero")
                shared = task.shared_outputs([x.numpy() for x in found])
                sources = [(own, tf.ones_like(own))]
            if added is not None:
                sources.append((added, tf.ones_like(added)))
            wanted = [*(v._value for v in trained), *(x for x in leaves if x.dtype.is_floating)]
            gradients = [
                None if g is None else tf.convert_to_tensor(g)
                for g in tape.gradient(
                    [x for x, _ in sources], wanted, output_gradients=[g for _, g in sources]
                )
            ]
            del tape
            _step(task.optimizer, gradients[: len(trained)], trained)
            of_inputs = iter(gradients[len(trained) :])
            back = [next(of_inputs) if x.dtype.is_floating else None for x in leaves]
            extra = 0.0 if added is None else float(added)
            return Stepped(
                loss + extra, task.shared_outputs(values), shared,
                task.shared_inputs([None if g is None else g.numpy() for g in back]),
                {id(v): g.numpy() for v, g in zip(trained, gradients, strict=False)
                 if g is not None},
                before, _arrays(variables),
                {id(v) for v in variables} - {id(v) for v in trained}, tuple(rates), extra,
            )  # fmt: skip


def _arrays(variables: list[Any]) -> dict[Any, Array]:
    return {id(variable): variable.numpy().copy() for variable in variables}


def _own_loss(task: Task, result: Any, outputs: list[Any]) -> Any:
    assert not isinstance(task.loss, Loss)
    target = task.own_target(outputs[0].shape)
    # Keras' losses take (y_true, y_pred), as its users write them.
    loss = task.loss(None if target is None else tf.constant(target), result)
    if not tf.is_tensor(loss) or loss.shape.num_elements() != 1:
        raise InputError("a loss for Keras should return a tensor with one number")
    return tf.cast(tf.reshape(loss, ()), "float64")


def _step(optimizer: Any, gradients: list[Any], trained: list[Any]) -> None:
    """Let an optimizer step, if anything has a gradient."""
    pairs = [(g, v) for g, v in zip(gradients, trained, strict=True) if g is not None]
    if not pairs:
        return
    if isinstance(optimizer, Optimizer):
        settings = {_NAMES.get(k, k): v for k, v in optimizer.settings.items()}
        settings.setdefault("epsilon", 1e-8) if optimizer.kind == "Adam" else None
        own = getattr(keras.optimizers, _OWN[optimizer.kind])(**settings)
    else:
        own = optimizer()
    own.apply([g for g, _ in pairs], [v for _, v in pairs])


@contextlib.contextmanager
def _without_dropout(model: Any) -> Iterator[list[float]]:
    """Set all rates of dropout and noise to 0, and each back; yield those that were higher."""
    kept = []
    for layer in {id(x): x for x in model._flatten_layers()}.values():
        if not any(word in type(base).__name__ or word in base.__name__
                   for base in type(layer).__mro__ for word in _RANDOM):  # fmt: skip
            continue
        for name in _RATES:
            rate = vars(layer).get(name)
            if isinstance(rate, (int, float)) and rate > 0:
                kept.append((layer, name, rate))
    try:
        for layer, name, _ in kept:
            setattr(layer, name, 0.0)
        yield [float(rate) for _, _, rate in kept]
    finally:
        for layer, name, rate in kept:
            setattr(layer, name, rate)
