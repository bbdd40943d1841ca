"""Backends: each runs a network of its framework package and leaves traces.

Importing this package imports no framework; making an adapter does.
"""

from .base import Adapter, UnavailableError, adapter, run_job

__all__ = ["Adapter", "UnavailableError", "adapter", "run_job"]
