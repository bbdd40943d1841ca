"""Weights converted from one library's file into another's, ours, or ONNX.

A conversion reads the source, writes the target under a temporary name, runs the source's
own network and the converted one, and gives the target its name only if they agree.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import errors, libraries
from ..errors import DIVERGE, InputError, ReportedError
from ..files import write_whole
from ..libraries import ONNX, SHARED, Library
from ..networks import catalogue
from ..onnx import reading, writing
from ..traces import weights
from ..traces.weights import SharedWeights
from ..training.inputs import KEY
from . import native
from .found import Claim, Found
from .identifying import identify
from .verifying import Side, Size, Verification, verify

OUR_SIZES: tuple[Size, ...] = ((97, 128),)  # besides the network's own, for files of ours


class DisagreeError(ReportedError):
    """The converted network doesn't compute what the source does."""

    exit_code = DIVERGE


class UnprovenError(ReportedError):
    """A network that should have run for the proof crashed, or ran out of time."""


@dataclass(frozen=True)
class Wanted:
    """What is to be converted, and into what.

    Args:
        source: a file of any format in `formats`, or a name of the index in `pretrained`.
        target: the file to write; for a library its suffix says in which format.
        to: `shared`, `onnx`, one of `libraries.LIBRARIES`, or a backend (`pt`, `tf`, `mx`) for a
            file that its framework writes of our network; None for what the target's suffix says.
        claim: what is said about the source.
        backends: the backends whose networks are compared with the source's, for `shared` and
            `onnx`. By default all, for `shared`; an ONNX file runs itself, and an installed
            backend runs only if the source is one of shared weights, which needs a network.
        size: (height, width) of the images that an ONNX file takes; by default those that
            the network is made for.
        prove: whether to run both sides; if not, the target is marked unverified.
        timeout: time limit for each network that runs, in seconds.
    """

    source: Path
    target: Path
    to: str | None = None
    claim: Claim = field(default_factory=Claim)
    backends: Sequence[str] | None = None
    size: Size | None = None
    prove: bool = True
    timeout: float = 600.0

    @property
    def form(self) -> str:
        """What is converted to: `to`, or else what the target's suffix says."""
        if self.to is not None:
            return self.to
        return ONNX if self.target.suffix == ".onnx" else native.backend_of(self.target) or SHARED

    @property
    def native(self) -> bool:
        """Whether a framework writes the target."""
        return self.form in native.SUFFIXES

    def library(self) -> Library | None:
        """Return the library that is converted to, if any; the target's name has to fit."""
        own = self.form in (SHARED, ONNX) or self.native
        info = None if own else libraries.library(self.form)
        title, suffixes = ("ONNX", (".onnx",)) if info is None else (info.title, info.suffixes)
        if self.native:
            title, suffixes = catalogue.BACKENDS[self.form].title, native.SUFFIXES[self.form]
        if self.form != SHARED and not self.target.name.endswith(suffixes):
            raise InputError(
                f"{self.target}: for {title} a file's name should end in {' or '.join(suffixes)}"
            )
        if self.size is not None and self.form != ONNX:
            raise InputError(f"a size is for {ONNX} alone: {self.form} files take images of any")
        return info

    def chosen_backends(self) -> list[str]:
        """Return the backends that take part; the first runs a source of shared weights."""
        for backend in self.backends or ():
            catalogue.backend(backend)
            if backend == self.form == ONNX:
                raise InputError("an ONNX file isn't verified by another one; name other backends")
        if self.backends is not None:
            if not self.backends:
                raise InputError("no backends are named; leave that out for the default")
            return list(self.backends)
        if self.native:
            return [self.form]
        backends = list(catalogue.default_backends())
        return backends if self.form == SHARED else (catalogue.installed_backends() or backends)[:1]


@dataclass(frozen=True)
class Conversion:
    """What was converted, and whether it is proven."""

    found: Found
    weights: SharedWeights
    verification: Verification | None  # None: not asked for
    size: Size | None = None  # (height, width) of images, where the target is made for one


def convert(wanted: Wanted, progress: Callable[[str], None] = lambda text: None) -> Conversion:
    """Convert a file of weights.

    Args:
        wanted: the source, the target, and how to go from one to the other.
        progress: called with a line that says what is being done.

    Raises:
        InputError: the source can't be used, or the target can't hold its network.
        DisagreeError: the two sides don't agree; nothing is written then.
        UnprovenError: one of them crashed, or took too long; nothing is written.
    """
    info = wanted.library()
    names = wanted.chosen_backends() if info is None else [info.backend]
    progress("reading")
    found = identify(wanted.source, wanted.claim, progress)
    shared = read(found)
    if info is not None:
        require_room(found, shared, info)
    size = _size(found, wanted.size) if wanted.form == ONNX else None
    ours = [Side(backend, found.options, shared.arrays) for backend in names]
    first = source_side(found, shared) or ours[0]
    if wanted.native and first is ours[0]:  # another runs the shared weights
        first = Side(catalogue.ORACLE, found.options, shared.arrays)
    with _neighbour(wanted.target) as partial:
        targets = ours
        if size is not None:
            progress("writing for ONNX")
            writing.write(shared, size, partial)
            file = Side(ONNX, shared.options, shared.arrays, file=partial.absolute())
            asked = ours if wanted.backends is not None else []
            targets = [file, *(side for side in asked if side is not first)]
        elif info is not None:
            progress(f"writing for {info.title}")
            options, arrays = libraries.fit(info, found.network, found.options, shared.arrays)
            fitted = SharedWeights(found.network, options, "", arrays)
            write_library(info, fitted, partial, wanted.target)
            targets = [Side(info.backend, options, arrays, info.name, partial)]
        verification = None
        if wanted.prove:
            sizes = [size] if size is not None else sizes_of(found, info)
            verification = verify(found.network, first, targets, sizes, wanted.timeout, progress)
            require_agreement(wanted.source, verification)
        trained = {KEY: shared.history[KEY]} if KEY in shared.history else {}
        shared = replace(shared, history={**trained, **_history(found, verification)})
        if wanted.form == ONNX:
            writing.note(partial, "history", json.dumps(shared.history))
        if wanted.native:
            progress(f"writing {wanted.target.name}")
            native.write(wanted.form, shared, partial, wanted.target)
        if wanted.form == SHARED:
            weights.write(wanted.target, shared)
        else:
            partial.replace(wanted.target)
    return Conversion(found, shared, verification, size)


def read(found: Found) -> SharedWeights:
    """Return what an identified file holds, as shared weights.

    Raises:
        InputError: arrays are missing, unexpected or unusable (all named), or a
            file of shared weights has changed since it was written.
    """
    arrays = found.arrays()
    provenance = f"converted from {found.title}, {found.path.name}"
    history: Mapping[str, Any] = {}
    if found.library == SHARED and found.content.format == "safetensors":
        own = weights.read(found.path)
        provenance, history = own.provenance, own.history
    if found.is_our_onnx:
        provenance = reading.read(found.path)[0].provenance
        with errors.reading(found.path, "broken metadata"):
            history = dict(json.loads(found.content.metadata.get("history", "{}")).items())
    return SharedWeights(found.network, found.options, provenance, arrays, history)


def _size(found: Found, asked: Size | None) -> Size:
    """Return the (height, width) of a target's images: what is asked for, or the network's own.

    Raises:
        InputError: the source is an ONNX file of another size, so nothing could be verified.
    """
    own = found.fixed_size
    if own is not None:
        if asked not in (None, own):
            raise InputError(
                f"{found.path}: takes images of {own[0]}x{own[1]}, and so will what is made of "
                "it; for another size convert it to shared weights first"
            )
        return own
    return asked or sizes_of(found, None)[0]


def require_room(found: Found, shared: SharedWeights, info: Library) -> None:
    """Raise InputError unless the library's network can compute what the source does."""
    wrong = libraries.obstacles(info, found.network, found.options, shared.arrays)
    if wrong:
        raise InputError(
            f"{found.path}: {found.title} can't become {info.title_of(found.network)}, which "
            "would compute something else:\n  " + "\n  ".join(wrong)
        )


def source_side(found: Found, shared: SharedWeights) -> Side | None:
    """Return what runs for a source: an ONNX file itself or a library's network.

    None for shared weights, which any backend can run.
    """
    file = found.path.absolute()
    if found.is_our_onnx:
        options = reading.describe(found.path).options
        return Side(ONNX, options, found.content.arrays, file=file)
    if found.info is None:
        return None
    backend = ONNX if found.content.format == ONNX else found.info.backend
    return Side(backend, found.options, shared.arrays, found.library, file)


def sizes_of(found: Found, info: Library | None) -> Sequence[Size]:
    """Return image sizes on which both sides compute the same; an ONNX file's own is the one."""
    if found.fixed_size is not None:
        return [found.fixed_size]
    versions = [i.networks[found.network] for i in (found.info, info) if i is not None]
    if not versions:
        return (catalogue.network(found.network).size, *OUR_SIZES)
    # A library's sizes are those that it can do; the one that can do least decides.
    return min((version.sizes for version in versions), key=lambda sizes: -sizes[-1][0])


def require_agreement(source: Path, verification: Verification) -> None:
    """Raise DisagreeError or UnprovenError if a proof failed; one that wasn't possible may pass."""
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
    proof = verification or Verification("", reason="not asked for (--no-verify)")
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
        "verification": proof.record(),
    }


@contextlib.contextmanager
def _neighbour(target: Path) -> Iterator[Path]:
    """Yield a name next to the target, with its suffix; what has it in the end is removed."""
    partial = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        yield partial
    finally:
        native.remove(partial)


def write_library(info: Library, shared: SharedWeights, file: Path, target: Path) -> None:
    """Write shared weights to `file` in the format of a library that `target`'s suffix says."""
    names = info.names(shared.network, shared.arrays)
    arrays = {
        names[name]: info.from_shared(shared.network, name, array)
        for name, array in shared.arrays.items()
    }
    suffix = next(suffix for suffix in info.suffixes if target.name.endswith(suffix))
    try:
        if info.backend == "pt":
            from ..formats import torch as torch_files

            torch_files.write(file, arrays, {} if suffix == ".safetensors" else None)
        elif info.backend == "mx":
            from ..formats import mxnet as mxnet_files

            write_whole(file, mxnet_files.encode(arrays))
        else:
            from ..formats import keras as keras_files

            keras_files.write(file, arrays)
    except (OSError, RuntimeError) as error:  # the latter is how PyTorch says it
        raise InputError(f"{target}: can't be written ({error})") from error
