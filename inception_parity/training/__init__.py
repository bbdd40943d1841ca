"""A training by one framework, from data through checkpoints to metrics; and races of several."""
