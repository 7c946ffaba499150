"""assay's attacks against public libraries: one run, equal budgets, contenders interleaved.

What a contender spends and reaches (passes, memory, broken images) is told by a process of its own;
then all contenders of a row take turns in one process, beside bare passes through the same network.
Measured rows are kept in attacks.json; `--only` measures some anew, and the section of the README
is drawn from whatever is there. MNIST is read from the mirror that the environment variable
ASSAY_DATA names; without one, scikit-learn's digits stand in.

    PYTHONPATH=workflow python benchmarks/attacks.py [--only pgd_linf_128 ddn] [--threads 2]
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import libraries
import torch
from common import interleaved, machine, peak_memory, ratio, table, write_section
from contenders import Row, table_rows
from libraries import Run
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from victims import BATCH, SmallCNN, images_and_labels, trained

from assay.attacks.base import judge
from assay.attacks.losses import cross_entropy
from assay.attacks.victim import Victim

RESULTS = Path(__file__).with_name("attacks.json")
OURS = "assay"
NETWORKS = {"standard": {"epochs": 2}, "robust": {"epochs": 5, "epsilon": 0.35}}
# A library so many times slower than the fastest one, alone in its process, is not timed again.
HOPELESS = 4
# Passes of a full batch per bare measurement, at most; never more than the attack makes, since the
# first one after another contender is slower than the next.
BARE = 8


class Contest:
    """A row with its network, its images and everybody who is to attack them.

    Args:
        row: the comparison.
        quick: a small network after one epoch, to try the rows.
    """

    def __init__(self, row: Row, quick: bool):
        self.row = row
        x, y, test_x, test_y, self.source = images_and_labels()
        self.module = network(row.network, x, y, quick)
        with torch.inference_mode():
            logits = torch.cat([self.module(piece) for piece in test_x.split(BATCH)])
        right = (logits.argmax(dim=1) == test_y).nonzero().squeeze(1)[: row.images]
        self.images, self.labels = test_x[right], test_y[right]
        self.victim = Victim.from_module(self.module, classes=10, shape=(1, 28, 28))
        self.clean = judge(self.victim, self.images, self.labels, torch.Generator(), replays=1)
        self.victim.forwards = 0
        rivals = {name: self._judged(name, run) for name, run in row.rivals(self.module).items()}
        self.contenders: dict[str, Run] = {OURS: self._ours, **rivals}

    def _ours(self, x: Tensor, y: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(libraries.SEED)
        clean = self.clean.at(torch.arange(len(x)))
        radii = [self.row.radius]
        return self.row.attack(self.victim, x, y, radii, generator, clean=clean).images[0]

    def _judged(self, name: str, run: Run) -> Run:
        """A library's run, and the decision on what it found where it does not tell itself."""
        if name in self.row.tells:
            return run

        def judged(x: Tensor, y: Tensor) -> Tensor:
            found = run(x, y)
            with torch.inference_mode():
                self.module(found)
            return found

        return judged

    def profile(self, name: str) -> dict:
        """One run: passes, memory and what it reaches; an error is a result, too."""
        try:
            with counted(self.module) as passes, peak_memory() as memory:
                began = time.perf_counter()
                found = self.contenders[name](self.images, self.labels)
                seconds = time.perf_counter() - began
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        if name == OURS:
            passes = {"forwards": self.victim.forwards, "backwards": self.victim.backwards}
        change = (found - self.images).flatten(1)
        length = change.abs().amax(dim=1) if self.row.norm == "linf" else change.norm(dim=1)
        with torch.inference_mode():
            broken = self.module(found).argmax(dim=1) != self.labels
            broken = broken & (length <= self.row.radius + 1e-5)
        reached = length.masked_fill(~broken, torch.inf).median()
        return {
            **passes,
            **memory,
            "seconds": seconds,
            "broken": int(broken.sum()),
            "median": float(reached) if reached.isfinite() else None,
        }

    def seconds(self, names: list[str], passes: int) -> dict[str, list[float]]:
        """Round by round, for the contenders and for bare passes (``forward``, ``gradient``)."""
        few = self.images[:8], self.labels[:8]
        runs = {}
        for name in names:
            self.contenders[name](*few)
            runs[name] = partial(self.contenders[name], self.images, self.labels)
        bare = self._bare(passes)
        for run in bare.values():
            run()
        return interleaved({**runs, **bare}, self.row.rounds, warm_up=False)

    def _bare(self, passes: int) -> dict[str, Callable[[], None]]:
        """Some passes of a batch of this row's images through the victim's own view."""
        (view,) = self.victim.views.values()
        batch = self.victim.max_batch
        x, y = self.images[:batch], self.labels[:batch]
        generator = torch.Generator()

        def forward() -> None:
            with torch.inference_mode():
                for _ in range(passes):
                    view.logits(x, generator)

        def gradient() -> None:
            for _ in range(passes):
                leaf = x.clone().requires_grad_()
                torch.autograd.grad(cross_entropy(view.logits(leaf, generator), y).sum(), leaf)

        return {"forward": forward, "gradient": gradient}


def network(name: str, x: Tensor, y: Tensor, quick: bool) -> nn.Module:
    """A trained network; kept for the other processes and for the next run."""
    settings = NETWORKS[name] if not quick else {**NETWORKS[name], "epochs": 1, "width": 4}
    if quick:
        x, y = x[:2000], y[:2000]
    label = "_".join([name, str(len(x)), *(str(value) for value in settings.values())])
    file = Path(tempfile.gettempdir(), "assay-benchmarks", f"{label}.safetensors")
    module = SmallCNN(width=settings.get("width", 32)).eval()
    if not file.is_file():
        file.parent.mkdir(exist_ok=True)
        save_file(trained(x, y, **settings).state_dict(), file)
    module.load_state_dict(load_file(file))
    return module


@contextmanager
def counted(model: nn.Sequential) -> Iterator[dict[str, int]]:
    """Counts the images that pass through `model` and back; libraries may call single layers."""
    passes = {"forwards": 0, "backwards": 0}

    def backward(gradient: Tensor) -> None:
        passes["backwards"] += len(gradient)

    def forward(layer: nn.Module, given: tuple, logits: Tensor) -> None:
        passes["forwards"] += len(logits)
        if logits.requires_grad:
            logits.register_hook(backward)

    hook = model[-1].register_forward_hook(forward)
    try:
        yield passes
    finally:
        hook.remove()


def profile(key: str, name: str, quick: bool, threads: int) -> dict:
    """What one contender spends and reaches, for a process of its own."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    return Contest(table_rows(quick)[key], quick).profile(name)


def measure(key: str, quick: bool, threads: int) -> dict:
    """A row of attacks.json."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    contest = Contest(table_rows(quick)[key], quick)
    row = contest.row
    spawn = multiprocessing.get_context("spawn")
    profiles = {}
    for name in contest.contenders:
        with spawn.Pool(1) as pool:
            profiles[name] = pool.apply(profile, (key, name, quick, threads))
    alone = {name: found["seconds"] for name, found in profiles.items() if "error" not in found}
    fastest = min((seconds for name, seconds in alone.items() if name != OURS), default=0.0)
    names = [name for name in alone if name == OURS or alone[name] <= HOPELESS * fastest]
    batch = min(contest.victim.max_batch, len(contest.images))
    # Half of what the attack spends at most: its own first pass is no more expensive, then.
    passes = min(BARE, max(1, profiles[OURS]["forwards"] // (2 * batch)))
    if row.rounds > 1:
        seconds = contest.seconds(names, passes)
    else:
        # Each took minutes in its own process, one after the other: once is enough.
        seconds = {name: [alone[name]] for name in names} | contest.seconds([], passes)
    return {
        "title": row.title,
        "network": row.network,
        "source": contest.source,
        "epsilon": row.epsilon,
        "images": len(contest.images),
        "bare_images": passes * batch,
        "bar": row.bar,
        "floor": row.floor,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "libraries": libraries.versions(),
        "profiles": profiles,
        "seconds": {name: [round(s, 5) for s in values] for name, values in seconds.items()},
    }


def over_floor(row: dict, name: str) -> float:
    """Time over that of the bare passes which the contender made."""
    images, passes = row["bare_images"], row["profiles"][name]
    forwards, backwards = passes["forwards"], passes["backwards"]
    bare = [
        (forwards * forward + backwards * (gradient - forward)) / images
        for forward, gradient in zip(
            row["seconds"]["forward"], row["seconds"]["gradient"], strict=True
        )
    ]
    if name not in row["seconds"]:
        return passes["seconds"] / statistics.median(bare)
    return ratio(row["seconds"][name], bare)


def as_strong(row: dict, rivals: list[str]) -> bool:
    """The bars of tests/oracle: half a point of images, or 1.02 of the median distance."""
    ours, theirs = row["profiles"][OURS], [row["profiles"][name] for name in rivals]
    most = max(found["broken"] for found in theirs)
    if row["epsilon"] is not None:
        return ours["broken"] >= most - 0.005 * row["images"]
    medians = [found["median"] for found in theirs if found["median"] is not None]
    closest = min(medians, default=float("inf"))
    return ours["broken"] >= most and (ours["median"] or float("inf")) <= 1.02 * closest


def drawn(row: dict) -> list[list[str]]:
    """The table's lines for a row: assay first, then the libraries by their speed."""
    seconds = {
        name: statistics.median(row["seconds"].get(name, [found.get("seconds")]))
        for name, found in row["profiles"].items()
        if "error" not in found
    }
    rivals = [name for name in seconds if name != OURS]
    rivals.sort(key=seconds.get)
    lines = []
    for name in [OURS, *rivals]:
        found = row["profiles"][name]
        reached = f"{found['broken']}/{row['images']}"
        if row["epsilon"] is None:
            distance = "–" if found["median"] is None else f"{found['median']:.3f}"
            reached += f" at {distance}"
        cells = [
            row["title"] if name == OURS else "",
            name,
            f"{row['images'] / seconds[name]:.3g}",
            f"{found['forwards'] / row['images']:.4g}",
            f"{found['backwards'] / row['images']:.4g}",
            f"{found['megabytes']:.0f}",
            reached,
            f"{over_floor(row, name):.2f}",
        ]
        if name == OURS and rivals:
            gain = ratio(row["seconds"][rivals[0]], row["seconds"][OURS])
            met = gain >= row["bar"] and as_strong(row, rivals)
            bar = f"≥ {row['bar']:g}"
            if row["floor"] is not None:
                met = met and over_floor(row, OURS) <= row["floor"]
                bar += f", floor ≤ {row['floor']:.2f}"
            cells += [f"{gain:.2f}", bar, "yes" if met else "no"]
        lines.append(cells + [""] * (11 - len(cells)))
    for name, found in row["profiles"].items():
        if "error" in found:
            lines.append(["", name, f"`{found['error'][:60]}`", *[""] * 8])
    return lines


def write(rows: dict[str, dict]) -> None:
    """The section of the README, from the rows that were measured."""
    ordered = [rows[key] for key in table_rows(False) if key in rows]
    header = ["attack", "library", "images/s", "forward", "backward", "MiB", "broken"]
    header += ["time / floor", "× best library", "bar", "met"]
    body = [line for row in ordered for line in drawn(row)]
    runs = sorted({(row["date"], row["machine"], row["libraries"]) for row in ordered})
    made = " ".join(f"{date}: {host}; {versions}." for date, host, versions in runs)
    write_section(
        "attacks",
        f"""
## Attacks

SmallCNN on {ordered[0]["source"]}, the first test images that it gets right: fixed budgets
(L∞ 0.3, L2 2) against an adversarially trained one, where most images survive, minimal norms
against a standard one. Equal budgets, all contenders of a row interleaved in one process;
images/s is the median, ratios are medians of the rounds' ratios, against the fastest library; a
library {HOPELESS} times slower than that one ran once, alone.
The clean decision is known to all; each run ends with the decision on what it found, by a pass of
its own for torchattacks, ART and the single attacks of pyautoattack, which do not tell.
*Forward* and *backward* are passes per image; *MiB* is how far a process of its own grew during
the attack; *broken* counts images, for minimal norms with the median distance (infinite without
success); *time / floor* divides by the time of exactly the passes that the contender made, through
the same network with frozen parameters in assay's batches, with nothing around them. *Met* also
asks for equal strength: broken images within half a point, a median distance of at most 1.02 times
the closest library's. Foolbox's Boundary also spends 51 queries per image on a start.
ART's C&W, twenty times as slow as Foolbox's, is left out.

{made}

{table(header, body)}
""",
    )


def main() -> None:
    everything = list(table_rows(False))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=everything, default=everything)
    parser.add_argument("--missing", action="store_true", help="go on: what attacks.json lacks")
    parser.add_argument("--quick", action="store_true", help="try the rows, keep nothing")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    rows = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    for key in arguments.only:
        if arguments.missing and key in rows:
            continue
        # A process per row: what the allocator has learnt from earlier rows changes later ones.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            row = process.submit(measure, key, arguments.quick, arguments.threads).result()
        print(table(["", *[""] * 10], drawn(row)), flush=True)
        if not arguments.quick:
            rows[key] = row
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
            write(rows)


if __name__ == "__main__":
    main()
