"""Finds the cause of a difference: explanations are tried until one makes it vanish.

`diagnose` takes a `SuspectLayer`. `traces.py` makes one from two of our traces; for
other people's networks, describe the layer yourself.
"""

from .search import diagnose
from .suspect import Candidate, Diagnosis, Finding, SuspectLayer

__all__ = ["Candidate", "Diagnosis", "Finding", "SuspectLayer", "diagnose"]
