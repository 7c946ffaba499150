"""Draws the pictures of this folder: real images, what attacks make of them, and the difference.

Attacks and settings are those of ``config/catalogue/attacks.yaml``. Images come from the data
mirror that ``--data`` or the environment variable ``ASSAY_DATA`` names: a radiograph of Medical
MNIST for perturbations that ask no model; for the others one of MNIST's digits and a small network
or, for attacks on generative models, a small GBZ, both trained on the spot. Without a mirror
scikit-learn's digits stand in for MNIST.

    PYTHONPATH=workflow python docs/attacks/pictures.py corruptions
"""

from __future__ import annotations

import argparse
import gzip
import os
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor, nn

from assay.attacks.attack import Attack
from assay.attacks.catalogue import CATALOGUE, make_attack, read_catalogue
from assay.attacks.victim import Victim
from assay.models.gbz import GBZ

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RADIOGRAPH = "resized/CXR/000002.jpeg"
SEVERITIES = (1, 2, 3, 4, 5)
LINF, L2, PIXELS = (0.05, 0.1, 0.2, 0.3), (0.5, 1.0, 1.5, 2.0), (1, 5, 15, 40)
SMALL_LINF, SMALL_L2, NOISE = (0.01, 0.02, 0.05, 0.1), (0.5, 1.0, 2.0, 4.0), (2.0, 4.0, 8.0, 12.0)

# In pixels at 100 per inch.
CELL, GAP, TEXT, NAMES = 112, 6, 18, 165
BROKEN, MUTED = "#b3261e", "#3e4a57"


@dataclass(frozen=True, kw_only=True)
class Family:
    """What a picture shows.

    Attributes:
        epsilons: of catalogue names, as many for each of them.
        victim: ``none``, ``network`` or ``generative``.
        settings: by catalogue name, in place of the catalogue's.
    """

    epsilons: Mapping[str, Sequence[float]]
    victim: str = "network"
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


FAMILIES = {
    "corruptions": Family(
        victim="none",
        epsilons=dict.fromkeys(
            (
                "gaussian_noise_standard",
                "shot_noise",
                "impulse_noise",
                "defocus_blur",
                "motion_blur",
                "brightness_standard",
                "contrast_standard",
                "gamma",
                "jpeg",
                "pixelate",
                "rotation",
                "translation",
            ),
            SEVERITIES,
        ),
    ),
    "fixed_budget": Family(
        epsilons={
            "fgsm": LINF,
            "fgsm_least_likely": LINF,
            "bim": LINF,
            "pgd_linf": LINF,
            "momentum_pgd": LINF,
            "pgd_least_likely": LINF,
            "cw_linf": LINF,
            "apgd_ce_linf": LINF,
            "apgd_t_linf": LINF,
            "pgd_l2": L2,
            "apgd_t_l2": L2,
        }
    ),
    "minimal_norm": Family(
        epsilons={
            "deepfool_linf": LINF,
            "fab_linf": LINF,
            "fab_t_linf": LINF,
            "deepfool_l2": L2,
            "ddn": L2,
            "carlini_wagner_l2": L2,
            "lbfgs": L2,
            "fab_l2": L2,
            "fab_t_l2": L2,
        },
        # Black pixels hardly move in the space of arctanh by the catalogue's rate of 0.01.
        settings={"carlini_wagner_l2": {"rate": 0.1}},
    ),
    "generative": Family(
        victim="generative",
        epsilons={
            "latent_descent_linf": SMALL_LINF,
            "class_margin_pgd": SMALL_LINF,
            "latent_descent_l2": SMALL_L2,
        },
        settings={"class_margin_pgd": {"restarts": 1}},
    ),
    "gradient_free": Family(
        epsilons={
            "square_linf": LINF,
            "nes_pgd_linf": LINF,
            "spsa_pgd_linf": LINF,
            "random_direction_linf": LINF,
            "square_l2": L2,
            "boundary": L2,
            "gaussian_noise_search": NOISE,
            "random_direction_l2": L2,
            "one_pixel": PIXELS,
        },
        # Some queries less than in the catalogue, so that the picture takes minutes.
        settings={
            "square_linf": {"queries": 1000},
            "square_l2": {"queries": 1000},
            "nes_pgd_linf": {"steps": 10},
            "spsa_pgd_linf": {"steps": 10},
            "boundary": {"steps": 2500},
            "one_pixel": {"population": 50, "generations": 20},
        },
    ),
    "ensembles": Family(
        epsilons={
            "autoattack_standard_linf": LINF,
            "autoattack_plus_linf": LINF,
            "autoattack_rand_linf": LINF,
            "autoattack_standard_l2": L2,
        }
    ),
}


def strip(
    victim: Victim,
    images: Tensor,
    labels: Tensor,
    attacks: Mapping[str, Attack],
    epsilons: Sequence[float] | Mapping[str, Sequence[float]],
    path: Path,
    *,
    classes: Sequence[str] = (),
    seed: int = 0,
) -> None:
    """Draws a row per attack: the original, perturbed images, and the last difference, amplified.

    On grey images red is brighter than the original and blue darker; on colour images mid-grey is
    no change. The difference is scaled to fill the range, by the factor written into it.

    Args:
        victim: what is attacked.
        images: (N, C, H, W) in [0, 1], C 1 or 3. Row r shows image r modulo N.
        labels: (N,) true classes.
        attacks: by the name that the row bears.
        epsilons: budgets of all attacks, or of each, the same number of them.
        path: a PNG.
        classes: names; decisions are written below the images, red where they are wrong. Empty:
            nothing is written.
        seed: of every attack.
    """
    budgets = epsilons if isinstance(epsilons, Mapping) else dict.fromkeys(attacks, epsilons)
    rows = [tuple(budgets[name]) for name in attacks]
    headed = [row == 0 or rows[row] != rows[row - 1] for row in range(len(rows))]
    columns = 2 + max(len(budgets[name]) for name in attacks)
    zoom = max(1, round(CELL / max(images.shape[-2:])))
    height, width = (zoom * size for size in images.shape[-2:])
    above = TEXT + 2
    row_height = height + GAP + (above if classes else 0)
    total_width = NAMES + columns * (width + GAP)
    total_height = sum(headed) * above + len(attacks) * row_height
    with mpl.style.context(ROOT / "report" / "assay.mplstyle"):
        figure = plt.figure(figsize=(total_width / 100, total_height / 100), dpi=100)

        def cell(row: int, column: int) -> Axes:
            top = sum(headed[: row + 1]) * above + row * row_height
            place = (NAMES + column * (width + GAP), total_height - top - height, width, height)
            whole = (total_width, total_height, total_width, total_height)
            axes = figure.add_axes([part / all_ for part, all_ in zip(place, whole, strict=True)])
            axes.set_axis_off()
            return axes

        for row, (name, attack) in enumerate(attacks.items()):
            i = row % len(images)
            image, truth = images[i : i + 1], labels[i : i + 1]
            generator = torch.Generator().manual_seed(seed)
            result = attack(victim, image, truth, budgets[name], generator)
            first = cell(row, 0)
            _show(first, image[0])
            label = textwrap.fill(name, 22)
            first.text(-GAP / width, 0.5, label, ha="right", va="center", transform=first.transAxes)
            if classes:
                _below(first, classes[truth[0]])
            if headed[row]:
                _above(first, "original")
            unit = "severity" if attack.norm == "severity" else "ε ="
            for e, epsilon in enumerate(budgets[name]):
                axes = cell(row, e + 1)
                _show(axes, result.images[e, 0])
                if headed[row]:
                    _above(axes, f"{unit} {epsilon:g}")
                if classes:
                    _below(axes, classes[result.prediction[e, 0]], bool(result.misclassified[e, 0]))
            axes = cell(row, columns - 1)
            gain = _difference(axes, result.images[-1, 0] - image[0])
            if headed[row]:
                _above(axes, "difference")
            # On white where it can be read, whatever the picture is like.
            note = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
            axes.text(
                0.97, 0.04, f"× {gain:.2g}", ha="right", transform=axes.transAxes, size=7, bbox=note
            )
        figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})
        plt.close(figure)
    _shrink(path)


def _show(axes: Axes, image: Tensor) -> None:
    axes.imshow(image.permute(1, 2, 0).squeeze(2).numpy(), cmap="gray", vmin=0, vmax=1)


def _difference(axes: Axes, change: Tensor) -> float:
    """Draws a change (C, H, W) times a gain that all but few values fit, and returns the gain."""
    size = change.abs()
    gain = 1 / max(size.quantile(0.99).item(), size.max().item() / 3, 1e-6)
    values = (change * gain).clamp(-1, 1).permute(1, 2, 0).squeeze(2).numpy()
    if change.shape[0] == 1:
        axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    else:
        axes.imshow((values + 1) / 2)
    return gain


def _above(axes: Axes, text: str) -> None:
    axes.text(0.5, 1.03, text, ha="center", va="bottom", transform=axes.transAxes, color=MUTED)


def _below(axes: Axes, text: str, misclassified: bool = False) -> None:
    axes.text(
        0.5,
        -0.03,
        text,
        ha="center",
        va="top",
        transform=axes.transAxes,
        color=BROKEN if misclassified else MUTED,
        weight="bold" if misclassified else "normal",
    )


def _shrink(path: Path) -> None:
    """A palette does for greys and one colour map, in half the bytes.

    Maximum coverage keeps the rare strong colours, which the usual median cut dulls among greys.
    """
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    small.save(path, optimize=True)


def radiograph(mirror: Path) -> Tensor:
    """A chest X-ray of Medical MNIST, (1, 1, 64, 64)."""
    with (
        zipfile.ZipFile(mirror / "medical-mnist.zip") as archive,
        archive.open(RADIOGRAPH) as file,
        Image.open(file) as image,
    ):
        pixels = np.array(image.convert("L"))
    return torch.from_numpy(pixels)[None, None].float() / 255


def digits(mirror: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images (N, 1, 28, 28) of MNIST and labels (N,), by turns."""
    folder = mirror / "mnist"
    if not folder.is_dir():
        from sklearn.datasets import load_digits

        small = load_digits()
        images = F.interpolate(torch.from_numpy(small.images[:, None] / 16).float(), (28, 28))
        labels = torch.from_numpy(small.target)
        return images[:1500], labels[:1500], images[1500:], labels[1500:]
    parts = []
    for stem in ("train", "t10k"):
        images = gzip.decompress((folder / f"{stem}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / f"{stem}-labels-idx1-ubyte.gz").read_bytes())
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:12000]
        parts.append(torch.from_numpy(pixels.copy()).float() / 255)
        parts.append(torch.from_numpy(np.frombuffer(labels, np.uint8, offset=8)[:12000].copy()))
    return parts[0], parts[1].long(), parts[2], parts[3].long()


def small_network(images: Tensor, labels: Tensor, epochs: int = 2) -> nn.Module:
    """A convolutional network for 28 x 28 images after a short training."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def small_generative_model(images: Tensor, labels: Tensor, epochs: int = 4) -> GBZ:
    """A GBZ with q(z|x, y), which decides by Bayes' rule, after a short training."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = GBZ(
        classes=10,
        shape=(1, 28, 28),
        inference="bayes",
        encoder_sees_class=True,
        samples=4,
        class_weight=30.0,
        latent_dim=16,
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            loss = model.training_loss(images[rows], labels[rows], generator)["total"].mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def always_right(shape: tuple[int, int, int]) -> Victim:
    """A victim that calls everything class 0, for perturbations that ask none."""
    return Victim(
        logits=lambda images, generator: torch.tensor([[1.0, 0.0]]).repeat(len(images), 1),
        classes=2,
        shape=shape,
        device="cpu",
    )


def draw(name: str, family: Family, mirror: Path, catalogue: Path, folder: Path) -> None:
    """Draws one family's picture into a folder."""
    entries = read_catalogue(catalogue)
    attacks, budgets = {}, {}
    for key, epsilons in family.epsilons.items():
        entry = entries[key]
        entry["settings"] = {**(entry["settings"] or {}), **family.settings.get(key, {})}
        # Where the levels of a corruption are from stands in the text.
        title = entry["title"].partition(", CIFAR")[0]
        attacks[title], budgets[title] = make_attack(entry), epsilons
    path = folder / f"{name}.png"
    if family.victim == "none":
        image = radiograph(mirror)
        victim = always_right(tuple(image.shape[1:]))
        strip(victim, image, torch.zeros(1, dtype=torch.long), attacks, budgets, path)
        return
    x, y, test_x, test_y = digits(mirror)
    if family.victim == "generative":
        victim = small_generative_model(x, y).victim()
    else:
        victim = Victim.from_module(small_network(x, y), classes=10, shape=(1, 28, 28))
    said = victim.logits(test_x[:100], torch.Generator().manual_seed(0)).argmax(dim=1)
    shown = (said == test_y[:100]).nonzero()[0]
    names = [str(digit) for digit in range(10)]
    strip(victim, test_x[shown], test_y[shown], attacks, budgets, path, classes=names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("families", nargs="*", default=list(FAMILIES), help=", ".join(FAMILIES))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ASSAY_DATA", ".")))
    parser.add_argument("--catalogue", type=Path, default=CATALOGUE)
    parser.add_argument("--out", type=Path, default=HERE)
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.families) - set(FAMILIES))
    if unknown:
        parser.error(f"no family '{unknown[0]}'; known are {', '.join(FAMILIES)}")
    for name in arguments.families:
        draw(name, FAMILIES[name], arguments.data, arguments.catalogue, arguments.out)


if __name__ == "__main__":
    main()
