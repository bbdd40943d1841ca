"""ONNX as what weights are converted to: a network of ours with them, exported.

A file has one size of images, and computes what the framework that it is exported from
was found to compute. Which one that is makes no difference to the file, and is
chosen by what is installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from ..checking import runner
from ..checking.task import Settings, make_task
from ..errors import InputError, ReportedError
from ..formats import onnx
from ..libraries import ONNX, SHARED
from ..networks import catalogue
from ..onnx import exporters, model_file
from ..traces.weights import SharedWeights
from .identifying import Found
from .verifying import Size

SUFFIX = ".onnx"


class ExportError(ReportedError):
    """The framework that should have exported the network is missing, crashed or timed out."""


def is_onnx(found: Found) -> bool:
    """Return whether a source is an ONNX file of ours, which runs."""
    return found.library == SHARED and found.content.format == ONNX


def fixed_size(found: Found) -> Size | None:
    """Return the (height, width) that a source takes alone: an ONNX file's, if it has one."""
    if is_onnx(found):
        return model_file.describe(found.path).size
    shapes = found.content.metadata["inputs"] if found.content.format == ONNX else []
    images = [shape for shape in shapes if len(shape) == 4]
    if len(images) == 1 and min(images[0][2:]) > 0:
        return images[0][2], images[0][3]
    return None


def size_of(found: Found, asked: Size | None) -> Size:
    """Return the (height, width) of a target's images: what is asked for, or the network's own.

    Raises:
        InputError: the source is an ONNX file of another size, beside which nothing is proven.
    """
    own = fixed_size(found)
    if own is not None:
        if asked not in (None, own):
            raise InputError(
                f"{found.path}: takes images of {own[0]}x{own[1]}, and so will what is made of "
                "it; for another size convert it to shared weights first"
            )
        return own
    if asked is not None:
        return asked
    network = catalogue.network(found.network)
    return network.size if found.info is None else found.info.networks[found.network].sizes[0]


def exporter_of(found: Found, backends: Sequence[str] | None) -> str:
    """Return the backend whose network is exported: the one asked for, or the source's own.

    Raises:
        InputError: more than one is asked for, or one that isn't exported.
    """
    if backends is not None:
        for backend in backends:
            catalogue.backend(backend)
        if len(backends) != 1 or backends[0] not in exporters.BACKENDS:
            raise InputError(
                f"backends {', '.join(backends) or 'none'}, but an ONNX file is exported from "
                f"one: {', '.join(exporters.BACKENDS)}"
            )
        return backends[0]
    own = [] if found.info is None else [found.info.backend]
    order = [*own, *exporters.BACKENDS]
    there = (b for b in order if importlib.util.find_spec(catalogue.BACKENDS[b].framework))
    return next(there, order[0])


def write(
    shared: SharedWeights,
    exporter: str,
    size: Size,
    file: Path,
    timeout: float,
    progress: Callable[[str], None],
) -> None:
    """Export a network with these weights to a file, in a process of its own.

    Raises:
        InputError: the network doesn't take images of that size, or can't be written.
        ExportError: the framework is missing, crashed or timed out.
    """
    task = make_task(shared, None, size, 1)
    settings = Settings((exporter,), ("float32",), timeout=timeout)
    outcome = runner.export_one(task, settings, file, progress)
    if outcome.status != "ok":
        raise ExportError(
            f"{catalogue.BACKENDS[exporter].title} can't export it: {outcome.status}: "
            f"{outcome.message}"
        )


def require_name(target: Path) -> None:
    """Raise InputError unless a target is called as ONNX files are."""
    if not target.name.endswith(SUFFIX):
        raise InputError(f"{target}: for {onnx.TITLE} a file's name should end in {SUFFIX}")
