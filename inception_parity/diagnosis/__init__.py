"""What the mistake is: explanations are tried until one makes the difference vanish.

`diagnose` works on a `SuspectLayer`, whatever it comes from: `traces.py` makes one from
two traces of ours; for other people's networks, describe the layer yourself.
"""

from .search import diagnose
from .suspect import Candidate, Diagnosis, Finding, SuspectLayer

__all__ = ["Candidate", "Diagnosis", "Finding", "SuspectLayer", "diagnose"]
