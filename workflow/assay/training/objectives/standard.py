"""The mean of the model's own losses, such as cross-entropy."""

from __future__ import annotations

from assay.training.objective import Objective


class Standard(Objective):
    """Minimises the mean of ``training_loss`` over each batch."""
