"""pytorchcv's networks, by `load_state_dict`."""

from __future__ import annotations

from typing import Any

from . import torchvision  # noqa: F401  first: it is imported there, and in some builds needs help
from .state_dicts import StateDictNetwork

# isort: split
from pytorchcv.model_provider import get_model


class Backend(StateDictNetwork):
    """A network of pytorchcv."""

    def make(self) -> Any:
        options = self.options
        channels, classes = options["in_channels"], options["num_classes"]
        return self.filled(get_model(self.title, in_channels=channels, num_classes=classes))
