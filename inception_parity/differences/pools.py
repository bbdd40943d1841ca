"""Pools: how padding counts, and what ceil mode does with the last window."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kit import Kit
from .topic import Answer, Topics

TOPICS = Topics()


@TOPICS.experiment("average-pool")
def average_pool(kit: Kit) -> Answer:
    """Average over a corner with padding."""
    x, counted = np.ones((1, 1, 4, 4)), "`count_include_pad=True`, 4 of 9 are ones"
    match kit.framework:
        case "pt":
            pool = kit.nn.AvgPool2d(3, 1, 1)
        case "tf":
            pool, counted = kit.nn.AveragePooling2D(3, 1, "same"), "the padding is never counted"
        case _:
            pool = kit.nn.AvgPool2D(3, 1, 1)
    corner = kit.run(pool, x).item(0)
    equal = kit.run(kit.pools.AvgPool(3, 1, 1, count_include_pad=False), x).item(0)
    return Answer(f"{corner:.3f}: {counted}", {"corner": corner}, f"{equal:.3f}")


@TOPICS.experiment("max-pool")
def max_pool(kit: Kit) -> Answer:
    """Take the maximum over a corner with padding, where all values are negative."""
    x = -np.ones((1, 1, 4, 4))
    match kit.framework:
        case "pt":
            pool = kit.nn.MaxPool2d(3, 1, 1)
        case "tf":
            pool = kit.nn.MaxPooling2D(3, 1, "same")
        case _:
            pool = kit.nn.MaxPool2D(3, 1, 1)
    corner, equal = kit.run(pool, x).item(0), kit.run(kit.pools.MaxPool(3, 1, 1), x).item(0)
    fill = {-1.0: "-infinity", 0.0: "0"}.get(corner, "unknown")
    return Answer(f"{corner:g}: the padding is {fill}", {"corner": corner}, f"{equal:g}")


@TOPICS.experiment("ceil-mode")
def ceil_mode(kit: Kit) -> Answer:
    """Pool one pixel with padding in ceil mode."""
    x = np.ones((1, 1, 1, 1))
    equal = _size(kit.run(kit.pools.MaxPool(2, 3, 1, ceil_mode=True), x))
    if kit.framework == "tf":
        names = inspect.signature(kit.nn.MaxPooling2D.__init__).parameters
        has = any("ceil" in name for name in names)
        said = "has a ceil mode" if has else "none; `same` rounds up, with different padding"
        return Answer(said, {"has": has}, equal)
    if kit.framework == "pt":
        pool = kit.nn.MaxPool2d(2, 3, 1, ceil_mode=True)
        said = "a window must start in the input or in the padding before it"
    else:
        pool = kit.nn.MaxPool2D(2, 3, 1, ceil_mode=True)
        said = "keeps windows that see only padding"
    found = kit.run(pool, x)
    return Answer(f"{_size(found)}: {said}", {"shape": list(found.shape[2:])}, equal)


def _size(array: NDArray[Any]) -> str:
    return " x ".join(map(str, array.shape[2:]))
