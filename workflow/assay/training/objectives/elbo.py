"""The sum of the model's own losses, as generative models are trained."""

from __future__ import annotations

from assay.training.objective import Objective


class Elbo(Objective):
    """Minimises the sum of ``training_loss``, a negative evidence lower bound, over each batch.

    The sum is what the published code of GBZ minimises; with Adam it differs from the mean by
    weight decay only.
    """

    loss_is_a_sum = True
