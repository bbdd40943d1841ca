"""Networks with the weights of a file, whoever wrote it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..libraries import SHARED
from ..networks import catalogue
from ..traces import weights
from ..traces.classifiers import for_classes
from ..traces.weights import SharedWeights
from .converting import read, require_agreement, sizes_of, source_side
from .found import Claim
from .identifying import identify
from .verifying import Side
from .verifying import verify as run_verification


def load_pretrained(
    path: str | Path,
    backend: str,
    verify: bool = True,
    num_classes: int | None = None,
    head: bool = True,
    seed: int = 0,
    **options: Any,
) -> Any:
    """Return one of this project's networks, with the weights of a file, in evaluation mode.

    The file may hold shared weights, an ONNX network, or those of one of
    `libraries.LIBRARIES`; its content decides.

    Args:
        path: the file, or a name that `inception-parity pretrained` lists; its file is downloaded
            the first time.
        backend: `pt`, `tf`, `mx` or `np`: which package's network.
        verify: whether to run another library's network first, if that library is installed,
            and compare it with this one; where that isn't possible, a warning says that nothing
            was verified. Files of this project aren't run again: they say whether they were
            verified.
        num_classes: length of the logits. If the file has another number, or no classifier, a
            warning says that a new classifier is put in place, also in auxiliary heads.
        head: False for a network without a classifier, which returns its features.
        seed: of a new classifier.
        **options: what the file doesn't record, such as `transform_input=True`;
            `use_aux=False` leaves the auxiliary heads out.

    Raises:
        InputError: the file can't be used, or there is no such backend.
        inception_parity.conversion.converting.DisagreeError: the two networks don't agree.
        inception_parity.conversion.converting.UnprovenError: one of them crashed, or took
            too long.
    """
    info = catalogue.backend(backend)
    if not info.package:
        raise InputError(f"{backend} runs files; `inception-parity export` writes them")
    found = identify(Path(path), Claim(settings=options))
    shared = read(found)
    source = source_side(found, shared)
    if verify and source is not None and found.library != SHARED:
        side = Side(backend, found.options, shared.arrays)
        verification = run_verification(found.network, source, [side], sizes_of(found, None))
        require_agreement(Path(path), verification)
        if not verification.agree:
            warnings.warn(f"{path}: unverified: {verification.reason}", stacklevel=2)
    shared = _with_classes(shared, str(path), num_classes if head else 0, seed)
    return weights.built(shared, info)


def _with_classes(
    shared: SharedWeights, path: str, num_classes: int | None, seed: int
) -> SharedWeights:
    """Return weights for so many classes, with a warning if their classifier is new."""
    if num_classes in (None, shared.options["num_classes"]):
        return shared
    changed, new = for_classes(shared, int(num_classes or 0), seed)
    if new:
        warnings.warn(
            f"{path}: a new classifier for {num_classes} classes (seed {seed}), to be trained: "
            f"{', '.join(new)}",
            stacklevel=3,
        )
    return changed
