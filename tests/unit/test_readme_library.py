"""The library use that the README and the pages on attacks show runs as it stands."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from assay.attacks.pgd import PGD
from assay.attacks.victim import Victim
from assay.evaluation.library import evaluate

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/attacks.md")


class Brightness(nn.Module):
    """Class 1 where an image is brighter than a half, on the whole."""

    def forward(self, images):
        lead = 20 * (images.flatten(1).mean(dim=1) - 0.5)
        return torch.stack([-lead, lead, torch.full_like(lead, -50.0)], dim=1)


def library_lines(page):
    """The block of Python that uses `evaluate`."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if "evaluate(" in block]
    return block


def given():
    """What the lines take for granted: two images close to the boundary and two far from it."""
    levels = torch.tensor([0.45, 0.55, 0.1, 0.9])
    images = levels[:, None, None, None].expand(-1, 1, 6, 6).clone()
    return {"model": Brightness().eval(), "images": images, "labels": torch.tensor([0, 1, 0, 1])}


@pytest.mark.parametrize("page", PAGES)
def test_the_lines_shown_run_as_they_stand_and_find_what_is_there(page, capfd):
    names = given()
    exec(compile(library_lines(page), page, "exec"), names)
    misclassified = names["rows"].groupby(["attack", "epsilon"]).misclassified.mean()
    assert misclassified["clean", 0.0] == 0.0
    for attack in names["attacks"]:
        assert misclassified[attack, 0.03] == 0.0
        assert misclassified[attack, 0.1] == 0.5
    printed = capfd.readouterr()
    assert "pgd_linf" in printed.out
    assert "image" in printed.err


@pytest.mark.parametrize("page", PAGES)
def test_the_library_use_takes_five_lines(page):
    lines = [line for line in library_lines(page).splitlines() if line.strip()]
    assert len(lines) == 5


# --- a defence of one's own ---------------------------------------------------------------------

VIEWS = "docs/attacks/generative.md"
NETWORK = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10)).eval()


class Noisy(nn.Module):
    """Coarse grey levels, whose gradient is zero, of noisy images."""

    def __init__(self):
        super().__init__()
        self.network = NETWORK

    def forward(self, images):
        noisy = images + 0.1 * torch.randn_like(images)
        return self.network((noisy * 15).round() / 15)


def blocks():
    """The page's blocks of Python: a victim of a module with views, and a function."""
    text = (ROOT / VIEWS).read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def views_given():
    images = torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = NETWORK(images).argmax(1)
    attacks = {"pgd": PGD(steps=5)}
    return {"images": images, "labels": labels, "attacks": attacks, "network": NETWORK,
            "torch": torch}  # fmt: skip


def test_the_victim_with_views_works_as_printed_and_finds_what_the_module_hides():
    victim, _ = blocks()
    names = {**views_given(), "defence": Noisy().eval()}
    exec(compile(victim, VIEWS, "exec"), names)
    rows = names["rows"]
    assert rows.attrs["audit"]["stochastic"]
    through_itself = Victim(
        logits=names["defence"], classes=10, shape=(1, 28, 28), device="cpu", stochastic=True
    )
    alone = evaluate(through_itself, names["images"], names["labels"], names["attacks"], [8 / 255])
    misclassified = [frame[frame.attack == "pgd"].misclassified.mean() for frame in (alone, rows)]
    assert misclassified[0] + 0.3 < misclassified[1]
    assert "bpda" in set(rows.view)


def test_the_function_of_images_and_generator_works_as_printed():
    _, function = blocks()
    names = views_given()
    exec(compile(function, VIEWS, "exec"), names)
    victim = Victim(
        logits=names["defence"], classes=10, shape=(1, 28, 28), device="cpu", stochastic=True
    )
    rows = evaluate(victim, names["images"], names["labels"], names["attacks"], [0.1])
    assert rows[rows.attack == "pgd"].misclassified.mean() > 0.9
