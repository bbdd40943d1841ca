"""How a network is trained, as every backend understands it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, whatever the data and however long it takes.

    `train`, `race` and the training check share it; each adds what it alone needs.
    """

    optimizer: str  # the name of a class that every framework package has
    settings: Mapping[str, Any]  # its arguments
    label_smoothing: float
    aux_weight: float  # of each auxiliary head's loss
    batch: int  # images in a step
    seed: int = 0  # of dropout, and of all else that is random in the batches
    frozen: Sequence[str] = ()  # arrays that aren't trained, by their shared names
    precision: str = "float32"  # or bfloat16: PyTorch's autocast
    channels_last: bool = False  # PyTorch's; faster on CPUs
