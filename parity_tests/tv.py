"""torchvision beside the CPU build of PyTorch, for tests."""

from typing import Any


def torchvision_models() -> Any:
    """Import torchvision.models, whose compiled operators the CPU wheel lacks.

    Its import registers shape functions for `nms` and `qnms`, which must be
    declared for that; nothing here calls them.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _ALIVE.append(library)
        import torchvision
    return torchvision.models


_ALIVE: list[Any] = []  # a library's declarations go with it
