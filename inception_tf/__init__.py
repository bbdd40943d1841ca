"""The Inception family in Keras 3 on TensorFlow."""

from .bn_inception import BNInception, BNInceptionBlock, BNInceptionReduction
from .ceil_googlenet import CeilGoogLeNet, CeilInception, CeilInceptionAux
from .fid_inception import FIDInception
from .googlenet import GoogLeNet, Inception
from .inception_resnet import (
    Block8,
    Block17,
    Block35,
    InceptionResNetV1,
    InceptionResNetV2,
    Mixed5b,
    ResNetReductionB,
)
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
from .inception_v4 import (
    InceptionV4,
    InceptionV4A,
    InceptionV4B,
    InceptionV4C,
    Mixed3a,
    Mixed4a,
    Mixed5a,
    ReductionA,
    ReductionB,
)
from .layers import ConvBlock
from .losses import LabelSmoothing, TrainingLoss
from .optimizers import SGD, Adam, RMSProp
from .preprocessing import Preprocess
from .pretrained import load_preprocessing, load_pretrained
from .training import Training, freeze
from .weights import get_weights, set_weights

__all__ = [
    "SGD",
    "Adam",
    "BNInception",
    "BNInceptionBlock",
    "BNInceptionReduction",
    "Block8",
    "Block17",
    "Block35",
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
    "InceptionResNetV1",
    "InceptionResNetV2",
    "InceptionV1",
    "InceptionV1Aux",
    "InceptionV1Block",
    "InceptionV2",
    "InceptionV2Aux",
    "InceptionV3",
    "InceptionV4",
    "InceptionV4A",
    "InceptionV4B",
    "InceptionV4C",
    "LabelSmoothing",
    "Mixed3a",
    "Mixed4a",
    "Mixed5a",
    "Mixed5b",
    "Preprocess",
    "RMSProp",
    "ReductionA",
    "ReductionB",
    "ResNetReductionB",
    "Training",
    "TrainingLoss",
    "freeze",
    "get_weights",
    "load_preprocessing",
    "load_pretrained",
    "set_weights",
]
