"""Tables: what kinds share, those of every study, and one module per kind in `kinds`."""
