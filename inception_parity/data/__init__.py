"""What networks are fed: images, data sets, batches, downloads."""
