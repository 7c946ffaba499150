"""The recipe for one's own data, as config/README.md has it, and the page that it leads to."""

import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from assay.foundation.resources import ROOT

# One process: what they share is a run.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own_data")]

PEOPLE, SHOTS = 5, 3  # of each of two classes: thirty images


def recipe():
    """The files of the recipe: path, then text."""
    page = (ROOT / "config/README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n# (config/\S+\.yaml)\n(.+?)```", page, re.DOTALL)
    return dict(blocks)


def write_images(folder):
    """Thirty grey images: noise, and in the ill a bright square; their patients in a CSV."""
    numbers, rows = np.random.default_rng(0), []
    for name in ("healthy", "ill"):
        (folder / name).mkdir(parents=True)
        for person in range(PEOPLE):
            for shot in range(SHOTS):
                pixels = numbers.integers(0, 120, (40, 36), np.uint8)
                if name == "ill":
                    pixels[10:25, 8:24] += 120
                file = f"{name}/{person}_{shot}.png"
                Image.fromarray(pixels).save(folder / file)
                rows.append({"file": file, "patient": f"{name} {person}"})
    pd.DataFrame(rows).to_csv(folder / "patients.csv", index=False)


@pytest.fixture(scope="module")
def own(tmp_path_factory, copy_project):
    """A copy of the project in which the recipe ran on thirty images."""
    project = copy_project(tmp_path_factory.mktemp("own") / "project")
    for path, text in recipe().items():
        (project.folder / path).write_text(text, encoding="utf-8")
    write_images(project.folder / "my_clinic")
    project.snakemake()
    return project


class Outline(HTMLParser):
    """Headings, anchors, what links to them, and the words of a page."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.ids, self.targets, self.words = [], Counter(), set(), []
        self._open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self._open.append(tag)
        self.ids.update([given["id"]] if "id" in given else [])
        if given.get("href", "").startswith("#"):
            self.targets.add(given["href"][1:])

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if {"style", "script"} & set(self._open):
            return
        self.words.append(data)
        if self._open and re.fullmatch("h[1-3]", self._open[-1]):
            self.headings.append((self._open[-1], data))


def test_the_recipe_is_two_files_and_its_study_is_short():
    files = recipe()
    assert set(files) == {"config/config.yaml", "config/studies/my_clinic.yaml"}
    lines = files["config/studies/my_clinic.yaml"].splitlines()
    assert len(lines) <= 16


def test_a_folder_of_ones_own_images_is_run_and_patients_stay_together(own):
    head = pd.read_csv(own.folder / "report/smoke/my_clinic/headline.csv")
    assert set(head["dataset"]) == {"my_clinic"}
    assert head["pooled"].notna().all()
    leakage = pd.concat(
        map(pd.read_csv, (own.folder / "results/smoke/splits/my_clinic").glob("*.leakage.csv"))
    )
    shared = leakage[leakage["measure"] == "patients"]
    assert {"train-test", "val-test"} <= set(shared["subsets"])
    assert set(shared["images"]) == {0}


def test_the_page_of_a_study_without_a_paper_asks_its_own_question(own):
    page = Outline((own.folder / "report/smoke/index.html").read_text(encoding="utf-8"))
    question = re.search(
        r'^question: "(.+)"$', recipe()["config/studies/my_clinic.yaml"], re.MULTILINE
    )[1]
    text = " ".join(" ".join(page.words).split())
    assert [text for tag, text in page.headings if tag == "h1"] == [question]
    assert text.count(question) == 2  # the window's title, and the heading
    text = text.partition(" Glossary Images and splits ")[0]  # which explains terms of any report
    for claim in ("printed", "the paper", "Reported against reproduced", "Ledger", "substitute"):
        assert claim not in text.replace("data sets of papers", ""), claim
    assert page.targets <= set(page.ids)
    assert max(page.ids.values()) == 1
    assert ("h2", "A discriminative and a generative classifier") in page.headings


def test_nothing_is_left_to_do_until_an_image_changes(own):
    assert own.planned() == {}
    write = own.folder / "my_clinic/ill/another.png"
    Image.new("L", (36, 40), 200).save(write)
    try:
        assert own.planned()["prepare_dataset"] == 1
    finally:
        write.unlink()
