"""Training with exact resume (floor 3)."""
