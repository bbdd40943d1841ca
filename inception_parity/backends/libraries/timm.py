"""timm's networks, by `load_state_dict`."""

from __future__ import annotations

from typing import Any

from . import torchvision  # noqa: F401  first: timm imports it, and in some builds needs its help
from .state_dicts import StateDictNetwork

# isort: split
import timm


class Backend(StateDictNetwork):
    """A network of timm."""

    def let_heads_run(self, net: Any, run: bool) -> None:
        net.aux_logits = run  # timm's run in inference too

    def make(self) -> Any:
        heads = {"aux_logits": self.options["use_aux"]} if self.network == "inception_v3" else {}
        net = timm.create_model(
            self.title, pretrained=False, num_classes=self.options["num_classes"],
            in_chans=self.options["in_channels"], **heads,
        )  # fmt: skip
        return self.filled(net)
