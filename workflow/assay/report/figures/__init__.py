"""Figures: what kinds share, and one module per kind in `kinds`."""
