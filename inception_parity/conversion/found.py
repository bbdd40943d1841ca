"""What a file of weights turned out to be, its arrays, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import libraries
from ..errors import InputError
from ..formats import Content
from ..libraries import ONNX, SHARED, Library
from ..traces import weights


@dataclass(frozen=True)
class Claim:
    """What is said about a file, where its content leaves doubt.

    Args:
        library: whose it is; `onnx` for any file that runs.
        network: our name of its network.
        settings: options that the file doesn't record, such as `transform_input`;
            `use_aux=False` leaves heads out, and `return_aux=True` lets them run.
    """

    library: str | None = None
    network: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a file turned out to be.

    Args:
        path: the file.
        content: what it holds.
        library: `shared` for files of ours, else one of `libraries.LIBRARIES`.
        network: our name of the network.
        options: all of our options.
        names: {shared name: name in the file} of all arrays that the network has.
        left_out: arrays of the file that are left out, as was asked for.
        assumed: what the file doesn't record, and was assumed.
        notes: what else is worth knowing.
        sha256: of the file.
    """

    path: Path
    content: Content = field(repr=False)
    library: str
    network: str
    options: dict[str, Any]
    names: Mapping[str, str] = field(repr=False)
    left_out: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def info(self) -> Library | None:
        """The library; None for files of ours."""
        return None if self.library == SHARED else libraries.library(self.library)

    @property
    def title(self) -> str:
        """What the file's library calls its network."""
        return f"{self.network} (shared)" if self.info is None else self.info.title_of(self.network)

    @property
    def is_our_onnx(self) -> bool:
        """Whether it is an ONNX file that was written here, which runs by itself."""
        return self.library == SHARED and self.content.format == ONNX

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The (height, width) of images that an ONNX file takes alone; None if it takes any."""
        shapes = self.content.metadata["inputs"] if self.content.format == ONNX else []
        images = [shape for shape in shapes if len(shape) == 4]
        if len(images) == 1 and min(images[0][2:]) > 0:
            return images[0][2], images[0][3]
        return None

    def array(self, name: str) -> NDArray[Any]:
        """Return the array of a shared name, in the shared layout, as float32.

        float16 and bfloat16 are widened, which is exact; float64 is rounded.
        """
        array = self.content.arrays[self.names[name]]
        if self.info is not None:
            array = self.info.to_shared(self.network, name, array)
        return np.ascontiguousarray(array, np.float32)

    def missing(self) -> list[str]:
        """Name the arrays that the network has and the file hasn't."""
        return [
            f"{theirs}: missing{'' if theirs == ours else f' (our {ours})'}"
            for ours, theirs in self.names.items()
            if theirs not in self.content.arrays
        ]

    def surplus(self) -> list[str]:
        """Name the arrays of the file that the network hasn't.

        The initialisers of somebody's ONNX file include its exporter's constants: what those
        do shows when it runs.
        """
        if self.content.format == ONNX and self.info is not None:
            return []
        known = {*self.names.values(), *self.left_out}
        return [
            f"{name}: unexpected"
            for name in self.content.arrays
            if name not in known and not name.endswith("num_batches_tracked")
        ]

    def misshapen(self) -> list[str]:
        """Name the arrays whose shape, dtype or values can't be used."""
        wrong = []
        for ours, shape in weights.shapes(self.network, self.options).items():
            name = self.names[ours]
            array = self.content.arrays.get(name)
            if array is None:
                continue
            if self.info is not None:  # in the layout of the file
                empty = np.empty(shape, np.bool_)
                shape = self.info.from_shared(self.network, ours, empty).shape
            if array.shape != shape:
                wrong.append(f"{name}: shape {array.shape}, but should be {shape}")
            elif array.dtype.kind != "f":
                dtype = self.content.dtypes[name]
                wrong.append(f"{name}: dtype {dtype}, but should be floating point")
            elif not np.isfinite(array).all():
                wrong.append(f"{name}: has NaN or infinite values")
            elif not (np.abs(array) <= np.finfo(np.float32).max).all():
                wrong.append(f"{name}: has values beyond float32")
            elif ours.endswith("running_var") and (array < 0).any():
                wrong.append(f"{name}: has negative variances")
        return wrong

    def wrong(self) -> list[str]:
        """Name every array that is missing, unexpected or unusable."""
        return [*self.missing(), *self.surplus(), *self.misshapen()]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all shared arrays; InputError if any is `wrong`."""
        wrong = self.wrong()
        if wrong:
            shown = "\n  ".join(wrong[:40])
            more = f"\n  and {len(wrong) - 40} more" if len(wrong) > 40 else ""
            raise InputError(
                f"{self.path}: taken for {self.title}, but {len(wrong)} arrays are wrong:\n"
                f"  {shown}{more}"
            )
        return {name: self.array(name) for name in self.names}
