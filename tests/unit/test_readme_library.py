"""The library use that the README and the page on attacks show runs as it stands."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

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
    broken = names["rows"].groupby(["attack", "epsilon"]).broken.mean()
    assert broken["clean", 0.0] == 0.0
    for attack in names["attacks"]:
        assert broken[attack, 0.03] == 0.0
        assert broken[attack, 0.1] == 0.5
    printed = capfd.readouterr()
    assert "pgd_linf" in printed.out
    assert "image" in printed.err


@pytest.mark.parametrize("page", PAGES)
def test_the_library_use_takes_five_lines(page):
    lines = [line for line in library_lines(page).splitlines() if line.strip()]
    assert len(lines) == 5
