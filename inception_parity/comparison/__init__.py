"""Traces beside the oracle's: limits, noise floors, verdicts, and backends beside each other."""
