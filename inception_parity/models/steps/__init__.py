"""One training step of anybody's two models: loss, gradients, statistics, weights."""
