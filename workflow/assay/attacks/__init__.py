"""Threats, gradients and searches; they work on any victim and know no model."""
