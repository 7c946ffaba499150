"""What a training leaves, also one that takes its weights from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor

from assay.models.base import Classifier


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Attributes:
        best_state: weights (on the CPU) after the epoch with the highest validation accuracy, the
            latest of equals; the last weights where nothing was held out for validation. Of several
            phases the last one counts.
        last_state: weights after the last epoch, on the CPU.
        history: a row per epoch: ``epoch`` (from 0), ``learning_rate``, ``seconds``, and for train
            and val ``*_loss`` (in the unit that is minimised: per image, or, where the
            objective minimises a sum, per full batch; of a training in phases always per image),
            ``*_accuracy``, and each part of the loss per image.
        facts: sizes, best epoch, weight updates, seconds and the network's own facts, fit for JSON.
    """

    best_state: dict[str, Tensor]
    last_state: dict[str, Tensor]
    history: pd.DataFrame
    facts: dict[str, Any]


def untrained(model: Classifier) -> TrainingResult:
    """What a training would leave of a model whose weights come from elsewhere."""
    state = on_cpu(model.state_dict())
    row = dict.fromkeys(("train_loss", "val_loss", "train_accuracy", "val_accuracy"), math.nan)
    history = pd.DataFrame([{"epoch": 0, **row, "learning_rate": 0.0, "seconds": 0.0}])
    facts = {
        "epochs": 0,
        "best_epoch": 0,
        "best_val_accuracy": None,
        "training": {},
        "seconds": 0.0,
    }
    return TrainingResult(state, state, history, {**model.facts(), **facts})


def on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of a state dict on the CPU, without a graph."""
    return {name: value.detach().cpu().clone() for name, value in state.items()}
