"""Catalogue entry → mirror or verified download → arrays, groups and splits."""
