"""Published attacks beside their corrections."""

from __future__ import annotations

import pandas as pd

from assay.analysis.attack_set import AttackSet
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import PLACE
from assay.analysis.titles import title_of
from assay.report.tables.parts import Spec, Study, Table, caption_of, cell_title, p_text, placed


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Accuracy under an attack as published, under its correction, and the difference."""
    tidy = inputs.defects(spec["pairs"])
    order = {
        "model": list(dict.fromkeys(inputs.accuracy.model)),
        "published": [pair["published"] for pair in spec["pairs"]],
        "corrected": [pair["corrected"] for pair in spec["pairs"]],
    }
    tidy = tidy.sort_values(
        [*PLACE, "published", "corrected", "epsilon", "model"], kind="stable", ignore_index=True,
        key=lambda column: column.map(order[column.name].index) if column.name in order else column,
    )  # fmt: skip
    display = pd.DataFrame(
        {
            "Attack": [
                cell_title(study, inputs, AttackSet.of(attack), epsilon)
                for attack, epsilon in zip(tidy.corrected, tidy.epsilon, strict=True)
            ],
            "Model": [title_of(study, "models", model) for model in tidy.model],
            "As published": tidy.accuracy_published.map("{:.3f}".format),
            "Corrected": tidy.accuracy_corrected.map("{:.3f}".format),
            "Points explained": tidy.points_explained.map("{:+.1f}".format),
            "Exact p": tidy.exact_p.map(p_text),
            "n": tidy.n.astype(str),
        }
    )
    named = [f"{title_of(study, 'attacks', p['corrected'])}: {p['defect']}." for p in spec["pairs"]]
    legend = (
        "Points explained: accuracy under the attack as published minus accuracy under the "
        "corrected attack, in percentage points. p: McNemar's exact "
        f"test between the two attacks, not corrected for multiplicity. {' '.join(named)}"
    )
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, tidy))
