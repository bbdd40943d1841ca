"""timm's `inception_v3`, by `load_state_dict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...libraries import timm
from . import torchvision


class Backend(torchvision.Backend):
    """timm, whose networks are made, and called, as torchvision's."""

    names = staticmethod(timm.names)
    path = staticmethod(timm.path)

    def load_models(self) -> Any:
        torchvision.models()  # timm imports torchvision, which has to be helped in some builds
        import timm

        return timm

    def versions(self) -> dict[str, str]:
        import timm

        versions = {k: v for k, v in super().versions().items() if k != "torchvision"}
        return {**versions, "timm": str(timm.__version__)}

    def let_heads_run(self, net: Any, run: bool) -> None:
        net.aux_logits = run  # timm's runs in inference too

    def make(self, name: str, options: Mapping[str, Any]) -> Any:
        return self.models.create_model(
            "inception_v3", pretrained=False, num_classes=options["num_classes"],
            in_chans=options["in_channels"], aux_logits=options["use_aux"],
        )  # fmt: skip
