import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pandas as pd
import pytest
import report_factory
from docutils.core import publish_doctree

from assay.analysis.page import TEMPLATES, headline_text, read_markdown_table, render_page
from assay.foundation.errors import AssayError
from assay.foundation.files import read_json, write_json
from assay.plan.targets import ANALYSES

ROOT = Path(__file__).parents[3]
MODELS = ("resnet18_text", "gbz_as_coded")
STUDY = "millner2024"


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the text of the whole."""

    def __init__(self, page):
        super().__init__()
        self.all, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag):
        return [attrs for name, attrs in self.all if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    base = tmp_path_factory.mktemp("report") / report_factory.SCALE
    inputs = report_factory.make_inputs(base.parent / "run", models=MODELS, folds=2, per_fold=12)
    study = report_factory.make_study(inputs)
    report_factory.write_report(base, inputs, study, drawn=False)
    return base, study


@pytest.fixture
def report(run, tmp_path):
    """A copy of the report's files that a test may change."""
    base, study = run
    shutil.copytree(base, tmp_path / report_factory.SCALE)
    return tmp_path / report_factory.SCALE, json.loads(json.dumps(study))


def rendered(base, study):
    render_page(report_factory.SCALE, [study], base / "index.html")
    return (base / "index.html").read_text(encoding="utf-8")


def test_every_table_and_figure_of_the_study_is_on_the_page(run):
    base, study = run
    page = Elements((base / "index.html").read_text(encoding="utf-8"))
    ids = [attrs["id"] for _, attrs in page.all if "id" in attrs]
    assert len(ids) == len(set(ids)), "an id stands twice"
    assert {f"figure-{STUDY}-{name}" for name in study["figures"]} <= set(ids)
    tables = [*study["tables"], "headline", "ledger", "ranking", "mcnemar", "checks"]
    assert {f"table-{STUDY}-{name}" for name in tables} <= set(ids)
    for _, attrs in page.all:
        for reference in attrs.get("aria-labelledby", "").split():
            assert reference in ids
        if attrs.get("href", "").startswith("#"):
            assert attrs["href"][1:] in ids


def test_the_page_is_one_file_and_its_links_lead_to_files_beside_it(run):
    base, _ = run
    text = (base / "index.html").read_text(encoding="utf-8")
    page = Elements(text)
    assert len(text) < 10e6
    assert all(image["src"].startswith("data:") for image in page.of("img"))
    assert not page.of("iframe")
    assert all("src" not in script for script in page.of("script"))
    assert "@import" not in text
    assert not re.search(r"url\(\s*['\"]?(?!data:)", text)
    for link in page.of("a"):
        if not link["href"].startswith("#"):
            assert (base / link["href"]).is_file(), link["href"]


def test_every_written_table_and_figure_is_linked_in_all_its_formats(run):
    base, study = run
    page = Elements((base / "index.html").read_text(encoding="utf-8"))
    linked = {link["href"] for link in page.of("a")}
    tables = [*ANALYSES, *(f"tables/{name}" for name in study["tables"])]
    for table in tables:
        for ending in ("csv", "md", "tex"):
            assert f"{STUDY}/{table}.{ending}" in linked
    for figure in study["figures"]:
        for ending in ("svg", "pdf"):
            assert f"{STUDY}/figures/{figure}.{ending}" in linked
    written = {path.relative_to(base).as_posix() for path in base.rglob("*.*")}
    assert written - linked == {
        "index.html",
        *(f"{STUDY}/figures/{figure}.txt" for figure in study["figures"]),
    }


def test_the_page_says_how_snakemakes_own_report_is_made_instead_of_linking_it(run):
    base, _ = run
    text = (base / "index.html").read_text(encoding="utf-8")
    footer = " ".join(re.search(r"<footer>(.*?)</footer>", text, re.S)[1].split())
    assert f"--report report/{report_factory.SCALE}/report.html" in footer
    assert 'href="report.html"' not in text


def test_every_attack_stands_with_its_needs_its_cost_and_its_source(report):
    base, study = report
    text = rendered(base, study)
    part = text[text.index(f'<table id="{STUDY}-attacks"') :]
    rows = part[: part.index("</table>")].split("<tr>")[2:]
    assert len(rows) == len(study["attacks"])
    for row, (name, entry) in zip(rows, study["attacks"].items(), strict=True):
        cells = [html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        assert cells[1:3] == [entry["norm"], study["access"][name]]
        assert (cells[3] == "0") == (study["access"][name] != "gradients")
        assert cells[5] == entry["source"]


def test_what_made_the_numbers_stands_where_it_says_what_was_run(report):
    base, study = report
    path = base / STUDY / "provenance.json"
    made = read_json(path)
    made["outcomes"] |= {
        "seconds": 9000.0,
        "written": ["2024-05-06T07:08:09Z", "2024-05-08T00:00:00Z"],
    }
    made["outcomes"]["code"]["natural"] = ["c0de", "5ta1e"]
    write_json(path, made)
    text = rendered(base, study)
    part = text[text.index(f'id="{STUDY}-methods"') :]
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())
    files = made["outcomes"]["files"]
    assert f"Outcomes of attacks {files} files 2.5 hours on cpu, 1 thread; seed 0" in words
    assert "written 2024-05-06 to 2024-05-08" in words
    assert "natural c0de, 5ta1e" in words
    assert "assay 0.1.0; Python 3.11.9; numpy 1.0.0; torch 2.0.0" in words
    assert f'href="{STUDY}/provenance.json"' in part


def test_the_headline_shows_the_numbers_of_its_file(run):
    base, study = run
    text = (base / "index.html").read_text(encoding="utf-8")
    headline = pd.read_csv(base / STUDY / "headline.csv")
    assert len(headline) == len(MODELS) * len(study["headline"]["cells"])
    table = re.search(
        rf'<table class="headline" id="table-{STUDY}-headline">.*?</table>', text, re.S
    )
    cells = re.findall(
        r'class="value">([\d.]+)<.*?"interval">\[([\d.]+), ([\d.]+)\]', table[0], re.S
    )
    expected = [
        tuple(f"{value:.3f}" for value in (row.pooled, row.low, row.high))
        for model in MODELS
        for row in headline[headline["model"] == model].itertuples()
    ]
    assert cells == expected


def test_a_headline_cell_that_did_not_run_stays_and_says_so(report):
    base, study = report
    study["headline"]["cells"].append({"attack": "square", "epsilon": 0.03})
    assert rendered(base, study).count(">not run</td>") == len(MODELS)


def test_each_verdict_is_said_in_words_beside_the_classifier(report):
    base, study = report
    path = base / STUDY / "headline.csv"
    headline = pd.read_csv(path)
    headline.loc[headline["model"] == "gbz_as_coded", "verdict"] = "suspect"
    headline.to_csv(path, index=False)
    text = rendered(base, study)
    rows = re.findall(r'<tr class="series".*?</th>', text, re.S)
    words = {"resnet18_text": "sound", "gbz_as_coded": "suspect"}
    for row, (model, verdict) in zip(rows, words.items(), strict=True):
        assert study["titles"]["models"][model] in row
        assert f"</svg>{verdict}</span>" in row
    assert "The evaluation is in doubt for GBZ (as coded) (suspect)" in text


def test_every_row_of_the_ledger_is_there_without_scripts(run):
    base, _ = run
    text = (base / "index.html").read_text(encoding="utf-8")
    ledger = pd.read_csv(base / STUDY / "ledger.csv")
    rows = re.findall(r'<tr data-verdict="([^"]+)">', text)
    assert rows == list(ledger["verdict"])
    counts = ledger["verdict"].value_counts()
    assert f"{counts['reproduced']} are reproduced, {counts['differs']} differ" in text


def test_tables_have_captions_and_scopes_and_figures_have_texts(run):
    base, _ = run
    text = (base / "index.html").read_text(encoding="utf-8")
    page = Elements(text)
    assert len(page.of("caption")) == len(page.of("table"))
    assert all(head.get("scope") in ("col", "row") for head in page.of("th"))
    assert all(image["alt"] for image in page.of("img"))
    assert len(page.of("figcaption")) == len(page.of("figure"))
    assert {"main", "nav", "header", "footer"} <= {tag for tag, _ in page.all}
    assert page.of("html") == [{"lang": "en"}]
    assert len(page.of("h1")) == 1
    assert page.of("a")[0] == {"class": "skip", "href": "#main"}


def test_numbers_stand_with_n_interval_and_seed(run):
    base, study = run
    text = (base / "index.html").read_text(encoding="utf-8")
    for name in study["figures"]:
        words = re.search(rf'id="figure-{STUDY}-{name}-caption">(.*?)</figcaption>', text, re.S)[1]
        assert "n = " in words, name
        assert "seed 0" in words, name


def test_a_test_that_can_find_no_difference_shows_no_number_for_one(report):
    base, study = report
    path = base / STUDY / "statistics/mcnemar.csv"
    pd.read_csv(path).assign(minimum_detectable_difference=float("nan")).to_csv(path, index=False)
    text = rendered(base, study)
    table = re.search(rf'<table id="table-{STUDY}-mcnemar".*?</table>', text, re.S)[0]
    assert "nan" not in html.unescape(re.sub(r"<[^>]+>", " ", table)).split()


def test_stand_ins_are_told_in_the_banner(report):
    base, study = report
    study["titles"]["datasets"]["phantom"] = "Phantom"
    study["stand_ins"] = {"datasets": {"medical_mnist": "phantom", "oct": "digits"}, "models": {}}
    banner = re.search(r'<aside class="scale stand-in".*?</aside>', rendered(base, study), re.S)[0]
    assert "These are not the paper's numbers" in html.unescape(banner)
    assert "phantom stands in for medical_mnist" in banner
    assert "digits" not in banner, "a stand-in that this report does not use"


def test_words_from_files_cannot_become_markup(report):
    base, study = report
    hostile = "<script>alert(1)</script>"
    study["title"] = study["question"] = hostile
    study["titles"]["models"]["gbz_as_coded"] = hostile
    study["figures"]["figure7"]["title"] = f'" onerror="alert(1)" {hostile}'
    (base / STUDY / "figures" / "figure7.txt").write_text(hostile, encoding="utf-8")
    page = Elements(rendered(base, study))
    assert len(page.of("script")) == 1
    assert not [attrs for _, attrs in page.all if "onerror" in attrs]


def test_the_same_files_give_the_same_page(report):
    base, study = report
    assert rendered(base, study) == rendered(base, study)


@pytest.mark.parametrize(
    "name", ["headline.csv", "provenance.json", "tables/table1.md", "figures/figure7.svg"]
)
def test_a_missing_file_is_named_and_no_page_is_written(report, name):
    base, study = report
    (base / "index.html").unlink()
    (base / STUDY / name).unlink()
    with pytest.raises(AssayError, match=f"{STUDY}/{name}"):
        rendered(base, study)
    assert not (base / "index.html").exists()


def test_two_studies_share_a_page(report):
    base, study = report
    other = {**study, "name": "other2024", "title": "Another study"}
    shutil.copytree(base / STUDY, base / "other2024")
    render_page(report_factory.SCALE, [study, other], base / "index.html")
    ids = [
        attrs["id"]
        for _, attrs in Elements((base / "index.html").read_text(encoding="utf-8")).all
        if "id" in attrs
    ]
    assert len(ids) == len(set(ids))
    assert {"millner2024", "other2024", "figure-other2024-figure7"} <= set(ids)


def test_a_markdown_table_keeps_its_pipes_and_its_words():
    names, rows, words = read_markdown_table(
        "| A | B |\n|:--|--:|\n| x \\| y | **1.0** [0.9, 1.0] |\n\nWhat it shows.\nAnd n = 3.\n"
    )
    assert names == ["A", "B"]
    assert rows == [["x | y", "**1.0** [0.9, 1.0]"]]
    assert words == "What it shows. And n = 3."
    with pytest.raises(AssayError, match=r"words\.md: holds no Markdown table"):
        read_markdown_table("only words", where="words.md")


def test_the_terminal_shows_verdicts_accuracies_and_intervals(run):
    base, _ = run
    headline = pd.read_csv(base / STUDY / "headline.csv")
    text = headline_text(headline)
    row = headline[(headline["model"] == "gbz_as_coded") & (headline["attack"] == "fgsm")].iloc[0]
    assert f"{row.pooled:.3f}" in text
    assert f"[{row.low:.3f}, {row.high:.3f}]" in text
    assert "evaluation" in text
    assert row.verdict in text
    gone = headline.drop(row.name)
    assert headline_text(gone).count("not run") == 1


def test_texts_stand_out_from_their_background_in_both_schemes():
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    pairs = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\)", css))
    colours = {name: value.split(", ") for name, value in pairs.items()}
    written = [
        *((ink, back) for ink in ("ink", "soft", "accent") for back in ("page", "card", "sunk")),
        *((kind, f"{kind}-back") for kind in ("good", "warn", "bad", "plain")),
        ("ink", "plain-back"),
        ("page", "ink"),
    ]
    for ink, back in written:
        for scheme in (0, 1):
            contrast = _contrast(colours[ink][scheme], colours[back][scheme])
            assert contrast >= 4.5, (ink, back, scheme, contrast)


def _contrast(one, other):
    lights = sorted(_light(colour) for colour in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _light(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


CAPTIONS = sorted((ROOT / "report").rglob("*.rst"))


def written_caption(path, recipe="elbo"):
    """A caption as Snakemake's report shows it."""
    training = {"entry": {"training": {"recipe": recipe, "batch_size": 50}}}
    job = {
        "wildcards": dict.fromkeys(
            ("study", "scale", "table", "figure", "dataset", "split", "model"), "name"
        ),
        "params": {
            "spec": {"title": "A title", "caption": "What it shows."},
            "seed": 1,
            **training,
        },
        "config": {"scale": "demo", "seed": 1},
    }
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    return environment.from_string(path.read_text(encoding="utf-8")).render(snakemake=job)


@pytest.mark.parametrize("path", CAPTIONS, ids=lambda p: p.stem)
def test_captions_of_the_snakemake_report_are_one_clean_paragraph(path):
    text = written_caption(path)
    tree = publish_doctree(text, settings_overrides={"report_level": 1, "halt_level": 1})
    paragraphs = [node for node in tree.children if node.tagname == "paragraph"]
    assert len(paragraphs) == len(tree.children) == (2 if path.stem == "workflow" else 1)


@pytest.mark.parametrize(
    ("recipe", "unit"), [("elbo", "per full batch of 50 images"), ("standard", "per image")]
)
def test_the_caption_of_a_history_names_the_unit_in_which_its_losses_are_stored(recipe, unit):
    words = " ".join(written_caption(ROOT / "report/captions/history.rst", recipe).split())
    assert f"``train_loss`` and ``val_loss`` are {unit}, as they are minimised" in words
    assert "parts of the loss are means per image" in words
