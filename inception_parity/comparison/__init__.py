"""Traces compared with the oracle's: limits, noise floors, verdicts, and backends compared."""
