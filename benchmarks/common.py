"""Shared functions of the benchmarks: interleaved timing, MNIST, sections of the README."""

from __future__ import annotations

import gc
import gzip
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import torch

README = Path(__file__).with_name("README.md")
MEBIBYTE = 2**20


def interleaved(
    baselines: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of each run, one value per round.

    Every round contains all runs, and their order rotates. A change in the speed of the machine
    then affects all runs alike.
    """
    names = list(baselines)
    if warm_up:
        for name in names:
            baselines[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.perf_counter()
            baselines[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The ratio of two runs within a round: the median over rounds."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """``megabytes``: the largest growth of the process in MiB, sampled 100 times per second."""
    gc.collect()
    process, done, memory = psutil.Process(), threading.Event(), {}
    before = process.memory_info().rss

    def watch() -> None:
        highest = before
        while not done.wait(0.01):
            highest = max(highest, process.memory_info().rss)
        memory["megabytes"] = (highest - before) / MEBIBYTE

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        done.set()
        watcher.join()


def machine() -> str:
    """One line: the threads, the processor and the versions used for a measurement."""
    return (
        f"{torch.get_num_threads()} CPU threads ({platform.machine()}), "
        f"Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}"
    )


def mnist(part: str = "train") -> tuple[np.ndarray, np.ndarray] | None:
    """MNIST from the mirror that ``ASSAY_DATA`` names: images (N, 1, 28, 28) uint8 and labels.

    None without a mirror.
    """
    folder = Path(os.environ.get("ASSAY_DATA", "")) / "mnist"
    stem = {"train": "train", "test": "t10k"}[part]
    if not folder.is_dir():
        return None
    with gzip.open(folder / f"{stem}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{stem}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    return images, labels


def write_section(marker: str, markdown: str) -> None:
    """Writes a section between ``<!-- marker -->`` and ``<!-- /marker -->`` of the README."""
    opening, closing = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    text = README.read_text("utf-8") if README.exists() else "# Benchmarks\n"
    section = f"{opening}\n{markdown.strip()}\n{closing}"
    before, found, rest = text.partition(opening)
    if found:
        text = before + section + rest.partition(closing)[2]
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    README.write_text(text, "utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
