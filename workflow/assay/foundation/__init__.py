"""Floor 0: what everything stands on and that knows nothing of images."""
