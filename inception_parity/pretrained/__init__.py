"""Trained weights by name: where they are, how they are fetched, what belongs to them.

`local_file("torchvision/inception_v3")` returns the file, which is downloaded the first time;
`entry` says which network it is for, with which options, preprocessing and classes.
"""

from .fetching import local_file
from .index import Entry, entries, entry, known
from .preprocessing import Preprocessing

__all__ = ["Entry", "Preprocessing", "entries", "entry", "known", "local_file"]
