"""Photographs and their classes: which network, what it expects of images, what it says."""
