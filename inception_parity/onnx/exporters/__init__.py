"""Exporters: each turns a framework's own record of a network into an ONNX graph.

PyTorch's is what `torch.export` captures, TensorFlow's the graph of a function,
MXNet's the symbol: what the network computes, and not what its classes are called.
All three write the same few operators with `graph.Graph`, so that a difference
between two files is one between two networks. Importing this package imports no
framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ...errors import InputError

if TYPE_CHECKING:
    from ...backends import Adapter
    from .graph import Graph

BACKENDS = ("pt", "tf", "mx")


def graph_of(backend: Adapter, net: Any, outputs: tuple[str, ...], size: tuple[int, int]) -> Graph:
    """Return what a live network computes, for images of one size and batches of any.

    Args:
        backend: whose network it is.
        net: the network, in inference mode and float32.
        outputs: names for what it returns, in its order.
        size: (height, width) of the images.

    Raises:
        InputError: the network has an operation that isn't known here.
    """
    module = importlib.import_module(f".{backend.name}", __name__)
    graph: Graph = module.trace(backend, net, outputs, size)
    return graph


def unknown(operation: str, where: str) -> InputError:
    """Return the error for an operation that has no translation."""
    return InputError(
        f"{operation} in {where or 'the network'} can't be written as ONNX; a network of the "
        "catalogue has no such operation, so export it as it was built"
    )
