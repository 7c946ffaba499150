"""Outcomes to accuracies, tests, ledger, tables and figures; never imports torch."""
