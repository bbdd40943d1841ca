"""Other people's weights: what a file holds, its conversion, and the proof of it."""
