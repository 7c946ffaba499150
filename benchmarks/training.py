"""The training loop against the bare passes and against the usual ImageFolder loop, in one run.

Real Medical MNIST files are read from the mirror that the environment variable ASSAY_DATA names.
Without a mirror, the synthetic phantom, saved as JPEG, is the substitute.

    PYTHONPATH=workflow python benchmarks/training.py [--rounds 5] [--images 768] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import interleaved, machine, ratio, table, write_section
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Grayscale, ToTensor

from assay.data.dataset import load
from assay.data.prepare import prepare
from assay.models.base import Classifier, build
from assay.plan.configuration import read_configuration
from assay.training.loop import train
from assay.training.objective import make_objective
from assay.training.optimisation import optimiser

ARCHIVE = "medical-mnist.zip"
# And how many times --images an epoch of it has.
NETWORKS = {"resnet18": 1, "gbz": 3, "resnet20": 0.5, "resnet20_adv": 0.25}


def catalogue(name: str) -> dict:
    return read_configuration({"scale": "paper"}).unscaled[name]


def extract(folder: Path, count: int) -> str:
    """Writes `count` JPEG files, `<class>/<file>`, below `folder`. Returns a name for them."""
    archive = Path(os.environ.get("ASSAY_DATA", "")) / ARCHIVE
    if archive.is_file():
        with zipfile.ZipFile(archive) as files:
            names = sorted(name for name in files.namelist() if name.endswith(".jpeg"))
            for name in names[:: len(names) // count][:count]:
                target = folder / Path(name).parent.name / Path(name).name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(files.read(name))
        return "Medical MNIST (64×64 JPEG)"
    with tempfile.TemporaryDirectory() as place:
        prepare(
            "phantom",
            catalogue("datasets")["phantom"],
            Path(place, "phantom"),
            mirror=None,
            cache=Path(place, "cache"),
            seed=0,
        )
        data = load(Path(place, "phantom"))
        for index in range(count):
            source = index % len(data.labels)
            target = folder / data.classes[data.labels[source]] / f"{index}.jpeg"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(data.images[source, 0])).save(target)
    return "the synthetic phantom (64×64 JPEG)"


def decoded(folder: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """All files below `folder` as (N, 1, H, W) uint8, their labels, and the number of classes."""
    files = ImageFolder(str(folder))
    images = [np.asarray(Image.open(path).convert("L"))[None] for path, _ in files.samples]
    return np.stack(images), np.array(files.targets), len(files.classes)


class Race:
    """One network, trained for an epoch by three loops, without validation."""

    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder
        self.entry = catalogue("models")[name]
        self.training = self.entry["training"]
        self.images, self.labels, self.classes = decoded(folder)
        self.epoch_seconds: list[float] = []

    def model(self) -> Classifier:
        return build(self.name, self.entry, classes=self.classes, shape=self.images.shape[1:])

    def optimised(self) -> tuple[Classifier, torch.optim.Optimizer]:
        model = self.model().train()
        return model, optimiser(list(model.parameters()), self.training["optimizer"])

    def join(self, parts: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss of a batch, as the entry's objective minimises it."""
        adversary = self.training["adversary"]
        summed = make_objective(self.training["objective"], adversary).loss_is_a_sum
        return parts["total"].sum() if summed else parts["total"].mean()

    def bare(self) -> Callable[[], None]:
        """Forward, backward and update on float tensors in memory, batch by batch."""
        size, join = self.training["batch_size"], self.join
        batches = [
            (
                torch.from_numpy(self.images[start : start + size]).float() / 255,
                torch.from_numpy(self.labels[start : start + size]),
            )
            for start in range(0, len(self.labels), size)
        ]
        model, optimised = self.optimised()
        generator = torch.Generator().manual_seed(0)

        def epoch() -> None:
            for images, labels in batches:
                loss = join(model.training_loss(images, labels, generator))
                optimised.zero_grad(set_to_none=True)
                loss.backward()
                optimised.step()

        return epoch

    def assay(self) -> Callable[[], None]:
        """An epoch of `train`: shuffled bytes, bookkeeping. Its own record of seconds is kept."""
        settings = {**self.training, "epochs": 1}
        everything = np.arange(len(self.labels))

        def epoch() -> None:
            with tempfile.TemporaryDirectory() as work:
                result = train(
                    self.model(),
                    self.images,
                    self.labels,
                    everything,
                    everything[:0],
                    settings,
                    work=Path(work),
                    names=("benchmark", self.name),
                )
            self.epoch_seconds.append(result.history["seconds"].item())

        return epoch

    def image_folder(self) -> Callable[[], None]:
        """The usual loop: two workers decode all files each epoch, and each step reads the loss."""
        files = ImageFolder(str(self.folder), transform=Compose([Grayscale(), ToTensor()]))
        loader = DataLoader(
            files, batch_size=self.training["batch_size"], shuffle=True, num_workers=2
        )
        model, optimised = self.optimised()
        join, generator = self.join, torch.Generator().manual_seed(0)

        def epoch() -> None:
            total, right = 0.0, 0.0
            for images, labels in loader:
                parts = model.training_loss(images, labels, generator)
                loss = join(parts)
                optimised.zero_grad()
                loss.backward()
                optimised.step()
                total += loss.item()
                right += parts["accuracy"].sum().item()

        return epoch

    def run(self, rounds: int) -> list[list[str]]:
        """Rows of the table. Adversarial training is compared with equally many bare steps."""
        steps = 1 + (self.training.get("adversary") or {}).get("steps", 0)
        loops = {"bare": self.bare(), "assay": self.assay(), "folder": self.image_folder()}
        if steps > 1:
            del loops["folder"]
        seconds = interleaved(loops, rounds)
        # The epoch alone, as history.csv has it: building the network, and the checkpoint, which
        # is due once a minute whatever an epoch takes, are reported apart.
        seconds["assay"] = self.epoch_seconds[-rounds:]
        titles = {
            "bare": "bare forward + backward + update",
            "assay": "assay, an epoch" + (f" ({steps - 1} inner steps)" if steps > 1 else ""),
            "folder": "ImageFolder + DataLoader(num_workers=2)",
        }
        return [
            [
                self.entry["title"] if key == "bare" else "",
                title,
                f"{len(self.labels) / statistics.median(seconds[key]):.0f}",
                f"{ratio(seconds[key], seconds['bare']) / (steps if key == 'assay' else 1):.2f}"
                + (f" (/ {steps})" if key == "assay" and steps > 1 else ""),
            ]
            for key, title in titles.items()
            if key in seconds
        ]

    def checkpoint_seconds(self) -> float:
        """Seconds of a run on two images without its step: mostly those of one checkpoint."""
        with tempfile.TemporaryDirectory() as work:
            start = time.perf_counter()
            result = train(
                self.model(),
                self.images,
                self.labels,
                [0, 1],
                [],
                {**self.training, "epochs": 1},
                work=Path(work),
                names=("benchmark",),
            )
            return time.perf_counter() - start - result.history["seconds"].item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=768)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows, checkpoints = [], []
    for name, share in NETWORKS.items():
        with tempfile.TemporaryDirectory() as place:
            what = extract(Path(place), int(share * arguments.images))
            race = Race(name, Path(place))
            rows += race.run(arguments.rounds)
            checkpoints.append(f"{race.entry['title']} {race.checkpoint_seconds():.1f} s")
    write_section(
        "training",
        f"""
## Training

{what}, {arguments.images} images an epoch (ResNet18; GBZ three times,
ResNet-20 half, adversarial training a quarter as many), batches of 64 (ResNet-20: 32), no
validation; {machine()}.
The loops ran interleaved, {arguments.rounds} rounds. Images/s is the median, the ratio is the
median of the ratios per round. The ratio of adversarial training is divided by its number of inner
steps plus one. The bare passes and the usual loop keep the memory layout of torch. assay stores
channels last. A checkpoint is due once a minute. Building the network and writing one takes
{", ".join(checkpoints)}.

{table(["network", "loop", "images/s", "time / bare"], rows)}
""",
    )


if __name__ == "__main__":
    main()
