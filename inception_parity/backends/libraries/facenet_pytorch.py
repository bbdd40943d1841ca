"""facenet-pytorch's network, by `load_state_dict`."""

from __future__ import annotations

from typing import Any

from . import torchvision  # noqa: F401  first: it is imported there, and in some builds needs help
from .state_dicts import StateDictNetwork

# isort: split
from facenet_pytorch import InceptionResnetV1


class Backend(StateDictNetwork):
    """The network of facenet-pytorch, with its classifier."""

    def make(self) -> Any:
        classes = self.options["num_classes"]
        return self.filled(InceptionResnetV1(classify=True, num_classes=classes))
