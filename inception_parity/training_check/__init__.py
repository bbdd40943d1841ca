"""A few steps of training in several backends, compared with each other and with the oracle."""
