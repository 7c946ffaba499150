"""Measurements of trained models beside attacks: one module each, found by the catalogue."""
