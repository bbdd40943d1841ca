"""Pictures of matplotlib's."""
