"""The version of this project, and what every record says of the software that made it."""

from __future__ import annotations

import platform
from collections.abc import Mapping

__version__ = "0.1.0"


def recorded(framework: Mapping[str, str]) -> dict[str, str]:
    """Return what a record says of the software: framework, NumPy, Python, machine."""
    import numpy as np

    return {
        **framework,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
