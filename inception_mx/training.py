"""The training loop of the Inception family in MXNet Gluon: hybridized, `autograd`, `Trainer`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._mxnet import gluon, mxnet
from .weights import _arrays

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
        network: gluon.HybridBlock,
        loss: gluon.loss.Loss | None = None,
        optimizer: mxnet.optimizer.Optimizer | None = None,
        *,
        seed: int = 0,
        lr_of: Callable[[int], float] | None = None,
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.seed = seed
        self.lr_of = lr_of
        self.parameters = network.collect_params()
        self.network.hybridize(static_alloc=True)
        if optimizer is not None:
            self.trainer = gluon.Trainer(self.parameters, optimizer, kvstore=None)

    def epoch(self, batches: Batches, on_step: OnStep, first_step: int = 0) -> None:
        """Train on every batch.

        Args:
            batches: (images, labels): (N, C, H, W), and (N,) of whole numbers.
            on_step: called after each step; what it raises ends the epoch.
            first_step: the first step's number, counted from the start of training.
        """
        for step, (images, labels) in enumerate(batches, first_step):
            mxnet.random.seed(seed_of_step(self.seed, step))
            if self.lr_of is not None and self.optimizer is not None:
                self.trainer.set_learning_rate(self.lr_of(step))
            on_step(*self._train_step(*self._native(images, labels)))

    def _train_step(self, images: Any, labels: Any) -> tuple[float, int]:
        assert self.loss is not None
        with mxnet.autograd.record():
            outputs = self.network(images)
            loss = self.loss(outputs, labels)
        loss.backward()
        self.trainer.step(len(labels))
        return float(loss.mean()), _count_right(outputs, labels)

    def evaluate(self, batches: Batches, on_step: OnStep) -> None:
        """Test on every batch, in inference mode; the loss is cross-entropy.

        Args:
            batches: (images, labels): (N, C, H, W), and (N,) of whole numbers.
            on_step: called after each batch; what it raises ends the test.
        """
        for images, labels in batches:
            on_step(*self._test_step(*self._native(images, labels)))

    def _test_step(self, images: Any, labels: Any) -> tuple[float, int]:
        outputs = self.network(images)
        loss = gluon.loss.SoftmaxCrossEntropyLoss()(_logits(outputs), labels)
        return float(loss.mean()), _count_right(outputs, labels)

    def _native(self, images: NDArray[Any], labels: NDArray[Any]) -> tuple[Any, Any]:
        like = next(iter(self.parameters.values()))
        (device,) = like.list_ctx()
        x = mxnet.np.array(images, dtype=like.dtype, ctx=device)
        return x, mxnet.np.array(labels, dtype="int32", ctx=device)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the optimiser's arrays, under this framework's own names."""
        assert self.optimizer is not None
        (updater,) = self.trainer._updaters
        found = {}
        for index, count in self.optimizer._index_update_count.items():
            found[f"{index:04d}/count"] = np.array(count)
            for slot, value in enumerate(_tuple(updater.states[index])):
                found[f"{index:04d}/{slot}"] = value.asnumpy()
        return found

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore the optimiser's arrays from what `get_state` returned.

        Raises:
            KeyError: an array belongs to no parameter of the network.
        """
        assert self.optimizer is not None
        (updater,) = self.trainer._updaters
        parameters = dict(enumerate(self.trainer._params))
        for key, array in state.items():
            name, _, slot = key.partition("/")
            index = int(name)
            if slot == "count":
                self.optimizer._index_update_count[index] = int(array)
                self.optimizer.num_update = max(self.optimizer.num_update, int(array))
                continue
            if index not in updater.states:
                weight = parameters[index].data().as_nd_ndarray()
                updater.states[index] = self.optimizer.create_state_multi_precision(index, weight)
                updater.states_synced[index] = True
            _tuple(updater.states[index])[int(slot)][:] = mxnet.nd.array(array, dtype=array.dtype)


def freeze(network: gluon.HybridBlock, frozen: Collection[str]) -> None:
    """Train all arrays of a network but these, until it is called again.

    A batch norm none of whose arrays is trained keeps its running statistics and normalises by
    them, as in inference.

    Args:
        network: one of this package's; it is changed in place.
        frozen: shared names of the arrays; none to train all.
    """
    arrays = _arrays(network)
    for name, parameter in arrays.items():
        if not name.endswith((".running_mean", ".running_var")):
            parameter.grad_req = "null" if name in frozen else "write"
    still = {
        path
        for path in {name.rpartition(".")[0] for name in arrays if name.endswith(".running_var")}
        if all(
            f"{path}.{name}" in frozen for name in ("weight", "bias") if f"{path}.{name}" in arrays
        )
    }

    def visit(block: gluon.Block, path: str) -> None:
        if isinstance(block, gluon.nn.BatchNorm):
            block._kwargs["use_global_stats"] = path in still
        if isinstance(block, gluon.HybridBlock):
            block._clear_cached_op()
        for name, child in block._children.items():
            visit(child, f"{path}.{name}" if path else name)

    visit(network, "")


def seed_of_step(seed: int, step: int) -> int:
    """Return a step's own seed, from 0 to 2^31 - 1."""
    return (seed * 1_000_003 + step) * 7_919 % (1 << 31)


def _tuple(state: Any) -> tuple[Any, ...]:
    """Return one parameter's optimiser state as a tuple: no array, one, or several."""
    return () if state is None else state if isinstance(state, tuple) else (state,)


def _logits(outputs: Any) -> Any:
    """Return the classifier's output, the first of a network's outputs."""
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs


def _count_right(outputs: Any, labels: Any) -> int:
    found = _logits(outputs).argmax(axis=1)
    return int((found.astype(labels.dtype) == labels).sum())
