"""Adapters that run libraries' networks, from the libraries' files, with their own loaders.

They leave traces under our names, so a library's network is compared as any backend is.
The arrays that the library reads from a file are also compared with those that our reader
finds in it.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from ... import libraries
from ..base import Adapter, UnavailableError, adapter


def library_adapter(name: str, device: str, file: Path, backend: str = "") -> Adapter:
    """Return the adapter of a library, which imports it.

    Args:
        name: one of `libraries.LIBRARIES`.
        device: `cpu` or `gpu`.
        file: a file of weights in a format that the library reads itself; or an ONNX file
            with its names, which is run, and not the library.
        backend: `onnx` for the latter.

    Raises:
        UnavailableError: the library, or ONNX Runtime, can't be imported.
    """
    info = libraries.library(name)
    if backend == "onnx":
        adapter("onnx", device)  # for its error where it can't be imported
        name = "onnx"
    try:
        found: Adapter = importlib.import_module(f".{name}", __name__).Backend(device, file, info)
    except ImportError as error:
        raise UnavailableError(
            f"{info.title} can't be imported here ({error}); pip install {info.distribution}"
        ) from error
    return found
