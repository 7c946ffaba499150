"""Published attacks beside their corrections."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import pandas as pd

from assay.analysis.attack_set import AttackSet
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import PLACE
from assay.analysis.titles import title_of
from assay.foundation.keys import key
from assay.report.spec import AttackId, TableSpec
from assay.report.tables.parts import Study, Table, caption_of, cell_title, p_text, placed


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A published attack and its correction."""

    published: Annotated[AttackId, key("attack id")]
    corrected: Annotated[AttackId, key("attack id")]
    defect: Annotated[str, key("the defect of the published attack")]


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Published attacks beside their corrections."""

    pairs: Annotated[list[Pair], key("pairs of a published attack and its correction", least=1)]


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Accuracy under an attack as published, under its correction, and the difference."""
    tidy = inputs.defects([asdict(pair) for pair in spec.pairs])
    order = {
        "model": list(dict.fromkeys(inputs.accuracy.model)),
        "published": [pair.published for pair in spec.pairs],
        "corrected": [pair.corrected for pair in spec.pairs],
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
    named = [f"{title_of(study, 'attacks', p.corrected)}: {p.defect}." for p in spec.pairs]
    legend = (
        "Points explained: accuracy under the attack as published minus accuracy under the "
        "corrected attack, in percentage points. p: McNemar's exact "
        f"test between the two attacks, not corrected for multiplicity. {' '.join(named)}"
    )
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, tidy))
