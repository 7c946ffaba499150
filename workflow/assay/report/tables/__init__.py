"""Tables: one function per kind, those of a study file and those of every study."""
