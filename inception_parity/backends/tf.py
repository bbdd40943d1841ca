"""Keras 3 on TensorFlow, eager, with each layer's `call` wrapped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .quiet import import_tensorflow

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import_tensorflow()

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..networks.catalogue import Network
from ..traces.layout import nhwc_to_shared, shared_to_nhwc
from .base import After, Before, Factors, TrainingAdapter, UnavailableError, wrap_method
from .recipe import Recipe


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Let Keras make everything in `dtype`; floatx decides what it turns a plain number into."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


class Backend(TrainingAdapter):
    """TensorFlow on the CPU or the first GPU; there without TF32, and deterministic."""

    name = "tf"
    dtypes = ("float64", "float32", "bfloat16", "float16")
    refusals = (ValueError, tf.errors.OpError)

    def __init__(self, device: str) -> None:
        super().__init__(device)
        if keras.backend.backend() != "tensorflow":
            raise UnavailableError(
                f"Keras runs on {keras.backend.backend()}, but should on tensorflow; "
                "set KERAS_BACKEND=tensorflow"
            )
        if device == "gpu":
            if not tf.config.list_physical_devices("GPU"):
                raise UnavailableError("TensorFlow sees no GPU (tf.config.list_physical_devices)")
            tf.config.experimental.enable_tensor_float_32_execution(False)
            tf.config.experimental.enable_op_determinism()
            keras.utils.set_random_seed(0)  # op determinism wants a seed
        self.tf_device = "/GPU:0" if device == "gpu" else "/CPU:0"

    def versions(self) -> dict[str, str]:
        versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
        if self.device == "gpu":
            gpu = tf.config.list_physical_devices("GPU")[0]
            versions["gpu"] = tf.config.experimental.get_device_details(gpu)["device_name"]
        return versions

    def build(self, network: Network, options: Mapping[str, Any], dtype: str) -> Any:
        with precision(dtype), tf.device(self.tf_device):
            return network.build(self.package, options)

    def modules(self, net: Any) -> Iterator[tuple[str, Any, bool]]:
        from inception_tf.weights import named_layers

        found = list(named_layers(net))
        inner = {path.rpartition(".")[0] for path, _ in found if path}
        for path, layer in found:
            yield path, layer, path not in inner

    def attach(self, module: Any, before: Before, after: After) -> Callable[[], None]:
        return wrap_method(module, "call", before, after)

    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        with tf.device(self.tf_device):
            return tf.cast(tf.constant(np.ascontiguousarray(shared_to_nhwc(array))), dtype)

    def to_shared(self, tensor: Any) -> NDArray[Any]:
        small = tensor.dtype in (tf.bfloat16, tf.float16)
        return nhwc_to_shared((tf.cast(tensor, tf.float32) if small else tensor).numpy())

    def forward(self, net: Any, x: Any, training: bool = False) -> Any:
        with tf.device(self.tf_device):
            return net(x, training=training)

    def dropout(self, module: Any) -> float | None:
        return float(module.rate) if isinstance(module, keras.layers.Dropout) else None

    def multiply_by(self, module: Any, factors: Factors | None) -> None:
        def call(x: Any, training: bool = False) -> Any:
            if factors is None or not training:
                return x

            def draw(shape: NDArray[Any]) -> NDArray[Any]:
                axes = (0, 3, 1, 2) if len(shape) == 4 else range(len(shape))
                return shared_to_nhwc(factors(tuple(int(shape[i]) for i in axes)))

            # A function of NumPy's: in a graph it is called in every step.
            drawn = tf.numpy_function(draw, [tf.shape(x)], tf.float64)
            drawn.set_shape(x.shape)
            return x * tf.cast(drawn, x.dtype)

        module.call = call

    def training(
        self, net: Any, recipe: Recipe, keep_gradients: bool = False,
        lr_of: Callable[[int], float] | None = None,
    ) -> Any:  # fmt: skip
        import inception_tf

        inception_tf.freeze(net, recipe.frozen)
        with precision(net.dtype), tf.device(self.tf_device):
            training = inception_tf.Training(
                net,
                inception_tf.TrainingLoss(
                    recipe.label_smoothing, recipe.aux_weight, dtype=net.dtype
                ),
                getattr(inception_tf, recipe.optimizer)(**recipe.settings),
                seed=recipe.seed,
                lr_of=lr_of,
            )
        if keep_gradients:
            self._keep_gradients(training)
        return training

    def _keep_gradients(self, training: Any) -> None:
        """Keep what the optimizer is given: nothing else holds the gradients of a step."""
        from inception_tf.weights import _arrays, _to_shared

        names = {id(variable): name for name, variable in _arrays(training.network).items()}
        kept_gradients = vars(training)["kept_gradients"] = {}
        apply = training.optimizer.apply

        def kept(gradients: Any, variables: Any = None) -> Any:
            for gradient, variable in zip(gradients, variables, strict=True):

                def keep(array: NDArray[Any], name: str = names[id(variable)]) -> None:
                    kept_gradients[name] = _to_shared(array).copy()

                tf.numpy_function(keep, [gradient], [])
            return apply(gradients, variables)

        training.optimizer.apply = kept

    def gradients(self, net: Any, training: Any) -> dict[str, NDArray[Any]]:
        return dict(training.kept_gradients)

    def input_gradient(
        self, net: Any, training: Any, images: NDArray[Any], labels: NDArray[Any]
    ) -> NDArray[Any]:
        x = self.to_native(images, net.dtype)
        with tf.device(self.tf_device), tf.GradientTape() as tape:
            tape.watch(x)
            loss = training.loss(labels, net(x, training=True))
        return self.to_shared(tape.gradient(loss, x))
