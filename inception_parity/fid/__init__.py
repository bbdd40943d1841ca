"""The Fréchet inception distance of two folders of images, computed in any framework."""
