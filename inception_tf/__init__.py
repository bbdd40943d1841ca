"""The Inception family in Keras 3 on TensorFlow."""

from .bn_inception import BNInception, BNInceptionBlock, BNInceptionReduction
from .ceil_googlenet import CeilGoogLeNet, CeilInception, CeilInceptionAux
from .fid_inception import FIDInception
from .googlenet import GoogLeNet, Inception
from .inception_v1 import InceptionV1, InceptionV1Aux, InceptionV1Block
from .inception_v2 import (
    InceptionF5,
    InceptionF6,
    InceptionF7,
    InceptionRed,
    InceptionV2,
    InceptionV2Aux,
)
from .inception_v3 import (
    InceptionA,
    InceptionAux,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
    InceptionV3,
)
from .layers import ConvBlock
from .losses import LabelSmoothing, TrainingLoss
from .optimizers import SGD, Adam, RMSProp
from .pretrained import load_pretrained
from .training import Training
from .weights import get_weights, set_weights

__all__ = [
    "SGD",
    "Adam",
    "BNInception",
    "BNInceptionBlock",
    "BNInceptionReduction",
    "CeilGoogLeNet",
    "CeilInception",
    "CeilInceptionAux",
    "ConvBlock",
    "FIDInception",
    "GoogLeNet",
    "Inception",
    "InceptionA",
    "InceptionAux",
    "InceptionB",
    "InceptionC",
    "InceptionD",
    "InceptionE",
    "InceptionF5",
    "InceptionF6",
    "InceptionF7",
    "InceptionRed",
    "InceptionV1",
    "InceptionV1Aux",
    "InceptionV1Block",
    "InceptionV2",
    "InceptionV2Aux",
    "InceptionV3",
    "LabelSmoothing",
    "RMSProp",
    "Training",
    "TrainingLoss",
    "get_weights",
    "load_pretrained",
    "set_weights",
]
