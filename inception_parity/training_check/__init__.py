"""A few steps of training in several backends, held against the oracle's derivatives."""
