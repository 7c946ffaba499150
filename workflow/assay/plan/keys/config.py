"""Keys of ``config/config.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from assay.foundation.keys import ABSENT, key


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """A user's own entries."""

    datasets: Annotated[dict, key("your own data sets, for example an image_folder")] = ABSENT
    splits: Annotated[dict, key("your own split schemes")] = ABSENT
    models: Annotated[dict, key("your own models")] = ABSENT
    attacks: Annotated[dict, key("your own attacks")] = ABSENT
    suites: Annotated[dict, key("your own suites")] = ABSENT
    measurements: Annotated[dict, key("your own measurements")] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """When a number agrees with the printed one."""

    tolerance: Annotated[
        float,
        key(
            "widening of the 95 % interval of an accuracy on both sides before the comparison, as "
            "a share",
            ge=0,
            le=1,
        ),
    ] = 0.02
    relative_tolerance: Annotated[
        float, key("the same for losses, as a share of the printed value", ge=0)
    ] = 0.02
    minimum_n: Annotated[int, key("smallest number of images for a verdict", ge=1)] = 100
    widest_interval: Annotated[
        float,
        key(
            "largest width of the 95 % interval (upper minus lower limit) with which a number can "
            "count as reproduced",
            ge=0,
        ),
    ] = 0.07


@dataclass(frozen=True, kw_only=True)
class Checks:
    """When a check of an evaluation flags or fails."""

    norm_slack: Annotated[
        float, key("absolute tolerance of a radius, for the rounding of pixels", ge=0)
    ] = 1.0e-6
    tolerance: Annotated[
        float, key("largest difference in accuracy that is not evidence against an attack", ge=0)
    ] = 0.01
    significance: Annotated[
        float,
        key(
            "significance level of the exact tests, after Holm's correction over all tests of one "
            "check for one model and norm",
            ge=0,
            le=1,
        ),
    ] = 0.05
    nothing_left: Annotated[
        float,
        key(
            "if the worst case over attacks is at most this accuracy, checks of strength do not "
            "doubt that radius",
            ge=0,
            le=1,
        ),
    ] = 0.05
    zero_gradient_flag: Annotated[
        float, key("share of zero gradients above which the check flags", ge=0)
    ] = 0.01
    zero_gradient_fail: Annotated[
        float, key("share of zero gradients above which the check fails", ge=0)
    ] = 0.5
    worst_case_gap: Annotated[
        float,
        key(
            "share of images on which the best attack fails and another attack succeeds, above "
            "which the check flags",
            ge=0,
        ),
    ] = 0.03
    prediction_flips: Annotated[
        float,
        key(
            "share of right predictions that change in repeated evaluations of the unperturbed "
            "image, above which the check flags",
            ge=0,
        ),
    ] = 0.05
    correction_significance: Annotated[
        float,
        key(
            "p-value below which the check flags a published attack that fools more images than "
            "its correction",
            ge=0,
            le=1,
        ),
    ] = 0.05
    importance_share: Annotated[
        float,
        key(
            "median effective sample size of importance sampling, as a share of the samples, below "
            "which the check flags",
            ge=0,
            le=1,
        ),
    ] = 0.1


@dataclass(frozen=True, kw_only=True)
class Marks:
    """When an accuracy is bold."""

    margin: Annotated[
        float,
        key(
            "largest loss of accuracy against the best model, by the 95 % interval of the paired "
            "difference, that is still bold",
            ge=0,
            le=1,
        ),
    ] = 0.02


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings that a user edits."""

    scale: Annotated[str, key("size of the run: the name of a file in config/scales/")] = "demo"
    studies: Annotated[
        list[str],
        key("studies to run: names of files in config/studies/", least=1, unique=True),
    ] = field(default_factory=lambda: ["millner2024"])
    data_mirror: Annotated[
        str | None,
        key(
            "folder with archives, searched before any download; null: the environment variable "
            "ASSAY_DATA"
        ),
    ] = None
    downloads: Annotated[str, key("folder for downloaded archives and weights")] = (
        "results/downloads"
    )
    device: Annotated[
        str,
        key(
            "auto: a CUDA device that no other job uses, or the CPU if no CUDA device exists; "
            "cuda: the same, but an error if no CUDA device exists; cuda:<n>: this device, shared "
            "by all jobs; cpu: the CPU",
            pattern="^(auto|cpu|cuda(:[0-9]+)?)$",
            examples=("auto", "cpu", "cuda", "cuda:0"),
        ),
    ] = "auto"
    threads: Annotated[
        int,
        key("CPU threads per job, at least 1; bit-identical results need the same number", ge=1),
    ] = 1
    seed: Annotated[int, key("whole number from which assay derives every seed", ge=0)] = 1
    container: Annotated[
        str | None,
        key(
            "image in which jobs run with `--sdm apptainer`: a file such as assay.sif, or an "
            "address such as docker://...; see docs/installation.md"
        ),
    ] = None
    catalogue: Annotated[
        Catalogue,
        key(
            "your own entries, and changes to those of config/catalogue/: kind, then id, then the "
            "entry or the changed keys"
        ),
    ] = field(default_factory=Catalogue)
    ledger: Annotated[
        Ledger,
        key("rule that decides whether a number of this run agrees with the printed one"),
    ] = field(default_factory=Ledger)
    checks: Annotated[Checks, key("thresholds of the checks of an evaluation")] = field(
        default_factory=Checks
    )
    marks: Annotated[Marks, key("rule for bold accuracies in tables")] = field(
        default_factory=Marks
    )
