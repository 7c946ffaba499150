"""Two ways to charge a contender for a row of the speed table, and what may be said of the result.

As called: each contender is called as its users call it. assay's call decides the clean images,
searches, and judges what it found; a library's call does what that library does, and no pass is
added to it.

Same work: the clean decision is known to all, so assay's call is given it, and every contender ends
with the decision on what it found. A call that does not tell that by itself gets one pass over its
images.

This module imports no library.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from common import interleaved, ratio
from torch import Tensor, nn

from assay.attacks.base import Attack, judge
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
    """The contenders' runs under both accountings.

    Args:
        attack: assay's.
        victim: what it attacks.
        module: the same network, as the libraries and the judging pass take it.
        rivals: by name; a true attribute ``tells`` says that a call knows what it broke.
        images: (N, C, H, W), all that are attacked; a run may get the first ones only.
        labels: (N,).
        radius: of the attack's ball.

    Returns:
        ``as_called`` and ``same_work``, each from a name to its run. Where a rival is charged alike
        in both, it is the same object.
    """
    known = judge(victim, images, labels, torch.Generator(), replays=1)

    def ours(x: Tensor, y: Tensor, *, clean: bool) -> Tensor:
        generator = torch.Generator().manual_seed(SEED)
        given = known.at(torch.arange(len(x))) if clean else None
        return attack(victim, x, y, [radius], generator, clean=given).images[0]

    return {
        AS_CALLED: {OURS: partial(ours, clean=False), **rivals},
        SAME_WORK: {
            OURS: partial(ours, clean=True),
            **{
                name: run if getattr(run, "tells", False) else judged(module, run)
                for name, run in rivals.items()
            },
        },
    }


def judged(module: nn.Module, run: Run) -> Run:
    """The run, and one pass over what it found."""

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
    """Seconds by accounting and name, round by round, all interleaved; ``bare`` by its names.

    A run that both accountings share is timed once and stands in both.
    """
    calls = {}
    for accounting, contenders in runs.items():
        for name in names:
            key = (accounting, name)
            if accounting == SAME_WORK and contenders[name] is runs[AS_CALLED][name]:
                continue
            calls[key] = partial(contenders[name], images, labels)
            contenders[name](images[:8], labels[:8])
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
    """assay's speed over that of the strongest contender: the median of the rounds' ratios.

    Args:
        row: of attacks.json.
        accounting: ``as_called`` or ``same_work``.
        threads: ``1`` or ``2``.
        expected: the libraries that a claim about the strongest contender has to have met.

    Returns:
        None where it was not measured, or where a library that has the attack was not there.
    """
    seconds = row["runs"].get(threads, {}).get(accounting, {})
    if OURS not in seconds or set(expected) - set(row["profiles"]):
        return None
    return strongest_gain(seconds)


def strongest_gain(seconds: Mapping[str, list[float]]) -> float | None:
    """The median of the rounds' ratios of the fastest rival's time and assay's; None: no rival."""
    rivals = {name: values for name, values in seconds.items() if name != OURS}
    if not rivals:
        return None
    strongest = min(rivals, key=lambda name: statistics.median(rivals[name]))
    return ratio(rivals[strongest], seconds[OURS])


def over_floor(row: dict, name: str, threads: str) -> float | None:
    """Time under the same work over that of the bare passes which the contender made."""
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
    """The bars of tests/oracle: half a point of images, or 1.02 of the median distance."""
    found = {name: one for name, one in row["profiles"].items() if "error" not in one}
    ours = found.pop(OURS)
    most = max(one["broken"] for one in found.values())
    if row["epsilon"] is not None:
        return ours["broken"] >= most - 0.005 * row["images"]
    medians = [one["median"] for one in found.values() if one["median"] is not None]
    closest = min(medians, default=float("inf"))
    return ours["broken"] >= most and (ours["median"] or float("inf")) <= 1.02 * closest


def met(row: dict, expected: Iterable[str]) -> bool | None:
    """Whether a row keeps its bar under both accountings and with one and two threads.

    None where one of them was not measured against everybody: then nothing is claimed.
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
