"""A small training that has everything that resuming has to bring back, and ways to stop it."""

import multiprocessing
import signal
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from assay.models.base import Classifier
from assay.training.loop import train

SHAPE, CLASSES, TRAIN = (1, 8, 8), 3, 100


def blobs(n: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise with a bright patch whose place is the class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=n)
    images = rng.integers(0, 120, size=(n, *SHAPE), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 3, 2 * label : 2 * label + 3] += 110
    return images, labels


class Small(Classifier):
    """A network with everything that resuming has to bring back: noise, dropout, statistics."""

    stochastic = True

    def __init__(self, **keywords):
        super().__init__(classes=CLASSES, shape=SHAPE, **keywords)
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1),  # its filters lie with their channels innermost
            nn.Flatten(),
            nn.Dropout(0.2),
        )
        self.head = nn.Linear(144, CLASSES)

    def features(self, images):
        return self.body(images)

    def logits(self, images, generator=None):
        features = self.body(images)
        noise = torch.randn(features.shape, generator=generator)
        return self.head(features + 0.1 * noise)


def adam(lr: float, **more) -> dict:
    return {"name": "Adam", "lr": lr, **more}


def small(kind: type[Classifier] = Small) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind()


def run(
    work: Path,
    model: Classifier | None = None,
    *,
    names=("test",),
    every=60.0,
    val=None,
    needs=None,
    **settings,
):
    images, labels = blobs()
    return train(
        model or small(),
        images,
        labels,
        np.arange(TRAIN),
        np.arange(TRAIN, len(labels)) if val is None else val,
        {"epochs": 3, "batch_size": 16, **settings},
        work=work,
        names=names,
        checkpoint_every_s=every,
        needs=needs,
    )


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


def numbers(history):
    return history.drop(columns="seconds")


def steps(folder: Path) -> list[int]:
    return sorted(int(path.stem.split("_")[1]) for path in folder.glob("checkpoint_*.pt"))


def _train(work: Path, threads: int, settings: dict) -> None:
    torch.set_num_threads(threads)
    run(work, every=0, **settings)


def kill_a_training(work: Path, images: int, wait: float = 0.0, **settings) -> None:
    """Runs a training in a process of its own, and kills it after so many images of a work folder.

    Args:
        work: of the training; it may have been killed there before.
        images: the process has to pass so many, counted from the first epoch's first.
        wait: seconds that it goes on for then.
        settings: of the training; it must not have finished.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "pandas"])  # all but the first process start at once
    process = context.Process(target=_train, args=(work, torch.get_num_threads(), settings))
    process.start()
    while max(steps(work), default=0) <= images:
        assert process.is_alive(), f"the training ended with {process.exitcode}"
        time.sleep(0.005)
    time.sleep(wait)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it was killed before it had finished"
    process.close()


class Stop(Exception):
    """Stands for a kill at a chosen moment."""


def stop():
    raise Stop


def stopping_at(step: int, how=stop, kind: type[Classifier] = Small) -> Classifier:
    """A model of a kind during whose `step`-th decision in training `how` is called."""

    class Stopping(kind):
        count = 0

        def training_loss(self, images, labels, generator=None):
            if self.training:
                type(self).count += 1
                if self.count == step:
                    how()
            return super().training_loss(images, labels, generator)

    Stopping.__name__ = kind.__name__  # the same training, hence the same checkpoints
    return small(Stopping)
