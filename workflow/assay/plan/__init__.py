"""Floor 5: from configuration files to the table of what has to run. Knows no torch."""
