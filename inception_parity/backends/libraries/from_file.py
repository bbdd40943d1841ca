"""What adapters of other people's networks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..base import Adapter


class FromFile(Adapter):
    """Beside a framework's adapter: a network that gets its weights from a file by itself."""

    def __init__(self, device: str, file: Path) -> None:
        super().__init__(device)
        self.file = file
        self.network, self.options = "", dict[str, Any]()  # as they were built last

    def set_weights(self, net: Any, weights: Mapping[str, NDArray[Any]]) -> None:
        """Leave the weights as they are: those of the file."""
