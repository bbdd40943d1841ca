"""The smallest square image that each network takes, found by trying.

The oracle is tried with an empty batch, PyTorch with tensors that have a
shape and no content: both cost nothing. Keras and MXNet compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..networks import catalogue

LARGEST = 512  # where trying ends

Options = dict[str, int | bool | float]
Probe = Callable[[int], bool]


@dataclass(frozen=True)
class SmallestSize:
    """The smallest square image for one network in one backend and mode."""

    network: str
    backend: str
    training: bool
    batch: int
    size: int


def rows(
    names: Iterable[str] | None = None,
    backends: Iterable[str] = (catalogue.ORACLE, "pt"),
    settings: Mapping[str, Any] | None = None,
) -> list[SmallestSize]:
    """Return the smallest sizes in inference, and in training with one image and with two.

    Args:
        names: networks; all of the catalogue if None.
        backends: where to try them. The oracle, which has no training, runs the
            heads instead, and doesn't know batch norm's requirements.
        settings: options that aren't the defaults, for all networks.

    Raises:
        InputError: no such network, option or backend, or no size is accepted.
    """
    modes = ((False, 1), (True, 1), (True, 2))
    return [
        SmallestSize(name, backend, training, batch, find(name, settings, backend, training, batch))
        for name in (catalogue.NETWORKS if names is None else names)
        for backend in backends
        for training, batch in modes
    ]


def find(
    name: str,
    settings: Mapping[str, Any] | None = None,
    backend: str = catalogue.ORACLE,
    training: bool = False,
    batch: int = 1,
) -> int:
    """Return the side of the smallest square image that a network takes.

    Args:
        name: the network.
        settings: options that aren't the defaults.
        backend: where to try it.
        training: in training mode, where heads run and batch norm takes the
            batch's own statistics; or in inference.
        batch: number of images.

    Raises:
        InputError: no such network, option or backend, or no size up to LARGEST
            is accepted.
    """
    network = catalogue.network(name)
    options = network.resolve(settings or {})
    accepts = _oracle(network, options, training)
    smallest = next((size for size in range(1, LARGEST + 1) if accepts(size)), None)
    if smallest is None:
        raise InputError(f"{name} takes no square image up to {LARGEST}x{LARGEST}")
    if catalogue.backend(backend).name == catalogue.ORACLE:
        return smallest
    # A framework differs from the geometry by a few sizes, if at all: start there.
    accepts = probe(backend, network, options, training, batch)
    if accepts(smallest):
        while smallest > 1 and accepts(smallest - 1):
            smallest -= 1
        return smallest
    for size in range(smallest + 1, LARGEST + 1):
        if accepts(size):
            return size
    raise InputError(f"{name} takes no square image up to {LARGEST}x{LARGEST} in {backend}")


def probe(
    backend: str, network: catalogue.Network, options: Options, training: bool, batch: int
) -> Probe:
    """Return a function that says whether a framework takes a square image of a given side."""
    return _PROBES[backend](network, options, training, batch)


def _accepts(run: Callable[[int], Any], refusals: tuple[type[Exception], ...]) -> Probe:
    def accepts(size: int) -> bool:
        try:
            run(size)
        except refusals:
            return False
        return True

    return accepts


def _oracle(network: catalogue.Network, options: Options, training: bool) -> Probe:
    import numpy as np

    if "return_aux" in options:
        options = options | {"return_aux": training and bool(options["use_aux"])}
    net = network.build("inception_np", options)
    channels = int(options["in_channels"])
    return _accepts(lambda size: net(np.zeros((0, channels, size, size))), (ValueError,))


def _torch(network: catalogue.Network, options: Options, training: bool, batch: int) -> Probe:
    import torch

    with torch.device("meta"):
        net = network.build("inception_pt", options).train(training)
        channels = int(options["in_channels"])

    def run(size: int) -> None:
        with torch.no_grad():
            net(torch.empty(batch, channels, size, size, device="meta"))

    return _accepts(run, (ValueError, RuntimeError))


def _keras(network: catalogue.Network, options: Options, training: bool, batch: int) -> Probe:
    from .base import adapter

    backend = adapter("tf")
    import numpy as np
    import tensorflow as tf

    net = backend.build(network, options, "float32")
    channels = int(options["in_channels"])

    def run(size: int) -> None:
        net(np.zeros((batch, size, size, channels), np.float32), training=training)

    return _accepts(run, (ValueError, tf.errors.OpError))


def _mxnet(network: catalogue.Network, options: Options, training: bool, batch: int) -> Probe:
    from .base import adapter

    backend = adapter("mx")
    import mxnet

    net = backend.build(network, options, "float32")

    def run(size: int) -> None:
        x = mxnet.np.zeros((batch, options["in_channels"], size, size))
        with mxnet.autograd.train_mode() if training else mxnet.autograd.predict_mode():
            outputs = net(x)
        for output in outputs if isinstance(outputs, tuple) else (outputs,):
            output.wait_to_read()  # errors of MXNet's engine surface here

    return _accepts(run, (ValueError, mxnet.MXNetError))


_PROBES = {"pt": _torch, "tf": _keras, "mx": _mxnet}
