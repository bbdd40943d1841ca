"""pytorch-fid's network of the FID, which gets the file in place of its download."""

from __future__ import annotations

from typing import Any
from unittest import mock

from torch import Tensor, nn

from . import torchvision  # noqa: F401  first: it is imported there, and in some builds needs help
from .state_dicts import StateDictNetwork

# isort: split
from pytorch_fid import inception


class Whole(nn.Module):
    """pytorch-fid's InceptionV3, which ends in features, and the classifier that it leaves out.

    Args:
        whole: what `fid_inception_v3` returns, of whose layers InceptionV3 consists.
    """

    def __init__(self, whole: Any) -> None:
        super().__init__()
        for name, child in whole.named_children():
            self.add_module(name, child)
        with mock.patch.object(inception, "fid_inception_v3", lambda: whole):
            self.net = inception.InceptionV3([3])
        self.maxpool1, self.maxpool2 = self.net.blocks[0][-1], self.net.blocks[1][-1]

    def forward(self, x: Tensor) -> Any:
        (features,) = self.net(x)
        return self.get_submodule("fc")(features.flatten(1))


class Backend(StateDictNetwork):
    """The network of pytorch-fid, with the classifier of its file."""

    def make(self) -> Any:
        download = "load_state_dict_from_url"
        with mock.patch.object(inception, download, lambda *_, **__: self.state()):
            return Whole(inception.fid_inception_v3())
