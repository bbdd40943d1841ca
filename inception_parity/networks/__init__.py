"""What networks and backends there are, and what can be told of them without running one."""
