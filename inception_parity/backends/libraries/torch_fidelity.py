"""torch-fidelity's network of the FID, with a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import torchvision  # noqa: F401  first: it is imported there, and in some builds needs help
from .state_dicts import StateDictNetwork

# isort: split
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


class Whole(nn.Module):
    """torch-fidelity's network, given images in 0 … 1.

    It takes bytes, and rounds what it returns to float32; here, results are those of its last
    layer.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net, self.logits = net, Tensor()
        net.fc.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, logits: Tensor) -> None:
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        pixels = x * 256
        if not torch.equal(pixels, pixels.to(torch.uint8).to(x.dtype)):
            raise ValueError("images that aren't bytes / 256")
        self.net.feature_extractor_internal_dtype = x.dtype
        self.net(pixels.to(torch.uint8))
        return self.logits


class Backend(StateDictNetwork):
    """The network of torch-fidelity."""

    def make(self) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            # It loads with all that pickles can do; what it is given was read safely.
            file = Path(folder) / "state.pth"
            torch.save(self.state(), file)
            net = FeatureExtractorInceptionV3(
                "inception", ["logits"], feature_extractor_weights_path=file
            )
        return Whole(net)

    def module_at(self, net: Any, path: str) -> Any:
        return net.net.get_submodule(path)

    def arrays(self, net: Any) -> Any:
        return super().arrays(net.net)
