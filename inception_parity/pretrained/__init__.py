"""Trained weights by name: where they are, how they are fetched, what belongs to them.

`local_file("torchvision/inception_v3")` returns the file, which is downloaded the first time;
`entry` says which network it is for, with which options, preprocessing and classes.
"""

from collections.abc import Sequence

from .classes import names_of
from .fetching import local_file
from .index import Entry, entries, entry, known
from .preprocessing import Preprocessing

__all__ = ["Entry", "Preprocessing", "class_names", "entries", "entry", "known", "local_file"]


def class_names(name: str, count: int = 1000) -> Sequence[str]:
    """Return the names of the classes that the weights of a name know, in the order of the logits.

    Args:
        name: one of the index.
        count: length of the logits.

    Raises:
        InputError: there are no weights of that name.
    """
    return names_of(entry(name).classes, count)
