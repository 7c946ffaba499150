"""Threats, gradients and searches. They work on any victim and import no model."""
