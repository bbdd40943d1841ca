"""The same networks from torchvision and Keras, with random weights.

inception-parity compare-models examples/zoos.py:torch_resnet50 \
    examples/zoos.py:keras_resnet50 --input 1x3x64x64 --copy-weights

Likewise `mobilenet_v2` at 64x64 and `inception_v3` at 75x75. Each pair has one name but is two
different networks: the command shows where they diverge first, and how else they differ.
"""

import keras
import torch
from torch import nn


def torchvision_models():
    """Import torchvision.models, also beside the CPU build of PyTorch.

    Its compiled operators are missing there; the import only needs them declared.
    """
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _ALIVE.append(library)
        import torchvision
    return torchvision.models


_ALIVE = []  # declarations live as long as their library


def randomised(net):
    """Randomise batch norm's statistics: with 0 and 1, a wrong one might pass."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return net.eval()


def torch_resnet50():
    torch.manual_seed(0)
    return randomised(torchvision_models().resnet50(weights=None))


def keras_resnet50():
    return keras.applications.ResNet50(
        weights=None, classifier_activation=None, input_shape=(64, 64, 3)
    )


def torch_mobilenet_v2():
    torch.manual_seed(0)
    return randomised(torchvision_models().mobilenet_v2(weights=None))


def keras_mobilenet_v2():
    return keras.applications.MobileNetV2(
        weights=None, classifier_activation=None, input_shape=(64, 64, 3)
    )


def torch_inception_v3():
    torch.manual_seed(0)
    return randomised(torchvision_models().inception_v3(weights=None, init_weights=False))


def keras_inception_v3():
    return keras.applications.InceptionV3(
        weights=None, classifier_activation=None, input_shape=(75, 75, 3)
    )
