"""Can the evaluation be trusted? The checks that outcomes alone can answer, and a verdict.

The ids are those of the project's list of diagnostics; ``docs/statistics.md`` explains each. What
an attack is for is a field of its catalogue entry (``role``, ``single_step``), never its name or
that of its suite.
"""

from assay.analysis.checks.display import lint_display
from assay.analysis.checks.evaluated import VERDICT_NORMS
from assay.analysis.checks.findings import FAIL, FLAG, ORDER, PASS, WEAK, Finding
from assay.analysis.checks.importance import importance_check
from assay.analysis.checks.report import (
    CHECKS,
    COLUMNS,
    NEEDED,
    THRESHOLDS,
    VERDICTS,
    checks,
    evaluations,
    verdict,
)

__all__ = [
    "CHECKS",
    "COLUMNS",
    "FAIL",
    "FLAG",
    "NEEDED",
    "ORDER",
    "PASS",
    "THRESHOLDS",
    "VERDICTS",
    "VERDICT_NORMS",
    "WEAK",
    "Finding",
    "checks",
    "evaluations",
    "importance_check",
    "lint_display",
    "verdict",
]
