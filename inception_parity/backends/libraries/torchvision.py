"""torchvision's networks, by `load_state_dict`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ...formats import torch as torch_files
from ...libraries import STAGES, torchvision
from ...networks.catalogue import Network
from ...traces import weights
from .. import pt
from .from_file import FromFile


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


_ALIVE: list[Any] = []  # a library's declarations go with it


def state_dict(file: Path) -> dict[str, Any]:
    """Read a state dict as PyTorch's own functions do."""
    if torch_files.recognise(file):
        loaded = torch.load(file, map_location="cpu", weights_only=True)
        return dict(torch_files.state_dict(loaded))
    from safetensors.torch import load_file

    return dict(load_file(file))


class Backend(FromFile, pt.Backend):
    """torchvision, beside PyTorch's adapter."""

    names = staticmethod(torchvision.names)
    path = staticmethod(torchvision.path)

    def __init__(self, device: str, file: Path) -> None:
        super().__init__(device, file)
        self.models = self.load_models()

    def load_models(self) -> Any:
        """Import the library."""
        return models()

    def versions(self) -> dict[str, str]:
        import torchvision

        return {**super().versions(), "torchvision": str(torchvision.__version__)}

    def build(self, network: Network, options: Mapping[str, Any], dtype: str) -> Any:
        self.network, self.options = network.name, dict(options)
        net = self.make(network.name, options)
        state = {
            # A state dict of float64 is converted as what float32 holds of it.
            name: tensor.float() if tensor.dtype == torch.float64 else tensor
            for name, tensor in state_dict(self.file).items()
            if options["use_aux"] or not name.startswith(("AuxLogits.", "aux1.", "aux2."))
        }
        net.load_state_dict(state)
        net = net.to(self.torch_device, getattr(torch, dtype)).eval()
        self.let_heads_run(net, bool(options["return_aux"]))
        return net

    def let_heads_run(self, net: Any, run: bool) -> None:
        """Say whether auxiliary heads run: here, where the network, itself alone, is training."""
        net.training = run

    def make(self, name: str, options: Mapping[str, Any]) -> Any:
        """Return the library's network, with any weights."""
        make = self.models.googlenet if name == "ceil_googlenet" else self.models.inception_v3
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(
                weights=None, init_weights=False, aux_logits=options["use_aux"],
                transform_input=options["transform_input"], num_classes=options["num_classes"],
            )  # fmt: skip

    def modules(self, net: Any) -> Iterator[tuple[str, Any, bool]]:
        yield "", net, False
        for stage in STAGES[self.network]:
            yield stage, net.get_submodule(self.path(self.network, stage)), True

    def get_weights(self, net: Any) -> dict[str, NDArray[Any]]:
        state = {name: self.to_shared(tensor).copy() for name, tensor in net.state_dict().items()}
        shared = weights.shapes(self.network, self.options)
        return {n: state[theirs] for n, theirs in self.names(self.network, shared, None).items()}
