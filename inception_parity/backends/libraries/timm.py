"""timm's `inception_v3`, by `load_state_dict`."""

from __future__ import annotations

from typing import Any

from . import torchvision  # first: timm imports it too, and in some builds that has to be helped

# isort: split
import timm


class Backend(torchvision.Backend):
    """A network of timm, which is loaded and called as torchvision's are."""

    def let_heads_run(self, net: Any, run: bool) -> None:
        net.aux_logits = run  # timm's run in inference too

    def make(self) -> Any:
        return timm.create_model(
            self.library.networks[self.network].title, pretrained=False,
            num_classes=self.options["num_classes"], in_chans=self.options["in_channels"],
            aux_logits=self.options["use_aux"],
        )  # fmt: skip
