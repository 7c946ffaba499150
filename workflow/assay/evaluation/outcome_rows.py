"""From the result of an attack to rows of the outcome schema."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from assay.attacks.result import Perturbed
from assay.foundation.outcomes import OUTCOME_COLUMNS


def outcome_rows(
    perturbed: Perturbed, samples: np.ndarray, labels: np.ndarray, names: Mapping[str, str]
) -> pd.DataFrame:
    """The result of an attack as rows of the outcome schema: by epsilon, then by sample.

    Args:
        perturbed: E epsilons, N images.
        samples: (N,) indices of the images in their data set.
        labels: (N,) classes.
        names: ``dataset``, ``split``, ``model``, ``suite``, ``attack`` and ``norm``; ``route`` of
            the rows of one view.
    """
    budgets, n = len(perturbed.epsilons), len(samples)

    def flat(name: str, dtype: str) -> np.ndarray:
        return getattr(perturbed, name).flatten().cpu().numpy().astype(dtype)

    return pd.DataFrame(
        {
            "route": "",
            **names,
            "sample": np.tile(samples, budgets),
            "label": np.tile(labels, budgets).astype("int16"),
            "clean_prediction": np.tile(perturbed.clean_prediction.cpu().numpy(), budgets).astype(
                "int16"
            ),
            "prediction": flat("prediction", "int16"),
            "misclassified": flat("misclassified", "bool"),
            "target": np.tile(perturbed.target.cpu().numpy(), budgets).astype("int16"),
            "misclassified_share": flat("misclassified_share", "float32"),
            "epsilon": np.repeat(np.asarray(perturbed.epsilons, dtype=float), n),
            "linf": flat("linf", "float32"),
            "l2": flat("l2", "float32"),
            "l0": flat("l0", "int32"),
            "view": np.asarray(perturbed.views, dtype=object)[flat("view", "int64")],
            "best_loss": flat("best_loss", "float32"),
            "last_improvement": flat("last_improvement", "float32"),
            "silent_success": pd.array(flat("silent_success", "bool"), dtype="boolean"),
            "forwards": flat("forwards", "int32"),
            "backwards": flat("backwards", "int32"),
            "zero_gradients": flat("zero_gradients", "int32"),
            "non_finite": flat("non_finite", "int32"),
            "saturated": flat("saturated", "int32"),
            "log_px": flat("log_px", "float32"),
            "scores": list(perturbed.scores.flatten(0, 1).float().cpu().numpy()),
        }
    )[list(OUTCOME_COLUMNS)]
