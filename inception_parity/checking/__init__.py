"""A check: one task, run in several backends, every trace compared with the oracle's."""
