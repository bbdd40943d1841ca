"""Keras 3 on TensorFlow, eager, with each layer's `call` wrapped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..catalogue import Network
from ..layout import nhwc_to_shared, shared_to_nhwc
from .base import Adapter, After, Before, UnavailableError


class Backend(Adapter):
    """TensorFlow on the CPU or the first GPU; there without TF32, and deterministic."""

    name = "tf"
    dtypes = ("float64", "float32", "bfloat16", "float16")

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
        floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
        try:
            # floatx decides what Keras turns a plain number into.
            keras.config.set_floatx(dtype)
            keras.config.set_dtype_policy(dtype)
            with tf.device(self.tf_device):
                return network.build(self.package, options)
        finally:
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy(policy)

    def modules(self, net: Any) -> Iterator[tuple[str, Any, bool]]:
        from inception_tf.weights import named_layers

        found = list(named_layers(net))
        inner = {path.rpartition(".")[0] for path, _ in found if path}
        for path, layer in found:
            yield path, layer, path not in inner

    def attach(self, module: Any, before: Before, after: After) -> Callable[[], None]:
        call = module.call
        replaced = vars(module).get("call")

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            args = before(args)
            output = call(*args, **kwargs)
            after(args, output)
            return output

        module.call = wrapped

        def detach() -> None:
            del module.call  # the class's own shows again
            if replaced is not None:
                module.call = replaced

        return detach

    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        with tf.device(self.tf_device):
            return tf.cast(tf.constant(np.ascontiguousarray(shared_to_nhwc(array))), dtype)

    def to_shared(self, tensor: Any) -> NDArray[Any]:
        small = tensor.dtype in (tf.bfloat16, tf.float16)
        return nhwc_to_shared((tf.cast(tensor, tf.float32) if small else tensor).numpy())

    def dtype_of(self, tensor: Any) -> str:
        return str(tensor.dtype.name)

    def forward(self, net: Any, x: Any) -> Any:
        with tf.device(self.tf_device):
            return net(x, training=False)
