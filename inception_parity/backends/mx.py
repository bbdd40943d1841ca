"""MXNet Gluon, imperative, with each block's `forward` wrapped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# Errors surface where they happen, and at small batches it is 2 to 4 times faster.
os.environ.setdefault("MXNET_ENGINE_TYPE", "NaiveEngine")
os.environ.setdefault("MXNET_ENFORCE_DETERMINISM", "1")
os.environ.setdefault("MXNET_CUDNN_AUTOTUNE_DEFAULT", "0")
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")

from numpy.typing import NDArray

from inception_mx._mxnet import mxnet

from ..catalogue import Network
from .base import Adapter, After, Before, UnavailableError


class Backend(Adapter):
    """MXNet on the CPU or the first GPU; there without TF32, and deterministic.

    It has no float16 convolution on the CPU, and no bfloat16 cast at all.
    """

    name = "mx"

    def __init__(self, device: str) -> None:
        super().__init__(device)
        if device == "gpu" and mxnet.context.num_gpus() == 0:
            raise UnavailableError("MXNet sees no GPU (mxnet.context.num_gpus() is 0)")
        self.context = mxnet.gpu(0) if device == "gpu" else mxnet.cpu()

    def versions(self) -> dict[str, str]:
        return {"mxnet": mxnet.__version__}

    def build(self, network: Network, options: Mapping[str, Any], dtype: str) -> Any:
        net = network.build(self.package, options)
        net.initialize(ctx=self.context)
        net.cast(dtype)
        return net

    def modules(self, net: Any, prefix: str = "") -> Iterator[tuple[str, Any, bool]]:
        children = net._children
        yield prefix, net, not children
        for name, child in children.items():
            yield from self.modules(child, f"{prefix}.{name}" if prefix else name)

    def attach(self, module: Any, before: Before, after: After) -> Callable[[], None]:
        forward = module.forward
        replaced = vars(module).get("forward")

        def wrapped(*args: Any) -> Any:
            args = before(args)
            output = forward(*args)
            after(args, output)
            return output

        module.forward = wrapped

        def detach() -> None:
            del module.forward  # the class's own shows again
            if replaced is not None:
                module.forward = replaced

        return detach

    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        return mxnet.np.array(array, dtype=dtype, ctx=self.context)

    def to_shared(self, tensor: Any) -> NDArray[Any]:
        array: NDArray[Any] = tensor.asnumpy()
        return array

    def dtype_of(self, tensor: Any) -> str:
        return str(tensor.dtype.__name__ if isinstance(tensor.dtype, type) else tensor.dtype)
