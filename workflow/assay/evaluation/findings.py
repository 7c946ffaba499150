"""What was measured of a victim before any attack, and what follows from it for the reader."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A view's gradient is right, or helps, if it does on this share of the images.
SHARE = 0.75
# Types whose rounding shows in the logits, and how many times the tolerance is allowed there.
COARSE = {"bfloat16": 20.0, "float16": 5.0}
_BPDA = (
    "pass a Victim with a second view, e.g. views={'own': model, 'bpda': bpda(model, network)}, "
    "and attack it with 'square' too"
)


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know before believing a number.

    Attributes:
        check: what was measured, e.g. ``gradient``.
        status: ``broken`` and ``suspect`` decide the verdict; ``note`` does not.
        what: the finding, a sentence without full stop.
        remedy: what to do about it.
    """

    check: str
    status: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}; {self.remedy}"


@dataclass(frozen=True)
class GradientCheck:
    """A view's derivatives against finite differences, as shares of the images that were checked.

    Attributes:
        right: off by at most half, at one of the two step sizes at least.
        helpful: the logits rise along the gradient's sign.
        zero: the gradient vanishes although the logits change.
        flat: neither the gradient nor the logits change.
        failed: why the view cannot be differentiated; empty if it can.
        compared: whether finite differences could be taken: not of numbers that no seed repeats.
    """

    right: float = 0.0
    helpful: float = 0.0
    zero: float = 0.0
    flat: float = 0.0
    failed: str = ""
    compared: bool = True

    @property
    def is_right(self) -> bool:
        """Whether an attack can follow it on most images."""
        return self.right >= SHARE * (1 - self.flat) and self.flat <= 1 - SHARE


@dataclass(frozen=True)
class Inspection:
    """What was measured of a victim.

    Attributes:
        stochastic: whether two evaluations of one image differ, or random numbers were drawn.
        flips: share of predictions that differ between two evaluations.
        repeatable: whether the same seed gives the same logits again.
        batch_dependent: whether an image's logits depend on the images beside it.
        searches: whether the model differentiates while it predicts.
        output: ``logits``, ``probabilities``, ``log-probabilities`` or ``decisions`` (one-hot).
        precision: the type that the model returns, e.g. ``float32``.
        gradients: by view.
        images: images that were evaluated; passes: image passes forward and backward.
    """

    stochastic: bool
    flips: float
    repeatable: bool
    batch_dependent: bool
    searches: bool
    output: str
    precision: str
    gradients: Mapping[str, GradientCheck]
    images: int
    passes: int

    def findings(self) -> list[Finding]:
        """What follows from the measurements."""
        return list(_findings(self))

    def facts(self) -> dict[str, Any]:
        """The measurements, ready for JSON."""
        return dataclasses.asdict(self) | {
            "gradients": {name: dataclasses.asdict(g) for name, g in self.gradients.items()}
        }


def verdict(findings: Sequence[Finding]) -> str:
    """``broken``, ``suspect`` or ``sound``: the worst status among findings."""
    statuses = {finding.status for finding in findings}
    return next((word for word in ("broken", "suspect") if word in statuses), "sound")


def audit(inspection: Inspection, findings: Sequence[Finding]) -> dict[str, Any]:
    """What ``attrs["audit"]`` of outcome rows holds: plain values, ready for JSON."""
    listed = [{**vars(finding)} for finding in findings]
    return {"verdict": verdict(findings), "findings": listed, **inspection.facts()}


def _findings(found: Inspection) -> Iterator[Finding]:
    if found.output == "decisions":
        yield Finding(
            "output", "suspect", "the model returns one-hot decisions, not logits",
            "return the logits that the decision is made of",
        )  # fmt: skip
    elif found.output == "probabilities":
        yield Finding(
            "output", "suspect",
            "the model returns probabilities, whose gradient vanishes where it is confident",
            "return logits: leave the softmax out",
        )  # fmt: skip
    if found.stochastic:
        share = f"{found.flips:.0%} of {found.images} predictions differ between two evaluations"
        yield Finding(
            "randomness", "note", f"the model is random: {share}",
            "success is a wrong prediction in most of the repeated evaluations",
        )  # fmt: skip
    if not found.repeatable:
        yield Finding(
            "randomness", "note",
            "no seed repeats its random numbers, so no seed repeats this table",
            "draw them from the generator that is passed in, or from torch's global one",
        )  # fmt: skip
    if found.batch_dependent:
        yield Finding(
            "batch", "suspect", "an image's logits depend on the images that are evaluated with it",
            "make the model treat each image alone, e.g. without statistics of the batch",
        )  # fmt: skip
    if found.searches:
        yield Finding(
            "search", "note", "the model runs an optimisation while it predicts",
            "the numbers hold for attacks through it; see the finding on its gradient",
        )  # fmt: skip
    if found.precision in COARSE:
        yield Finding(
            "precision", "note", f"the logits are rounded to {found.precision}",
            "evaluate the model in float32 to see what the rounding hides",
        )  # fmt: skip
    yield from _gradient_findings(found)


def _gradient_findings(found: Inspection) -> Iterator[Finding]:
    """None where one view has a right gradient, or one of several views has a helpful one."""
    checks = found.gradients
    if any(check.is_right for check in checks.values()):
        return
    if len(checks) > 1 and any(check.helpful >= SHARE for check in checks.values()):
        return
    name, check = next(iter(checks.items()))
    which = "the gradient" if len(checks) == 1 else f"no view's gradient (the first: '{name}')"
    if check.failed:
        status, what = "broken", f"{which} cannot be computed: {check.failed}"
    elif not check.compared:
        status, what = "suspect", f"{which} cannot be checked, since no seed repeats its numbers"
    elif check.zero >= SHARE:
        status, what = "broken", "the logits change with the image, but no gradient reaches it"
    elif check.flat > 1 - SHARE:
        yield Finding(
            "gradient", "suspect",
            f"on {check.flat:.0%} of the images neither logits nor gradient change with the image",
            "return logits before any clipping, rounding or saturation",
        )  # fmt: skip
        return
    else:
        zero = f" and vanishes on {check.zero:.0%}" if check.zero else ""
        status = "suspect"
        what = f"{which} agrees with finite differences on {check.right:.0%} of the images{zero}"
    yield Finding("gradient", status, what, _BPDA)
