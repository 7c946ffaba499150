"""assay's attacks against public libraries: equal budgets, one run, libraries interleaved.

A separate process per library measures its passes, its memory and its misclassified images. Then
all libraries of a row run in turn in one process, together with bare passes through the same
network. They run under both accountings (see `accounting`), with one thread and with two.

attacks.json keeps the measured rows. `--only` measures some rows again. `--draw` measures nothing.
The section of the README is written from the rows in attacks.json. MNIST is read from the mirror
that the environment variable ASSAY_DATA names. Without a mirror, scikit-learn's digits are the
substitute.

    PYTHONPATH=workflow python benchmarks/attacks.py [--only pgd_linf_128 ddn] [--threads 1 2]
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from accounting import AS_CALLED, OURS, SAME_WORK, accounts, timed
from adapters import versions
from common import machine, peak_memory, table
from contenders import Row, table_rows
from safetensors.torch import load_file, save_file
from speed_table import drawn, write
from torch import Tensor, nn
from victims import BATCH, SmallCNN, images_and_labels, trained

from assay.attacks.losses import cross_entropy
from assay.attacks.victim import Victim

RESULTS = Path(__file__).with_name("attacks.json")
NETWORKS = {"standard": {"epochs": 2}, "robust": {"epochs": 5, "epsilon": 0.35}}
# A library so many times slower than the fastest one, alone in its process, is not timed again.
HOPELESS = 4
# Passes of a full batch per bare measurement, at most; never more than the attack makes, since the
# first one after another baseline is slower than the next.
BARE = 8


class Contest:
    """A row with its network, its images and the runs of all libraries.

    Args:
        row: the comparison.
        quick: whether to test the rows with a small network after one epoch.
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
        rivals = row.rivals(self.module)
        self.runs = accounts(
            row.attack, self.victim, self.module, rivals, self.images, self.labels, row.radius
        )
        self.victim.forwards = 0

    def profile(self, name: str) -> dict:
        """One run of the same work: passes, memory and success. An error is also a result."""
        try:
            with counted(self.module) as passes, peak_memory() as memory:
                began = time.perf_counter()
                found = self.runs[SAME_WORK][name](self.images, self.labels)
                seconds = time.perf_counter() - began
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        if name == OURS:
            passes = {"forwards": self.victim.forwards, "backwards": self.victim.backwards}
        change = (found - self.images).flatten(1)
        length = change.abs().amax(dim=1) if self.row.norm == "linf" else change.norm(dim=1)
        with torch.inference_mode():
            misclassified = self.module(found).argmax(dim=1) != self.labels
            misclassified = misclassified & (length <= self.row.radius + 1e-5)
        reached = length.masked_fill(~misclassified, torch.inf).median()
        return {
            **passes,
            **memory,
            "seconds": seconds,
            "misclassified": int(misclassified.sum()),
            "median": float(reached) if reached.isfinite() else None,
        }

    def seconds(self, names: list[str], passes: int, rounds: int) -> dict[str, dict]:
        """Seconds per round, under both accountings and of bare passes: see `accounting.timed`."""
        bare = self._bare(passes)
        return timed(self.runs, names, bare, self.images, self.labels, rounds)

    def _bare(self, passes: int) -> dict[str, Callable[[], None]]:
        """`passes` passes of a batch of this row's images through the victim's own view."""
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
    """A trained network. A file keeps it for the other processes and for the next run."""
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
    """Counts images in forward and backward passes of `model`. Libraries may call single layers."""
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
    """Passes, memory and success of one library. Each call runs in a separate process."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    return Contest(table_rows(quick)[key], quick).profile(name)


def measure(key: str, quick: bool, threads: int) -> dict:
    """A row of attacks.json with the runs of one number of threads."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    contest = Contest(table_rows(quick)[key], quick)
    row = contest.row
    spawn = multiprocessing.get_context("spawn")
    profiles = {}
    for name in contest.runs[SAME_WORK]:
        with spawn.Pool(1) as pool:
            profiles[name] = pool.apply(profile, (key, name, quick, threads))
    alone = {name: found["seconds"] for name, found in profiles.items() if "error" not in found}
    fastest = min((seconds for name, seconds in alone.items() if name != OURS), default=0.0)
    names = [name for name in alone if name == OURS or alone[name] <= HOPELESS * fastest]
    batch = min(contest.victim.max_batch, len(contest.images))
    # Half of what the attack spends at most: its own first pass is no more expensive, then.
    passes = min(BARE, max(1, profiles[OURS]["forwards"] // (2 * batch)))
    load = os.getloadavg()[0]
    return {
        "title": row.title,
        "network": row.network,
        "source": contest.source,
        "epsilon": row.epsilon,
        "images": len(contest.images),
        "bar": row.bar,
        "floor": row.floor,
        "profiles": profiles,
        "runs": {
            str(threads): {
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "machine": machine(),
                "libraries": versions(),
                "cores": os.cpu_count(),
                "load": round(load, 1),
                "bare_images": passes * batch,
                **contest.seconds(names, passes, row.rounds),
            }
        },
    }


def main() -> None:
    everything = list(table_rows(False))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=everything, default=everything)
    parser.add_argument(
        "--missing", action="store_true", help="measure only what attacks.json lacks"
    )
    parser.add_argument("--quick", action="store_true", help="test the rows, keep nothing")
    parser.add_argument("--draw", action="store_true", help="measure nothing, write the table")
    parser.add_argument("--threads", type=int, nargs="+", choices=(1, 2), default=[1, 2])
    arguments = parser.parse_args()
    rows = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    if arguments.draw:
        write(rows)
        return
    for key in arguments.only:
        for threads in arguments.threads:
            before = rows.get(key, {}).get("runs", {})
            if arguments.missing and AS_CALLED in before.get(str(threads), {}):
                continue
            # A process per row: what the allocator has learnt from earlier rows changes later ones.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                row = process.submit(measure, key, arguments.quick, threads).result()
            print(table(["", *[""] * 12], drawn(row, list(row["profiles"])[1:])), flush=True)
            if not arguments.quick:
                # Of another day only what was measured under both accountings stands beside it.
                kept = {name: run for name, run in before.items() if AS_CALLED in run}
                rows[key] = {**row, "runs": {**kept, **row["runs"]}}
                RESULTS.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
                write(rows)


if __name__ == "__main__":
    main()
