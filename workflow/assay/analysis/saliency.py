"""Whether saliency maps point at lesions whose place is known: a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import PLACE
from assay.analysis.style import radius_text, title_of
from assay.analysis.table_parts import Spec, Study, Table, caption_of, models_of, place_columns
from assay.foundation.errors import ConfigError

METHODS = {"gradient": "gradient", "integrated_gradients": "integrated gradients"}


def pointing_table(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """How often maps peak in the lesion and how much of them lies there, against chance."""
    rows = []
    for key in sorted(inputs.saliency, key=lambda key: key[:2]):
        dataset, split, model = key
        if model not in models_of(spec, inputs) or dataset not in spec.get("datasets", [dataset]):
            continue
        with np.load(inputs.saliency[key]) as stored:
            if "lesion_share" not in stored:
                continue
            known = ~np.isnan(stored["lesion_share"])
            for version, epsilon in enumerate(stored["epsilons"]):
                for method in METHODS:
                    hit = stored[f"pointing/{method}"][version, known]
                    mass = stored[f"mass/{method}"][version, known]
                    rows.append(
                        {
                            "dataset": dataset,
                            "scheme": split.rpartition("_")[0],
                            "model": model,
                            "epsilon": float(epsilon),
                            "method": method,
                            "hits": int(hit.sum()),
                            "n": int(known.sum()),
                            "mass": float(mass.mean()),
                            "chance": float(stored["lesion_share"][known].mean()),
                            "splits": 1,
                        }
                    )
    if not rows:
        raise ConfigError(
            "no saliency map of images with known lesions",
            where=f"table '{spec.get('title', spec.get('kind'))}' of the study",
            remedy="put a data set with masks, such as phantom, and these models into the grid",
        )
    tidy = pd.DataFrame(rows)
    order = {model: place for place, model in enumerate(models_of(spec, inputs))}
    tidy = tidy.sort_values(
        [*PLACE, "model"], key=lambda c: c.map(order) if c.name == "model" else c, kind="stable"
    ).reset_index(drop=True)
    display = pd.DataFrame(
        {
            **place_columns((row.dataset, row.scheme), tidy, study),
            "Model": title_of(study, "models", row.model),
            "Images": f"attacked, ε = {radius_text(row.epsilon)}" if row.epsilon else "unperturbed",
            "Map": METHODS[row.method],
            "Peak in the lesion": f"{row.hits}/{row.n} ({row.hits / row.n:.3f})",
            "Share in the lesion": f"{row.mass:.3f}",
            "Lesion's share of the image": f"{row.chance:.3f}",
        }
        for row in tidy.itertuples()
    )
    legend = (
        "Pointing game: does the largest value of a smoothed map lie inside the lesion, whose mask "
        "is known; and the share of the map that lies inside. A map is of the class that the "
        "network predicts, which after an attack may be the wrong one. A map without relation to "
        "the lesion would have the lesion's share of the image in both. First split of each scheme."
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy))
