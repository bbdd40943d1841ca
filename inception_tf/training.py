"""The training loop of the Inception family in Keras 3: `fit` with its own train step."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, ops
from numpy.typing import NDArray

from .weights import _arrays, named_layers

Batches = Iterable[tuple[NDArray[Any], NDArray[Any]]]
OnStep = Callable[[float, int], None]  # (mean loss of the batch, images classified correctly)


class Training:
    """Trains a network batch by batch, and tests it.

    A step depends only on the weights, the optimiser's state, the batch and the step's
    number: dropout draws its masks from the seed and that number. An interrupted training
    therefore continues exactly as if it had not been interrupted.

    Args:
        network: one of this package's; it is changed in place.
        loss: of a network's outputs and the labels; None to test only.
        optimizer: over the network's parameters; None to test only.
        seed: of dropout.
        lr_of: the learning rate of each step, by its number; None for the optimiser's own.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: keras.losses.Loss | None = None,
        optimizer: keras.optimizers.Optimizer | None = None,
        *,
        seed: int = 0,
        lr_of: Callable[[int], float] | None = None,
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.seed = seed
        self.lr_of = lr_of
        self.steps = _Steps(network, loss)
        self.steps.compile(optimizer, jit_compile=False)
        if optimizer is not None:
            optimizer.build(network.trainable_variables)

    def epoch(self, batches: Batches, on_step: OnStep, first_step: int = 0) -> None:
        """Train on every batch.

        Args:
            batches: (images, labels): (N, C, H, W), and (N,) of whole numbers.
            on_step: called after each step; what it raises ends the epoch.
            first_step: the first step's number, counted from the start of training.
        """
        callback = _Callback(on_step, lambda step: self._begin(first_step + step))
        with _unknown_length():
            self.steps.fit(self._native(batches), shuffle=False, verbose=0, callbacks=[callback])

    def _begin(self, step: int) -> None:
        """Set the learning rate, and make every dropout layer draw the masks of this step."""
        if self.lr_of is not None and self.optimizer is not None:
            self.optimizer.learning_rate = self.lr_of(step)
        for number, layer in enumerate(self.network._flatten_layers()):
            if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
                layer.seed_generator.state.assign([seed_of_step(self.seed, step), number])

    def evaluate(self, batches: Batches, on_step: OnStep) -> None:
        """Test on every batch, in inference mode; the loss is cross-entropy.

        Args:
            batches: (images, labels): (N, C, H, W), and (N,) of whole numbers.
            on_step: called after each batch; what it raises ends the test.
        """
        with _unknown_length():
            self.steps.evaluate(self._native(batches), verbose=0, callbacks=[_Callback(on_step)])

    def _native(self, batches: Batches) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        for images, labels in batches:
            x = np.ascontiguousarray(images.transpose(0, 2, 3, 1), self.network.compute_dtype)
            yield x, labels

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the optimiser's arrays, under this framework's own names."""
        assert self.optimizer is not None
        # By number, since Keras numbers names across all layers the process has ever made.
        return {f"{n:04d}": np.array(v) for n, v in enumerate(self.optimizer.variables)}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore the optimiser's arrays from what `get_state` returned.

        Raises:
            KeyError: an array belongs to no parameter of the network.
        """
        assert self.optimizer is not None
        variables = dict(zip(self.get_state(), self.optimizer.variables, strict=True))
        for key, array in state.items():
            variables[key].assign(array)


class _Steps(keras.Model):
    """A network for `fit` and `evaluate`, with our own steps."""

    def __init__(self, network: keras.Model, loss: keras.losses.Loss | None) -> None:
        super().__init__(dtype=network.dtype_policy)
        self.network = network
        self.training_loss = loss
        self.built = True

    def call(self, images: KerasTensor, training: bool = False) -> KerasTensor:
        return self.network(images, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        assert self.training_loss is not None
        images, labels = data
        with tf.GradientTape() as tape:
            outputs = self.network(images, training=True)
            loss = self.training_loss(labels, outputs)
        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, variables)
        # Else the optimizer counts the step in which `fit` only learns that the batches are over.
        with tf.control_dependencies([loss]):
            self.optimizer.apply(gradients, variables)
        return {"loss": loss, "right": _count_right(outputs, labels)}

    def test_step(self, data: Any) -> dict[str, Any]:
        images, labels = data
        outputs = self.network(images, training=False)
        each = ops.sparse_categorical_crossentropy(labels, _logits(outputs), from_logits=True)
        return {"loss": ops.mean(each), "right": _count_right(outputs, labels)}


class _Callback(keras.callbacks.Callback):
    """Calls the given functions before and after each batch."""

    def __init__(self, after: OnStep, before: Callable[[int], None] = lambda step: None) -> None:
        super().__init__()
        self.after = after
        self.before = before

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.before(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.after(float(logs["loss"]), int(logs["right"]))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.after(float(logs["loss"]), int(logs["right"]))


@contextlib.contextmanager
def _unknown_length() -> Iterator[None]:
    """Silence Keras' warning that an epoch ends when its batches run out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input ran out of data")
        yield


def freeze(network: keras.Model, frozen: Collection[str]) -> None:
    """Train all arrays of a network but these, until it is called again.

    A batch norm none of whose arrays is trained keeps its running statistics and normalises by
    them, as in inference.

    Args:
        network: one of this package's; it is changed in place.
        frozen: shared names of the arrays; none to train all.
    """
    arrays = _arrays(network)
    for path, layer in named_layers(network):
        if isinstance(layer, keras.layers.BatchNormalization):
            own = [f"{path}.{name}" for name in ("weight", "bias")]
            layer.trainable = not all(name in frozen for name in own if name in arrays)
    for name, variable in arrays.items():
        if not name.endswith((".running_mean", ".running_var")):
            variable.trainable = name not in frozen


def seed_of_step(seed: int, step: int) -> int:
    """Return a step's own seed, from 0 to 2^31 - 1."""
    return (seed * 1_000_003 + step) * 7_919 % (1 << 31)


def _logits(outputs: KerasTensor | tuple[KerasTensor, ...]) -> KerasTensor:
    """Return the classifier's output, the first of a network's outputs."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _count_right(outputs: KerasTensor | tuple[KerasTensor, ...], labels: KerasTensor) -> Any:
    found = ops.argmax(_logits(outputs), axis=-1)
    return ops.sum(ops.cast(found == ops.cast(labels, found.dtype), "int32"))
