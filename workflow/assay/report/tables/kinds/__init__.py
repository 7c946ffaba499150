"""Kinds of tables that a study may name, one module each; the file's name is the kind's id."""
