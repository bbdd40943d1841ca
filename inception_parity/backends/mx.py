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

import numpy as np
from numpy.typing import NDArray

from inception_mx._mxnet import gluon, mxnet

from ..networks.catalogue import Network
from .base import After, Before, Factors, TrainingAdapter, UnavailableError, wrap_method
from .recipe import Recipe


class Backend(TrainingAdapter):
    """MXNet on the CPU or the first GPU; there without TF32, and deterministic.

    It has no float16 convolution on the CPU, and no bfloat16 cast at all.
    """

    name = "mx"
    refusals = (ValueError, mxnet.MXNetError)
    bn_momentum = float(np.float32(0.9))  # MXNet keeps it so, whatever the dtype

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
        return wrap_method(module, "forward", before, after)

    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        return mxnet.np.array(array, dtype=dtype, ctx=self.context)

    def to_shared(self, tensor: Any) -> NDArray[Any]:
        array: NDArray[Any] = tensor.asnumpy()
        return array

    def dtype_of(self, tensor: Any) -> str:
        return str(tensor.dtype.__name__ if isinstance(tensor.dtype, type) else tensor.dtype)

    def forward(self, net: Any, x: Any, training: bool = False) -> Any:
        with mxnet.autograd.train_mode() if training else mxnet.autograd.predict_mode():
            outputs = net(x)
        mxnet.npx.waitall()  # errors surface here, whatever the engine
        return outputs

    def dropout(self, module: Any) -> float | None:
        return module._rate if isinstance(module, gluon.nn.Dropout) else None

    def multiply_by(self, module: Any, factors: Factors | None) -> None:
        if factors is None:
            module._rate = 0.0
            return

        def forward(x: Any) -> Any:
            if not mxnet.autograd.is_training():
                return x
            return x * self.to_native(factors(x.shape), self.dtype_of(x))

        module.forward = forward

    @property
    def bn_unbiased(self) -> bool:
        return self.device == "gpu"  # cuDNN's

    def training(
        self, net: Any, recipe: Recipe, keep_gradients: bool = False,
        lr_of: Callable[[int], float] | None = None,
    ) -> Any:  # fmt: skip
        import inception_mx

        inception_mx.freeze(net, recipe.frozen)
        training = inception_mx.Training(
            net,
            inception_mx.TrainingLoss(recipe.label_smoothing, recipe.aux_weight),
            getattr(inception_mx, recipe.optimizer)(**recipe.settings),
            seed=recipe.seed,
            lr_of=lr_of,
        )
        dropouts = [m for _, m, _ in self.modules(net) if self.dropout(m) is not None]
        if any("forward" in vars(module) for module in dropouts):
            net.hybridize(False)  # what is traced once can't be given a mask per step
        return training

    def gradients(self, net: Any, training: Any) -> dict[str, NDArray[Any]]:
        from inception_mx.weights import _arrays

        # Losses are one per image, so gradients are sums; the optimiser is told 1 / N.
        factor = training.optimizer.rescale_grad
        return {
            name: parameter.grad().asnumpy() * np.asarray(factor, parameter.dtype)
            for name, parameter in _arrays(net).items()
            if parameter.grad_req != "null"
        }

    def input_gradient(
        self, net: Any, training: Any, images: NDArray[Any], labels: NDArray[Any]
    ) -> NDArray[Any]:
        dtype = self.dtype_of(next(iter(net.collect_params().values())))
        x = self.to_native(images, dtype)
        x.attach_grad()
        with mxnet.autograd.record():
            loss = training.loss(net(x), mxnet.np.array(labels, dtype="int32", ctx=self.context))
        loss.backward()
        return self.to_shared(x.grad) / len(labels)
