"""The objectives of training, one file each (docs/training.md says how to add one)."""
