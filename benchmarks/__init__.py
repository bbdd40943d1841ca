"""Long runs (`make evidence`). Each can be resumed, and keeps its rows as JSON lines."""
