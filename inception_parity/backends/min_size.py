"""The smallest square image that each network takes, found by trying.

The oracle is tried with an empty batch, PyTorch with tensors that have a
shape and no content: both cost nothing. Keras and MXNet compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..networks import catalogue
from .base import adapter

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
        training: whether it is tried in training mode, as in `Adapter.forward`.
        batch: number of images.

    Raises:
        InputError: no such network, option or backend, or no size up to LARGEST is accepted.
    """
    network = catalogue.network(name)
    options = network.resolve(settings or {})
    if not catalogue.backend(backend).package:
        raise InputError(f"{backend} runs files, not networks; leave it out of --backends")
    smallest = _search(_oracle(network, options, training), 1, name)
    if backend == catalogue.ORACLE:
        return smallest
    # A framework differs from the geometry by a few sizes, if at all: start there.
    accepts = probe(backend, network, options, training, batch)
    return _search(accepts, smallest, name, f" in {backend}")


def _search(accepts: Probe, start: int, name: str, where: str = "") -> int:
    """Return the smallest size that is accepted, looking upwards from `start`, then downwards."""
    size = next((size for size in range(start, LARGEST + 1) if accepts(size)), None)
    if size is None:
        raise InputError(f"{name} takes no square image up to {LARGEST}x{LARGEST}{where}")
    while size > 1 and accepts(size - 1):
        size -= 1
    return size


def _oracle(network: catalogue.Network, options: Options, training: bool) -> Probe:
    if "return_aux" in options:
        options = options | {"return_aux": training and bool(options["use_aux"])}
    return probe(catalogue.ORACLE, network, options, training=False, batch=0)


def probe(
    name: str, network: catalogue.Network, options: Options, training: bool, batch: int
) -> Probe:
    """Return a function that says whether a backend takes a square image of a given side."""
    backend = adapter(name, "meta" if name == "pt" else "cpu")
    net = backend.build(network, options, "float32")

    def accepts(size: int) -> bool:
        images = np.zeros((batch, int(options["in_channels"]), size, size), np.float32)
        try:
            backend.forward(net, backend.to_native(images, "float32"), training)
        except backend.refusals:
            return False
        return True

    return accepts
