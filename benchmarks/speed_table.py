"""The speed table of the README, from attacks.json."""

from __future__ import annotations

import statistics

from accounting import ACCOUNTINGS, OURS, SAME_WORK, THREADS, gain, met, over_floor
from common import table, write_section
from contenders import table_rows
from victims import SmallCNN

NONE = "–"
HEADER = ["attack", "library", "images/s as called", "images/s, same work"]
HEADER += ["forward", "backward", "MiB", "broken", "time / floor"]
HEADER += ["× fastest as called", "× fastest, same work", "bar", "met"]


def both(values: list[float | None], form: str) -> str:
    """One thread's value and two threads'."""
    if not any(values):
        return NONE
    return " / ".join(NONE if value is None else format(value, form) for value in values)


def speed(row: dict, name: str, accounting: str, threads: str) -> float | None:
    """Images per second: the median of the rounds."""
    seconds = row["runs"].get(threads, {}).get(accounting, {}).get(name)
    return row["images"] / statistics.median(seconds) if seconds else None


def drawn(row: dict, expected: list[str]) -> list[list[str]]:
    """The table's lines for a row: assay first, then the libraries by their speed.

    Args:
        row: of attacks.json.
        expected: all libraries that have the attack; without one of them nothing is claimed.
    """
    found = {name: one for name, one in row["profiles"].items() if "error" not in one}
    fastest_first = sorted(
        (name for name in found if name != OURS),
        key=lambda name: -max(speed(row, name, SAME_WORK, threads) or 0 for threads in THREADS),
    )
    lines = []
    for name in [OURS, *fastest_first]:
        one = found[name]
        reached = f"{one['broken']}/{row['images']}"
        if row["epsilon"] is None:
            reached += f" at {NONE if one['median'] is None else format(one['median'], '.3f')}"
        speeds = [
            both([speed(row, name, accounting, threads) for threads in THREADS], ".3g")
            for accounting in ACCOUNTINGS
        ]
        cells = [
            row["title"] if name == OURS else "",
            name,
            *speeds,
            f"{one['forwards'] / row['images']:.4g}",
            f"{one['backwards'] / row['images']:.4g}",
            f"{one['megabytes']:.0f}",
            reached,
            both([over_floor(row, name, threads) for threads in THREADS], ".2f"),
        ]
        if name == OURS:
            cells += [
                both([gain(row, kind, threads, expected) for threads in THREADS], ".2f")
                for kind in ACCOUNTINGS
            ]
            cells += [_bar(row), {None: NONE, True: "yes", False: "no"}[met(row, expected)]]
        lines.append(cells + [""] * (len(HEADER) - len(cells)))
    for name, one in row["profiles"].items():
        if "error" in one:
            lines.append(["", name, f"`{one['error'][:60]}`", *[""] * (len(HEADER) - 3)])
    return lines


def _bar(row: dict) -> str:
    floor = "" if row["floor"] is None else f", floor ≤ {row['floor']:.2f}"
    return f"≥ {row['bar']:g}{floor}"


def described(expected: dict[str, dict]) -> str:
    """What each library's call computes, once per text."""
    texts: dict[tuple[str, str], list[str]] = {}
    for key, contenders in expected.items():
        for name, contender in contenders.items():
            texts.setdefault((name, contender.computes), []).append(key)
    lines = [[name, ", ".join(keys), text] for (name, text), keys in sorted(texts.items())]
    return table(["library", "rows", "what its call computes"], lines)


def write(rows: dict[str, dict]) -> None:
    """The section of the README, from the rows that were measured."""
    today, model = table_rows(False), SmallCNN().eval()
    expected = {key: row.rivals(model) for key, row in today.items()}
    kept = [key for key in today if key in rows]
    body = [line for key in kept for line in drawn(rows[key], list(expected[key]))]
    runs = sorted({_made(run) for key in kept for run in rows[key]["runs"].values()})
    write_section(
        "attacks",
        f"""
## Attacks

SmallCNN on {rows[kept[0]]["source"]}, the first test images that it gets right: fixed budgets
(L∞ 0.3, L2 2) against an adversarially trained one, where most images survive, minimal norms
against a standard one. Equal budgets, all contenders of a row interleaved in one process;
images/s is the median, ratios are medians of the rounds' ratios, against the fastest library.
A library four times slower than that one ran once, in a process of its own, and has no speed here.

Each contender is charged in two ways. *As called*: the call as its users make it. assay's
decides the clean images, searches and judges what it found; a library's does what the second table
says. *Same work*: the clean decision is known to all, and each ends with the decision on what it
found, by a pass of its own where the call does not tell. Every pair of numbers is one thread / two
threads; {NONE} was not measured. Where a library that has the attack was not measured, there is no
ratio and no verdict: earlier rows did not know adv-lib and secml-torch.

*Forward* and *backward* are passes per image and *MiB* is how far a process of its own grew, under
the same work; *broken* counts images, for minimal norms with the median distance (infinite without
success); *time / floor* divides the same work by the time of exactly the passes that the contender
made, through the same network with frozen parameters in assay's batches, with nothing around them.
*Met* asks for the bar under both accountings and with one and two threads, and for equal strength:
broken images within half a point, a median distance of at most 1.02 times the closest library's.
Foolbox's Boundary also spends 51 queries per image on a start. ART's C&W is left out for its time.

{" ".join(runs)}

{table(HEADER, body)}

What a library's call computes, besides the passes of its search:

{described(expected)}

secml-torch also calls Foolbox and adv-lib; those stand in the table by themselves. adv-lib has no
FGSM. It imports visdom, whose installation fails here (`ModuleNotFoundError: No module named
'pkg_resources'`, in the build of its source package); adv-lib needs it for plots only, and
secml-torch puts an empty module in its place.
""",
    )


def _made(run: dict) -> str:
    load = "" if "load" not in run else f", load {run['load']} on {run['cores']} cores"
    return f"{run['date']}: {run['machine']}{load}; {run['libraries']}."
