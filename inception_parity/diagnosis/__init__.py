"""What the mistake is: explanations are tried until one makes the difference vanish.

`diagnose` works on a `Site`, whatever it comes from: `traces.py` makes one from
two traces of ours; for other people's networks, describe the layer yourself.
"""

from .search import diagnose
from .site import Candidate, Diagnosis, Finding, Site

__all__ = ["Candidate", "Diagnosis", "Finding", "Site", "diagnose"]
