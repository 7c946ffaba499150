"""Networks and defences, each with the views that an adaptive adversary may use (floor 2)."""
