"""The catalogue of networks and backends, and what can be said of a network without running it."""
