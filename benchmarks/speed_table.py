"""The speed table of the README, written from attacks.json."""

from __future__ import annotations

import statistics

from accounting import ACCOUNTINGS, OURS, SAME_WORK, THREADS, gain, met, over_floor
from common import table, write_section
from contenders import table_rows
from victims import SmallCNN

NONE = "–"
HEADER = ["attack", "library", "images/s as called", "images/s, same work"]
HEADER += ["forward", "backward", "MiB", "misclassified", "time / floor"]
HEADER += ["× fastest as called", "× fastest, same work", "bar", "met"]


def both(values: list[float | None], form: str) -> str:
    """The value with one thread and the value with two."""
    if not any(values):
        return NONE
    return " / ".join(NONE if value is None else format(value, form) for value in values)


def speed(row: dict, name: str, accounting: str, threads: str) -> float | None:
    """Images per second: the median of the rounds."""
    seconds = row["runs"].get(threads, {}).get(accounting, {}).get(name)
    return row["images"] / statistics.median(seconds) if seconds else None


def drawn(row: dict, expected: list[str]) -> list[list[str]]:
    """The lines of a row in the table: assay first, then the libraries from the fastest on.

    Args:
        row: a row of attacks.json.
        expected: all libraries that have the attack. If one is missing, no claim is made.
    """
    found = {name: one for name, one in row["profiles"].items() if "error" not in one}
    fastest_first = sorted(
        (name for name in found if name != OURS),
        key=lambda name: -max(speed(row, name, SAME_WORK, threads) or 0 for threads in THREADS),
    )
    lines = []
    for name in [OURS, *fastest_first]:
        one = found[name]
        reached = f"{one['misclassified']}/{row['images']}"
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
    """A table of what the call of each library computes. Each text is listed once."""
    texts: dict[tuple[str, str], list[str]] = {}
    for key, baselines in expected.items():
        for name, baseline in baselines.items():
            texts.setdefault((name, baseline.computes), []).append(key)
    lines = [[name, ", ".join(keys), text] for (name, text), keys in sorted(texts.items())]
    return table(["library", "rows", "what its call computes"], lines)


def write(rows: dict[str, dict]) -> None:
    """Writes the section of the README from the measured rows."""
    today, model = table_rows(False), SmallCNN().eval()
    expected = {key: row.rivals(model) for key, row in today.items()}
    kept = [key for key in today if key in rows]
    body = [line for key in kept for line in drawn(rows[key], list(expected[key]))]
    runs = sorted({_made(run) for key in kept for run in rows[key]["runs"].values()})
    write_section(
        "attacks",
        f"""
## Attacks

SmallCNN on {rows[kept[0]]["source"]}, the first test images that it classifies correctly. Fixed
budgets (L∞ 0.3, L2 2) are for an adversarially trained network, where most images stay correctly
classified. Minimal norms are for a standard network. Budgets are equal. In rows with several
rounds, all libraries run interleaved in one process. AutoAttack with 250 images has one round: each
library ran once. Images/s is the median, ratios are medians of the ratios per round, against the
fastest library. A library more than four times slower than that one ran once, in a separate
process, and has no speed here.

The cost of each library is counted in two ways (accountings). *As called* is the call as users make
it. The call of assay predicts the clean images, searches and evaluates its result. The second table
describes the calls of the other libraries. *Same work*: the predictions on the clean images are
given, and each call ends with predictions on its result. A call that does not compute them gets one
more pass. Every pair of numbers is one thread / two threads; {NONE} was not measured. If a library
that has the attack was not measured, the row has no ratio, and *met* is empty ({NONE}). Earlier
rows do not contain adv-lib and secml-torch.

*Forward*, *backward* and *MiB* are measured under the same work. The first two are passes per
image; *MiB* is the growth of a separate process. *Misclassified* counts images, for minimal norms
with the median distance (infinite without success). *Time / floor* divides the time of the same
work by the time of exactly the passes that the library made, through the same network with frozen
parameters in assay's batches, without any other work.

*Met* requires the bar under both accountings, with one thread and with two, and equal strength.
Fixed budgets: at most half a percentage point fewer misclassified images than the best library.
Minimal norms: at least as many misclassified images as the best library, and a median distance of
at most 1.02 times that of the closest library. Foolbox's Boundary also searches for a start: the
line search takes up to 51 queries per image. ART's C&W is excluded because of its run time.

{" ".join(runs)}

{table(HEADER, body)}

What the call of a library computes, in addition to the passes of its search:

{described(expected)}

secml-torch also calls Foolbox and adv-lib. The benchmark calls both directly. adv-lib has no FGSM.
adv-lib imports visdom, and the installation of visdom fails here (`ModuleNotFoundError: No module
named 'pkg_resources'`, in the build of its source package). adv-lib needs visdom for plots only.
secml-torch substitutes an empty module for it.
""",
    )


def _made(run: dict) -> str:
    load = "" if "load" not in run else f", load average {run['load']} on {run['cores']} cores"
    return f"{run['date']}: {run['machine']}{load}; {run['libraries']}."
