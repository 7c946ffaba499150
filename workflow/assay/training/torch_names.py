"""Optimisers and schedulers of torch that a training can name, with their keywords.

The plan checks an entry without torch, so they are written down here; a test compares them with the
installed torch and prints what to write. Left out are switches between equal implementations, and
what a catalogue cannot write: functions and other schedulers.
"""

from __future__ import annotations

from collections.abc import Mapping

OPTIMIZERS: Mapping[str, tuple[str, ...]] = {
    "ASGD": ("lr", "lambd", "alpha", "t0", "weight_decay", "maximize"),
    "Adadelta": ("lr", "rho", "eps", "weight_decay", "maximize"),
    "Adafactor": ("lr", "beta2_decay", "eps", "d", "weight_decay", "maximize"),
    "Adagrad": ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps", "maximize"),
    "Adam": (
        "lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "decoupled_weight_decay",
    ),
    "AdamW": ("lr", "betas", "eps", "weight_decay", "amsgrad", "maximize"),
    "Adamax": ("lr", "betas", "eps", "weight_decay", "maximize"),
    "NAdam": (
        "lr", "betas", "eps", "weight_decay", "momentum_decay", "decoupled_weight_decay",
        "maximize",
    ),
    "RAdam": ("lr", "betas", "eps", "weight_decay", "decoupled_weight_decay", "maximize"),
    "RMSprop": ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "maximize"),
    "Rprop": ("lr", "etas", "step_sizes", "maximize"),
    "SGD": ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize"),
}  # fmt: skip
"""Keywords of each optimiser. Without LBFGS (it asks for the loss several times per step), Muon
(matrices alone) and SparseAdam (sparse gradients alone)."""

SCHEDULERS: Mapping[str, tuple[str, ...]] = {
    "ConstantLR": ("factor", "total_iters"),
    "CosineAnnealingLR": ("T_max", "eta_min"),
    "CosineAnnealingWarmRestarts": ("T_0", "T_mult", "eta_min"),
    "CyclicLR": (
        "base_lr", "max_lr", "step_size_up", "step_size_down", "mode", "gamma", "scale_mode",
        "cycle_momentum", "base_momentum", "max_momentum",
    ),
    "ExponentialLR": ("gamma",),
    "LinearLR": ("start_factor", "end_factor", "total_iters"),
    "MultiStepLR": ("milestones", "gamma"),
    "OneCycleLR": (
        "max_lr", "total_steps", "pct_start", "anneal_strategy", "cycle_momentum",
        "base_momentum", "max_momentum", "div_factor", "final_div_factor", "three_phase",
    ),
    "PolynomialLR": ("total_iters", "power"),
    "StepLR": ("step_size", "gamma"),
}  # fmt: skip
"""Keywords of each scheduler."""

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "CosineAnnealingWarmRestarts": ("T_0",),
    "CyclicLR": ("base_lr", "max_lr"),
    "ExponentialLR": ("gamma",),
    "MultiStepLR": ("milestones",),
    "OneCycleLR": ("max_lr",),
    "StepLR": ("step_size",),
}
"""Keywords without a default. Those of :data:`FILLED` are not among them."""

FILLED: Mapping[str, str] = {"CosineAnnealingLR": "T_max", "OneCycleLR": "total_steps"}
"""Keywords that take the length of the training where an entry does not give them."""

# Schedulers that change the learning rate after every step; the others after every epoch.
EVERY_STEP = frozenset({"CyclicLR", "OneCycleLR"})

# Keys of `scheduler` beside its name and torch's keywords.
INTERVAL, WARMUP, WARMUP_START = "interval", "warmup", "warmup_start"
OWN_KEYS = (INTERVAL, WARMUP, WARMUP_START)
# The key of `optimizer` with what is different for single groups of parameters.
GROUPS = "groups"
