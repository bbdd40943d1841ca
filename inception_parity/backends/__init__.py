"""Backends: each runs a network of its framework package and leaves traces.

Importing this package imports no framework; making an adapter does.
"""

from ..workers.request import Job
from .base import Adapter, TrainingAdapter, UnavailableError, adapter, trainable
from .recording import loaded, record

__all__ = [
    "Adapter",
    "Job",
    "TrainingAdapter",
    "UnavailableError",
    "adapter",
    "loaded",
    "record",
    "trainable",
]
