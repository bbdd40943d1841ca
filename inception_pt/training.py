"""The training loop of the Inception family in PyTorch: eager, with optional autocast."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .layers import BatchNorm2d

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
        autocast: compute convolutions and products in bfloat16; weights stay as they are.
        channels_last: keep arrays as (N, H, W, C) in memory, which is faster on CPUs.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        seed: int = 0,
        lr_of: Callable[[int], float] | None = None,
        autocast: bool = False,
        channels_last: bool = False,
    ) -> None:
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.loss = loss
        self.optimizer = optimizer
        self.seed = seed
        self.lr_of = lr_of
        self.autocast = autocast

    def epoch(self, batches: Batches, on_step: OnStep, first_step: int = 0) -> None:
        """Train on every batch.

        Args:
            batches: (images, labels): (N, C, H, W), and (N,) of whole numbers.
            on_step: called after each step; what it raises ends the epoch.
            first_step: the first step's number, counted from the start of training.
        """
        self.network.train()
        for step, (images, labels) in enumerate(batches, first_step):
            torch.manual_seed(seed_of_step(self.seed, step))
            if self.lr_of is not None and self.optimizer is not None:
                for group in self.optimizer.param_groups:
                    group["lr"] = self.lr_of(step)
            on_step(*self._train_step(*self._native(images, labels)))

    def _train_step(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        assert self.loss is not None
        assert self.optimizer is not None
        self.optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.autocast):
            outputs = self.network(images)
            loss = self.loss(outputs, labels)
        loss.backward()
        self.optimizer.step()
        return loss.item(), _count_right(outputs, labels)

    def evaluate(self, batches: Batches, on_step: OnStep) -> None:
        """Test on every batch, in inference mode; the loss is cross-entropy.

        Args:
            batches: (images, labels): (N, C, H, W), and (N,) of whole numbers.
            on_step: called after each batch; what it raises ends the test.
        """
        self.network.eval()
        for images, labels in batches:
            on_step(*self._test_step(*self._native(images, labels)))

    @torch.no_grad()
    def _test_step(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        outputs = self.network(images)
        loss = nn.functional.cross_entropy(_logits(outputs), labels)
        return loss.item(), _count_right(outputs, labels)

    def _native(self, images: NDArray[Any], labels: NDArray[Any]) -> tuple[Tensor, Tensor]:
        like = next(self.network.parameters())
        x = torch.from_numpy(images).to(like.device, like.dtype)
        y = torch.from_numpy(labels).to(like.device)
        return x.contiguous(memory_format=self.memory_format), y

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the optimiser's arrays, under this framework's own names."""
        assert self.optimizer is not None
        return {
            f"{name}/{slot}": value.detach().cpu().contiguous().numpy().copy()
            for name, parameter in self.network.named_parameters()
            for slot, value in self.optimizer.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore the optimiser's arrays from what `get_state` returned.

        Raises:
            KeyError: an array belongs to no parameter of the network.
        """
        assert self.optimizer is not None
        parameters = dict(self.network.named_parameters())
        for key, array in state.items():
            name, _, slot = key.rpartition("/")
            like, value = parameters[name], torch.from_numpy(np.array(array))
            # A count of steps is a scalar, which PyTorch keeps on the CPU.
            self.optimizer.state[like][slot] = value.to(like.device) if value.ndim else value


def freeze(network: nn.Module, frozen: Collection[str]) -> None:
    """Train all arrays of a network but these, until it is called again.

    A batch norm none of whose arrays is trained keeps its running statistics and normalises by
    them, as in inference.

    Args:
        network: one of this package's; it is changed in place.
        frozen: shared names of the arrays; none to train all.
    """
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    for path, module in network.named_modules():
        if isinstance(module, BatchNorm2d):
            names = [f"{path}.{name}" for name, _ in module.named_parameters()]
            module.frozen = all(name in frozen for name in names)
            module.train(network.training)


def seed_of_step(seed: int, step: int) -> int:
    """Return a step's own seed, from 0 to 2^31 - 1."""
    return (seed * 1_000_003 + step) * 7_919 % (1 << 31)


def _logits(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the classifier's output, the first of a network's outputs."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _count_right(outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> int:
    return int((_logits(outputs).argmax(dim=1) == labels).sum())
