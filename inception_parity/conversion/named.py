"""Weights for commands that take a file of shared weights, or a name of the index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import pretrained
from ..pretrained.fetching import on_stderr
from ..traces import weights
from ..traces.weights import SharedWeights
from .converting import read
from .identifying import identify


def shared_weights(path: Path, say: Callable[[str], None] = on_stderr) -> SharedWeights:
    """Return the weights of a file of shared weights, or of a name of the index.

    Those of a name are converted in memory, and aren't compared with the network that they come
    from; `convert` does that.

    Args:
        path: the file, or the name.
        say: told in lines how far a download is.

    Raises:
        InputError: the file can't be had, or used.
    """
    return weights.read(path) if pretrained.known(path) is None else read(identify(path, say=say))
