"""torchvision's networks, by `load_state_dict`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ...formats import torch as torch_files
from .. import pt
from .from_file import FromFile

_ALIVE: list[Any] = []  # a library's declarations go with it


def models() -> Any:
    """Import torchvision.models, also where its compiled operators don't fit PyTorch's build.

    Its import registers shapes for `nms` and `qnms`, which have to be declared for
    that; the networks use neither.
    """
    try:
        import torchvision.models as found
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _ALIVE.append(library)
        import torchvision.models as found
    return found


def state_dict(file: Path) -> dict[str, Any]:
    """Read a state dict as PyTorch's own functions do."""
    if torch_files.recognise(file):
        loaded = torch.load(file, map_location="cpu", weights_only=True)
        return dict(torch_files.state_dict(loaded))
    from safetensors.torch import load_file

    return dict(load_file(file))


MODELS = models()


class Backend(FromFile, pt.Backend):
    """A network of torchvision, run by PyTorch's adapter."""

    def versions(self) -> dict[str, str]:
        name = self.library.name
        return {**super().versions(), name: str(sys.modules[name].__version__)}

    def load(self, dtype: str) -> Any:
        net = self.make()
        state = {
            # A state dict of float64 is converted as what float32 holds of it.
            name: tensor.float() if tensor.dtype == torch.float64 else tensor
            for name, tensor in state_dict(self.file).items()
            if self.options["use_aux"] or not name.startswith(("AuxLogits.", "aux1.", "aux2."))
        }
        net.load_state_dict(state)
        net = net.to(self.torch_device, getattr(torch, dtype)).eval()
        self.let_heads_run(net, bool(self.options["return_aux"]))
        return net

    def let_heads_run(self, net: Any, run: bool) -> None:
        """Say whether auxiliary heads run: here, where the network, itself alone, is training."""
        net.training = run

    def make(self) -> Any:
        """Return the library's network, with any weights."""
        options = self.options
        make = getattr(MODELS, self.library.networks[self.network].title)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(
                weights=None, init_weights=False, aux_logits=options["use_aux"],
                transform_input=options["transform_input"], num_classes=options["num_classes"],
            )  # fmt: skip

    def arrays(self, net: Any) -> dict[str, NDArray[Any]]:
        return {name: self.to_shared(tensor).copy() for name, tensor in net.state_dict().items()}
