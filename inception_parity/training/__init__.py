"""Training in one framework, from data through checkpoints to metrics, and races of several."""
