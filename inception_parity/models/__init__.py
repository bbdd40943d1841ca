"""Other people's models: captured layer by layer, matched, compared, explained.

Importing this package imports no framework; capturing a model does, and only its own.
"""

from .capturing import CannotRunError, capture
from .comparing import ModelReport, compare
from .record import ModelTrace

__all__ = ["CannotRunError", "ModelReport", "ModelTrace", "capture", "compare"]
