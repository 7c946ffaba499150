"""Victim x data x suite -> outcomes."""
