"""The Inception family in MXNet Gluon."""

from .googlenet import GoogLeNet, Inception
from .layers import ConvBlock
from .weights import get_weights, set_weights

__all__ = ["ConvBlock", "GoogLeNet", "Inception", "get_weights", "set_weights"]
