"""What an adversary may do to an image: norms, radii and the geometry of their balls."""
