"""Run the same network in several frameworks, and prove that they agree.

>>> import inception_parity
>>> net = inception_parity.load("googlenet.safetensors", "pt")  # doctest: +SKIP
"""

from .errors import InputError
from .weights import load, save

__all__ = ["InputError", "load", "save"]
__version__ = "0.1.0"
