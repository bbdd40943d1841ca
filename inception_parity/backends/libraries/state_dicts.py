"""PyTorch networks of libraries, which load a state dict."""

from __future__ import annotations

from abc import abstractmethod
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ...formats import torch as torch_files
from .. import pt
from .from_file import FromFile


def state_dict(file: Path) -> dict[str, Any]:
    """Read a state dict as PyTorch's own functions do."""
    if torch_files.recognise(file):
        loaded = torch.load(file, map_location="cpu", weights_only=True)
        return dict(torch_files.state_dict(loaded))
    from safetensors.torch import load_file

    return dict(load_file(file))


class StateDictNetwork(FromFile, pt.Backend):
    """A library's network, run by PyTorch's adapter."""

    def versions(self) -> dict[str, str]:
        installed = metadata.version(self.library.distribution)
        return {**super().versions(), self.library.name: installed}

    def state(self) -> dict[str, Any]:
        """Return the file's state dict, as it is converted: what float32 holds, without heads."""
        heads = () if self.options.get("use_aux") else ("AuxLogits.", "aux1.", "aux2.")
        return {
            name: tensor.float() if tensor.dtype == torch.float64 else tensor
            for name, tensor in state_dict(self.file).items()
            if not name.startswith(heads)
        }

    def load(self, dtype: str) -> Any:
        net = self.make().to(self.torch_device, getattr(torch, dtype)).eval()
        self.let_heads_run(net, bool(self.options.get("return_aux")))
        return net

    def let_heads_run(self, net: Any, run: bool) -> None:
        """Say whether auxiliary heads run; by default there are none."""

    @property
    def title(self) -> str:
        """What the library calls its network."""
        return self.library.networks[self.network].title

    @abstractmethod
    def make(self) -> Any:
        """Return the library's network, with the file's weights."""

    def filled(self, net: Any) -> Any:
        """Load the file's state dict into a network, and return it."""
        net.load_state_dict(self.state())
        return net

    def arrays(self, net: Any) -> dict[str, NDArray[Any]]:
        return {name: self.to_shared(tensor).copy() for name, tensor in net.state_dict().items()}
