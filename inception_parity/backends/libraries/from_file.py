"""What adapters of other people's networks have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...libraries import STAGES, Library
from ...networks.catalogue import Network
from ...traces import weights
from ..base import Adapter


class FromFile(Adapter):
    """Mixed into a framework's adapter: runs a library's network, which loads a file by itself.

    Args:
        device: `cpu` or `gpu`.
        file: what the library loads.
        library: the library.
    """

    def __init__(self, device: str, file: Path, library: Library) -> None:
        super().__init__(device)
        self.file, self.library = file, library
        self.network, self.options = "", dict[str, Any]()  # as they were built last

    def build(self, network: Network, options: Mapping[str, Any], dtype: str) -> Any:
        self.network, self.options = network.name, dict(options)
        return self.load(dtype)

    @abstractmethod
    def load(self, dtype: str) -> Any:
        """Return the library's network, with the file's weights."""

    def modules(self, net: Any) -> Iterator[tuple[str, Any, bool]]:
        yield "", net, False
        *stages, classifier = STAGES[self.network]
        for stage in [*stages, classifier] if self.options["num_classes"] else stages:
            yield stage, self.module_at(net, self.library.path(self.network, stage)), True

    def module_at(self, net: Any, path: str) -> Any:
        """Return what has that path in the library's network."""
        return net.get_submodule(path)

    def get_weights(self, net: Any) -> dict[str, NDArray[Any]]:
        arrays = self.arrays(net)
        return {
            ours: self.library.to_shared(self.network, ours, arrays[theirs])
            for ours, theirs in self.names().items()
            if theirs in arrays
        }

    def arrays(self, net: Any) -> dict[str, NDArray[Any]]:
        """Return a network's arrays by the library's names, in its layout."""
        raise NotImplementedError

    def names(self) -> dict[str, str]:
        """Return {shared name: the library's} of the network that was built last."""
        return self.library.names(self.network, weights.shapes(self.network, self.options))

    def set_weights(self, net: Any, weights: Mapping[str, NDArray[Any]]) -> None:
        """Leave the weights as they are: those of the file."""
