"""Every limit of the engine: what is rounding, and what is a mistake."""

from __future__ import annotations

LIMIT_FLOAT64 = 1e-10  # relative L2; correct runs stay near 1e-14

# In floors, both modes, every dtype below float64. Fixed on clean runs before any
# fault was planted: docs/noise-floors.md shows them.
LIMIT_FLOORS = 16.0
SUSPICION = 4.0  # up to so many limits a difference may still be an unlucky rounding
