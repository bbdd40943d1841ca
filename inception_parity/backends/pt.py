"""PyTorch, eager, with forward hooks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products

import torch
from numpy.typing import NDArray

from ..networks.catalogue import Network
from .base import After, Before, Factors, TrainingAdapter, UnavailableError
from .recipe import Recipe


class Backend(TrainingAdapter):
    """PyTorch on the CPU or the first GPU; there without TF32, and as deterministic as it can.

    On the device `meta`, tensors have a shape and no content.
    """

    name = "pt"
    dtypes = ("float64", "float32", "bfloat16", "float16")
    refusals = (ValueError, RuntimeError)

    def __init__(self, device: str) -> None:
        super().__init__(device)
        if device == "gpu":
            if not torch.cuda.is_available():
                raise UnavailableError("torch sees no GPU (torch.cuda.is_available() is False)")
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = False
            # All that can be: the heads' adaptive pool has no such gradient on a GPU.
            torch.use_deterministic_algorithms(True, warn_only=True)
            warnings.filterwarnings("ignore", "adaptive_avg_pool2d_backward_cuda")
        self.torch_device = torch.device("cuda:0" if device == "gpu" else device)

    def versions(self) -> dict[str, str]:
        versions = {"torch": str(torch.__version__)}
        if self.device == "gpu":
            versions["gpu"] = torch.cuda.get_device_name(0)
        return versions

    def build(self, network: Network, options: Mapping[str, Any], dtype: str) -> Any:
        with self.torch_device:
            net = network.build(self.package, options)
        return net.to(self.torch_device, getattr(torch, dtype)).eval()

    def attach(self, module: Any, before: Before, after: After) -> Callable[[], None]:
        pre = module.register_forward_pre_hook(lambda _, args: before(args))
        post = module.register_forward_hook(lambda _, args, output: after(args, output))

        def detach() -> None:
            pre.remove()
            post.remove()

        return detach

    def to_native(self, array: NDArray[Any], dtype: str) -> Any:
        tensor = torch.from_numpy(array.copy())  # a memory map can't be written to
        return tensor.to(self.torch_device, getattr(torch, dtype))

    def to_shared(self, tensor: Any) -> NDArray[Any]:
        tensor = tensor.detach().cpu()
        small = tensor.dtype in (torch.bfloat16, torch.float16)
        return (tensor.float() if small else tensor).numpy()  # the writer copies

    def dtype_of(self, tensor: Any) -> str:
        return str(tensor.dtype).removeprefix("torch.")

    def forward(self, net: Any, x: Any, training: bool = False) -> Any:
        if training:
            net.train()
        with torch.no_grad():
            return net(x)

    def dropout(self, module: Any) -> float | None:
        return module.p if isinstance(module, torch.nn.Dropout) else None

    def multiply_by(self, module: Any, factors: Factors | None) -> None:
        def forward(x: torch.Tensor) -> torch.Tensor:
            if factors is None or not module.training:
                return x
            return x * self.to_native(factors(tuple(x.shape)), self.dtype_of(x))

        module.forward = forward

    @property
    def bn_unbiased(self) -> bool:
        return True

    def training(
        self, net: Any, recipe: Recipe, keep_gradients: bool = False,
        lr_of: Callable[[int], float] | None = None,
    ) -> Any:  # fmt: skip
        import inception_pt

        inception_pt.freeze(net, recipe.frozen)
        return inception_pt.Training(
            net,
            inception_pt.TrainingLoss(recipe.label_smoothing, recipe.aux_weight),
            getattr(inception_pt, recipe.optimizer)(net.parameters(), **recipe.settings),
            seed=recipe.seed,
            lr_of=lr_of,
            autocast=recipe.precision == "bfloat16",
            channels_last=recipe.channels_last,
        )

    def gradients(self, net: Any, training: Any) -> dict[str, NDArray[Any]]:
        found = {name: parameter.grad for name, parameter in net.named_parameters()}
        return {n: self.to_shared(g).copy() for n, g in found.items() if g is not None}

    def input_gradient(
        self, net: Any, training: Any, images: NDArray[Any], labels: NDArray[Any]
    ) -> NDArray[Any]:
        net.train()
        dtype = self.dtype_of(next(net.parameters()))
        x = self.to_native(images, dtype).requires_grad_()
        loss = training.loss(net(x), torch.from_numpy(labels).to(self.torch_device))
        (gradient,) = torch.autograd.grad(loss, x)
        return self.to_shared(gradient)
