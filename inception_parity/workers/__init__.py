"""Backends in processes of their own: what they are asked for, and how they are watched."""
