"""Floor 0: the base of all other packages; it has no images."""
