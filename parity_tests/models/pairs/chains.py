"""Models that are layers one after another, in each framework's own words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...support.small_models import mxnet_module

Make = Callable[[Any], Sequence[Any]]


def torch_chain(make: Make, seed: int = 0) -> Any:
    """A sequence of torch's modules with random weights.

    Args:
        make: takes `torch.nn`, and returns the modules.
        seed: of the weights.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    net = nn.Sequential(*make(nn)).eval()
    with torch.no_grad():
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif tensor.is_floating_point():
                tensor.normal_(0.0, 0.4)
    return net


def keras_chain(make: Make, shape: Sequence[int | None], seed: int = 0) -> Any:
    """A sequential Keras model with random weights.

    Args:
        make: takes `keras.layers`, and returns the layers.
        shape: of the input, without the batch; channels last.
        seed: of the weights.
    """
    import keras

    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input(tuple(shape)), *make(keras.layers)])


def gluon_chain(make: Make, seed: int = 0) -> Any:
    """A sequence of Gluon's blocks with random weights.

    Args:
        make: takes `mxnet.gluon.nn`, and returns the blocks.
        seed: of the weights.
    """
    mxnet = mxnet_module()
    mxnet.random.seed(seed)
    net = mxnet.gluon.nn.HybridSequential()
    for block in make(mxnet.gluon.nn):
        net.add(block)
    net.initialize(mxnet.init.Normal(0.4))
    return net
