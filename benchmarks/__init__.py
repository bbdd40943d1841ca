"""Long runs: `make evidence`. Each is resumable and keeps its rows as JSON lines."""
