"""Anybody's models: captured layer by layer, matched, compared, explained.

Importing this package imports no framework; capturing a model imports the model's own.
"""

from .capturer import CannotRunError
from .capturing import capture
from .comparing import compare
from .inputs import Arguments
from .mapping import WeightMap, weight_map
from .recorder import ModelTrace
from .report import ModelReport
from .steps.plan import StepOptions

__all__ = [
    "Arguments",
    "CannotRunError",
    "ModelReport",
    "ModelTrace",
    "StepOptions",
    "WeightMap",
    "capture",
    "compare",
    "weight_map",
]
