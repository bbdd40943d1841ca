"""Weights from one library's file into another's, or into ours, and the proof that they fit.

A conversion reads the source, writes the target under another name, runs the source's
own network beside the converted one, and only then lets the target appear.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import libraries
from ..errors import DIVERGE, InputError, ReportedError
from ..files import write_whole
from ..libraries import ONNX, SHARED, Library
from ..networks import catalogue
from ..onnx import model_file
from ..traces import weights
from ..traces.weights import SharedWeights
from . import onnx_target
from .identifying import Found, identify
from .verifying import Side, Size, Verification, verify

OUR_SIZES: tuple[Size, ...] = ((97, 128),)  # beside the network's own, where nobody else has one


class DisagreeError(ReportedError):
    """The converted network doesn't compute what the source does."""

    exit_code = DIVERGE


class UnprovenError(ReportedError):
    """A network that should have run for the proof crashed, or ran out of time."""


@dataclass(frozen=True)
class Conversion:
    """What was converted, and whether it is proven."""

    found: Found
    weights: SharedWeights
    to: str
    verification: Verification | None  # None: not asked for
    size: Size | None = None  # (height, width) of images, where the target is made for one


def convert(
    source: Path,
    target: Path,
    to: str = SHARED,
    *,
    library: str | None = None,
    network: str | None = None,
    settings: Mapping[str, Any] | None = None,
    backends: Sequence[str] | None = None,
    size: Size | None = None,
    prove: bool = True,
    timeout: float = 600.0,
    progress: Callable[[str], None] = lambda text: None,
) -> Conversion:
    """Convert a file of weights.

    Args:
        source: a file of any format in `formats`.
        target: the file to write; for a library its suffix says in which format.
        to: `shared`, `onnx`, or one of `libraries.LIBRARIES`.
        library: whose the source is, where that is in doubt.
        network: our name of its network, where that is in doubt.
        settings: options that the file can't tell, such as `transform_input`.
        backends: which of ours the source is compared with, for `shared`; all by default.
            For `onnx`, the one that is exported; by default the source's own framework.
        size: (height, width) of the images that an ONNX file takes; by default those that
            the network is made for.
        prove: whether to run both sides; otherwise the target is marked unverified.
        timeout: seconds after which a network that runs is given up.
        progress: called with a line that says what is being done.

    Raises:
        InputError: the source can't be used, or the target can't hold its network.
        DisagreeError: the two sides don't agree; nothing is written then.
        UnprovenError: one of them crashed, or took too long; nothing is written.
        onnx_target.ExportError: the network couldn't be exported; nothing is written.
    """
    info = _target(target, to)
    if size is not None and to != ONNX:
        raise InputError(f"a size is for {ONNX} alone: {to} files take images of any")
    progress("reading")
    found = identify(source, library, network, settings)
    shared = read(found)
    if info is not None:
        _require_room(found, shared, info)
    if to == ONNX:
        size = onnx_target.size_of(found, size)
        backends = [onnx_target.exporter_of(found, backends)]
    sides = _targets(found, shared, info, backends)
    own = sides[0].backend  # of ours, beside what is made of a file of ours
    with _neighbour(target) as partial:
        if size is not None:
            onnx_target.write(shared, own, size, partial, timeout, progress)
            sides = [Side(ONNX, shared.options, shared.arrays, file=partial.absolute())]
        if info is not None:
            progress(f"writing for {info.title}")
            options, arrays = libraries.fit(info, found.network, found.options, shared.arrays)
            _write(info, SharedWeights(found.network, options, "", arrays), partial, target)
            sides = [replace(sides[0], file=partial)]
        verification = None
        if prove:
            against = _source(found, shared, own)
            sizes = _sizes(found, info) if size is None else [size]
            verification = verify(found.network, against, sides, sizes, timeout, progress)
            _require_agreement(source, verification)
        shared = replace(shared, history=_history(found, verification))
        if to == ONNX:
            model_file.note(partial, "history", json.dumps(shared.history))
        if to == SHARED:
            weights.write(target, shared)
        else:
            partial.replace(target)
    return Conversion(found, shared, to, verification, size)


def read(found: Found) -> SharedWeights:
    """Return what an identified file holds, as shared weights.

    Raises:
        InputError: arrays are missing, unexpected or unusable (all named), or a
            file of ours has changed since it was written.
    """
    arrays = found.arrays()
    provenance = f"converted from {found.title}, {found.path.name}"
    history: Mapping[str, Any] = {}
    if found.library == SHARED and found.content.format == "safetensors":
        own = weights.read(found.path)
        provenance, history = own.provenance, own.history
    if onnx_target.is_onnx(found):
        provenance = model_file.read(found.path)[0].provenance
    return SharedWeights(found.network, found.options, provenance, arrays, history)


def load_pretrained(
    path: str | Path,
    backend: str,
    *,
    prove: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """Return a network of ours with the weights of a file, whosever it is.

    Args:
        path: a file of any format in `formats`.
        backend: `pt`, `tf`, `mx` or `np`: which package's network.
        prove: whether the source's own network is run beside it first, if its
            library is installed; otherwise a warning says that nothing is proven.
            Files of ours aren't run again: whether they were verified stands in them.
        settings: options that the file can't tell, such as `transform_input`.

    Raises:
        InputError: the file can't be used.
        DisagreeError: the two networks don't agree.
        UnprovenError: one of them crashed, or took too long.
    """
    info = catalogue.backend(backend)
    found = identify(Path(path), settings=settings)
    shared = read(found)
    if prove and found.library != SHARED:
        side = Side(backend, found.options, shared.arrays)
        source = _source(found, shared, backend)
        verification = verify(found.network, source, [side], _sizes(found, None))
        _require_agreement(Path(path), verification)
        if not verification.agree:
            warnings.warn(f"{path}: unverified: {verification.reason}", stacklevel=3)
    net = catalogue.network(found.network).build(info.package, found.options)
    importlib.import_module(info.package).set_weights(net, shared.arrays)
    return net


def _target(target: Path, to: str) -> Library | None:
    if to == ONNX:
        onnx_target.require_name(target)
    if to in (SHARED, ONNX):
        return None
    info = libraries.module(to).LIBRARY
    if not target.name.endswith(info.suffixes):
        raise InputError(
            f"{target}: for {info.title} a file's name should end in {' or '.join(info.suffixes)}"
        )
    return info


def _require_room(found: Found, shared: SharedWeights, info: Library) -> None:
    """Raise InputError unless the library's network can compute what the source does."""
    wrong = libraries.obstacles(info, found.network, found.options, shared.arrays)
    if wrong:
        version = info.networks.get(found.network)
        title = f"{info.title} {version.title}" if version else info.title
        raise InputError(
            f"{found.path}: {found.title} can't become {title}, which would compute something "
            f"else:\n  " + "\n  ".join(wrong)
        )


def _targets(
    found: Found, shared: SharedWeights, info: Library | None, backends: Sequence[str] | None
) -> list[Side]:
    if info is not None:
        options, arrays = libraries.fit(info, found.network, found.options, shared.arrays)
        return [Side(info.backend, options, arrays, info.name)]
    chosen = catalogue.default_backends() if backends is None else backends
    for backend in chosen:
        catalogue.backend(backend)
    return [Side(backend, found.options, shared.arrays) for backend in chosen]


def _source(found: Found, shared: SharedWeights, backend: str) -> Side:
    """Return the source's own network: a library's, an ONNX file, or else ours in `backend`."""
    if onnx_target.is_onnx(found):
        options = model_file.describe(found.path).origin.options
        return Side(ONNX, options, found.content.arrays, file=found.path.absolute())
    if found.info is not None and found.content.format == ONNX:
        return Side(ONNX, found.options, shared.arrays, found.library, found.path.absolute())
    if found.info is None:
        return Side(backend, found.options, shared.arrays)
    return Side(
        found.info.backend, found.options, shared.arrays, found.library, found.path.absolute()
    )


def _sizes(found: Found, info: Library | None) -> Sequence[Size]:
    """Return image sizes on which both sides compute the same; an ONNX file's own is the one."""
    fixed = onnx_target.fixed_size(found)
    if fixed is not None:
        return [fixed]
    versions = [i.networks[found.network] for i in (found.info, info) if i is not None]
    if not versions:
        return (catalogue.network(found.network).size, *OUR_SIZES)
    # A library's sizes are those that it can do; the one that can do least decides.
    return min((version.sizes for version in versions), key=lambda sizes: -sizes[-1][0])


def _require_agreement(source: Path, verification: Verification) -> None:
    wrong = [
        f"{row.target}, {row.dtype}, {row.size[0]}x{row.size[1]}: "
        + (row.problem or f"relative L2 {row.worst:.1e} at {row.at}, logits {row.logits:.1e}")
        for row in verification.rows
        if row.fails
    ]
    if wrong:
        raise DisagreeError(
            f"{source}: the converted network doesn't compute what {verification.source}'s does; "
            "nothing was written:\n  " + "\n  ".join(wrong)
        )
    if verification.broken:
        raise UnprovenError(
            f"{source}: can't be verified, so nothing was written (--no-verify writes it, and "
            f"marks it unverified):\n  {verification.broken}"
        )


def _history(found: Found, verification: Verification | None) -> dict[str, Any]:
    """Return what the target's metadata say of where it comes from."""
    proof = {"status": "unverified", "reason": "not asked for (--no-verify)"}
    return {
        "source": {
            "file": found.path.name,
            "sha256": found.sha256,
            "format": found.content.format,
            "library": found.library,
            "network": found.title,
            "assumed": list(found.assumed),
            "notes": list(found.notes),
        },
        "verification": proof if verification is None else verification.record(),
    }


@contextlib.contextmanager
def _neighbour(target: Path) -> Iterator[Path]:
    """Yield a name beside the target, with its suffix; what is there goes in the end."""
    partial = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _write(info: Library, shared: SharedWeights, partial: Path, target: Path) -> None:
    """Write shared weights in the format of a library."""
    try:
        _encode(info, shared, partial, target)
    except (OSError, RuntimeError) as error:  # the latter is how PyTorch says it
        raise InputError(f"{target}: can't be written ({error})") from error


def _encode(info: Library, shared: SharedWeights, partial: Path, target: Path) -> None:
    module = libraries.module(info.name)
    names = module.names(shared.network, shared.arrays, None)
    arrays = {names[name]: info.from_shared(array) for name, array in shared.arrays.items()}
    suffix = next(suffix for suffix in info.suffixes if target.name.endswith(suffix))
    if info.backend == "pt":
        from ..formats import torch as torch_files

        torch_files.write(partial, arrays, {} if suffix == ".safetensors" else None)
    elif info.backend == "mx":
        from ..formats import mxnet as mxnet_files

        write_whole(partial, mxnet_files.encode(arrays))
    else:
        from ..formats import keras as keras_files

        keras_files.write(partial, arrays)
