"""torchvision's networks, by `load_state_dict`."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from .state_dicts import StateDictNetwork

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


MODELS = models()


class Backend(StateDictNetwork):
    """A network of torchvision."""

    def let_heads_run(self, net: Any, run: bool) -> None:
        net.training = run  # here, where the network, itself alone, is training

    def make(self) -> Any:
        options = self.options
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = getattr(MODELS, self.title)(
                weights=None, init_weights=False, aux_logits=options["use_aux"],
                transform_input=options["transform_input"], num_classes=options["num_classes"],
            )  # fmt: skip
        return self.filled(net)
