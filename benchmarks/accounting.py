"""Two ways to count the cost of a library in a row of the speed table, and the claims they allow.

As called: each library is called as its users call it. assay's call predicts the clean images,
searches, and evaluates its result. The call of another library runs as it is. No pass is added.

Same work: the predictions on the clean images are given to assay's call as an input. Every call
ends with predictions on its result. A call that does not compute them gets one more pass over its
images.

This module imports no attack library.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from common import interleaved, ratio
from torch import Tensor, nn

from assay.attacks.attack import Attack
from assay.attacks.prediction import evaluate_images
from assay.attacks.victim import Victim

Run = Callable[[Tensor, Tensor], Tensor]

OURS = "assay"
AS_CALLED, SAME_WORK = "as_called", "same_work"
ACCOUNTINGS = (AS_CALLED, SAME_WORK)
THREADS = ("1", "2")
SEED = 0


def accounts(
    attack: Attack,
    victim: Victim,
    module: nn.Module,
    rivals: Mapping[str, Run],
    images: Tensor,
    labels: Tensor,
    radius: float,
) -> dict[str, dict[str, Run]]:
    """The runs of assay and of the other libraries under both accountings.

    Args:
        attack: the attack of assay.
        victim: the classifier that assay attacks.
        module: the same network as a module, for the other libraries and for the evaluation pass.
        rivals: the calls of the other libraries by name. The attribute ``tells`` is true if a call
            computes which images are misclassified.
        images: (N, C, H, W), all attacked images. A run may receive only the first ones.
        labels: (N,).
        radius: radius of the attack's ball.

    Returns:
        ``as_called`` and ``same_work``. Each maps a name to its run. A library with the same cost
        under both accountings has the same object in both.
    """
    known = evaluate_images(victim, images, labels, torch.Generator(), repeats=1)

    def ours(x: Tensor, y: Tensor, *, clean: bool) -> Tensor:
        generator = torch.Generator().manual_seed(SEED)
        given = known.at(torch.arange(len(x))) if clean else None
        return attack(victim, x, y, [radius], generator, clean=given).images[0]

    return {
        AS_CALLED: {OURS: partial(ours, clean=False), **rivals},
        SAME_WORK: {
            OURS: partial(ours, clean=True),
            **{
                name: run if getattr(run, "tells", False) else evaluated(module, run)
                for name, run in rivals.items()
            },
        },
    }


def evaluated(module: nn.Module, run: Run) -> Run:
    """The run, followed by one pass over its result."""

    def with_verdict(x: Tensor, y: Tensor) -> Tensor:
        found = run(x, y)
        with torch.inference_mode():
            module(found)
        return found

    return with_verdict


def timed(
    runs: Mapping[str, Mapping[str, Run]],
    names: Iterable[str],
    bare: Mapping[str, Callable[[], object]],
    images: Tensor,
    labels: Tensor,
    rounds: int,
) -> dict[str, dict[str, list[float]]]:
    """Seconds by accounting and name, one value per round. All runs are interleaved.

    ``bare`` holds the seconds of the bare passes by name. A run that both accountings share is
    timed once. Its times are listed under both.
    """
    calls = {}
    for accounting, baselines in runs.items():
        for name in names:
            key = (accounting, name)
            if accounting == SAME_WORK and baselines[name] is runs[AS_CALLED][name]:
                continue
            calls[key] = partial(baselines[name], images, labels)
            baselines[name](images[:8], labels[:8])
    for run in bare.values():
        run()
    seconds = interleaved(
        {**calls, **{("bare", name): run for name, run in bare.items()}}, rounds, warm_up=False
    )
    found: dict[str, dict[str, list[float]]] = {AS_CALLED: {}, SAME_WORK: {}, "bare": {}}
    for (account, name), values in seconds.items():
        found[account][name] = [round(value, 5) for value in values]
    for name in names:
        found[SAME_WORK].setdefault(name, found[AS_CALLED].get(name))
    return found


def gain(row: dict, accounting: str, threads: str, expected: Iterable[str]) -> float | None:
    """The speed of assay over that of the fastest library: the median of the ratios per round.

    Args:
        row: a row of attacks.json.
        accounting: ``as_called`` or ``same_work``.
        threads: ``1`` or ``2``.
        expected: the libraries that must be measured before a claim about the fastest one.

    Returns:
        None if this was not measured, or if a library that has the attack was not measured.
    """
    seconds = row["runs"].get(threads, {}).get(accounting, {})
    if OURS not in seconds or set(expected) - set(row["profiles"]):
        return None
    return strongest_gain(seconds)


def strongest_gain(seconds: Mapping[str, list[float]]) -> float | None:
    """Time of the fastest library over that of assay: the median of the ratios per round.

    None without another library.
    """
    rivals = {name: values for name, values in seconds.items() if name != OURS}
    if not rivals:
        return None
    strongest = min(rivals, key=lambda name: statistics.median(rivals[name]))
    return ratio(rivals[strongest], seconds[OURS])


def over_floor(row: dict, name: str, threads: str) -> float | None:
    """Time under the same work over the time of the bare passes that the library made."""
    run = row["runs"].get(threads, {})
    if name not in run.get(SAME_WORK, {}):
        return None
    images, passes = run["bare_images"], row["profiles"][name]
    forwards, backwards = passes["forwards"], passes["backwards"]
    pairs = zip(run["bare"]["forward"], run["bare"]["gradient"], strict=True)
    bare = [
        (forwards * forward + backwards * (gradient - forward)) / images
        for forward, gradient in pairs
    ]
    return ratio(run[SAME_WORK][name], bare)


def as_strong(row: dict) -> bool:
    """Whether assay has the strength that tests/oracle requires.

    Fixed budgets: at most half a percentage point fewer misclassified images than the best library.
    Minimal norms: at least as many misclassified images, and a median distance of at most 1.02
    times that of the closest library.
    """
    found = {name: one for name, one in row["profiles"].items() if "error" not in one}
    ours = found.pop(OURS)
    most = max(one["misclassified"] for one in found.values())
    if row["epsilon"] is not None:
        return ours["misclassified"] >= most - 0.005 * row["images"]
    medians = [one["median"] for one in found.values() if one["median"] is not None]
    closest = min(medians, default=float("inf"))
    return ours["misclassified"] >= most and (ours["median"] or float("inf")) <= 1.02 * closest


def met(row: dict, expected: Iterable[str]) -> bool | None:
    """Whether a row reaches its bar under both accountings, with one thread and with two.

    None if one of these was not measured against all libraries. Then no claim is made.
    """
    expected = list(expected)
    gains = [gain(row, kind, threads, expected) for kind in ACCOUNTINGS for threads in THREADS]
    if None in gains:
        return None
    enough = min(gains) >= row["bar"] and as_strong(row)
    if row["floor"] is not None:
        floors = [over_floor(row, OURS, threads) for threads in THREADS]
        enough = enough and max(floors) <= row["floor"]
    return enough
