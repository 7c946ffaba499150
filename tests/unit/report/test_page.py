import copy
import html
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pandas as pd
import pytest
import report_factory
from docutils.core import publish_doctree

from assay.analysis.attack_set import AttackSet, read_table
from assay.analysis.ledger import VERDICTS
from assay.analysis.titles import NORMS
from assay.foundation.errors import AssayError
from assay.foundation.files import read_json, write_json
from assay.plan.paths import ANALYSES
from assay.report.page import TEMPLATES, headline_text, render_page
from assay.report.page_methods import ACCESS
from assay.report.tables.cells import cells_in

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
def run(small_run, tmp_path_factory):
    base = tmp_path_factory.mktemp("report") / report_factory.SCALE
    study = report_factory.make_study(small_run)
    report_factory.write_report(base, small_run, study, drawn=False)
    return base, study


@pytest.fixture
def report(run, tmp_path):
    """A copy of the report's files that a test may change."""
    base, study = run
    shutil.copytree(base, tmp_path / report_factory.SCALE)
    return tmp_path / report_factory.SCALE, copy.deepcopy(study)


def rendered(base, study):
    render_page(report_factory.SCALE, [study], base / "index.html")
    return (base / "index.html").read_text(encoding="utf-8")


def test_every_table_and_figure_of_the_study_is_on_the_page(run):
    base, study = run
    page = Elements((base / "index.html").read_text(encoding="utf-8"))
    ids = [attrs["id"] for _, attrs in page.all if "id" in attrs]
    assert len(ids) == len(set(ids)), "an id stands twice"
    assert {f"figure-{STUDY}-{name}" for name in study.figures} <= set(ids)
    tables = [*study.tables, "headline", "ledger", "ranking", "mcnemar", "checks"]
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
    tables = [*ANALYSES, *(f"tables/{name}" for name in study.tables)]
    for table in tables:
        for ending in ("csv", "md", "tex"):
            assert f"{STUDY}/{table}.{ending}" in linked
    for figure in study.figures:
        for ending in ("svg", "pdf"):
            assert f"{STUDY}/figures/{figure}.{ending}" in linked
    written = {path.relative_to(base).as_posix() for path in base.rglob("*.*")}
    assert written - linked == {
        "index.html",
        *(f"{STUDY}/figures/{figure}.txt" for figure in study.figures),
        *(f"{STUDY}/{table}.json" for table in tables),
    }


def test_what_a_report_is_rendered_from_is_linked_where_it_lies_beside_it(report):
    base, study = report
    kept = {"outcomes.parquet", "records.json", "measurements.npz"}
    assert not any(name in rendered(base, study) for name in kept)
    for name in kept:
        (base / STUDY / name).write_bytes(b"")
    links = {link["href"] for link in Elements(rendered(base, study)).of("a")}
    assert {f"{STUDY}/{name}" for name in kept} <= links


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
    cell = r"<t[hd][^>]*>(.*?)</t[hd]>"
    rows = part[: part.index("</table>")].split("<tr>")[2:]
    assert len(rows) == len(study.attacks)
    for row, (name, entry) in zip(rows, study.attacks.items(), strict=True):
        cells = [html.unescape(found) for found in re.findall(cell, row)]
        assert cells[1:3] == [NORMS[entry["norm"]], ACCESS[study.access[name]]]
        assert (cells[3] == "0") == (study.access[name] != "white_box")
        assert cells[5] == entry["source"]


def test_what_made_the_numbers_stands_where_it_says_what_was_run(report):
    base, study = report
    path = base / STUDY / "provenance.json"
    made = read_json(path)
    made["outcomes"] |= {
        "seconds": 9000.0,
        "written": ["2024-05-06T07:08:09Z", "2024-05-08T00:00:00Z"],
    }
    made["outcomes"]["code"]["corruptions"] = ["c0de", "5ta1e"]
    study.titles["suites"]["corruptions"] = "Common corruptions"
    write_json(path, made)
    text = rendered(base, study)
    part = text[text.index(f'id="{STUDY}-methods"') :]
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())
    files = made["outcomes"]["files"]
    assert f"Outcomes of attacks {files} files 2.5 hours on cpu, 1 thread; seed 0" in words
    assert "written 2024-05-06 to 2024-05-08" in words
    assert "Common corruptions c0de, 5ta1e" in words
    assert "assay 0.1.0; Python 3.11.9; numpy 1.0.0; torch 2.0.0" in words
    assert f'href="{STUDY}/provenance.json"' in part


def test_a_model_that_decides_with_another_one_names_it(report):
    base, study = report
    wrapper, wrapped = list(study.models)[:2]
    study.models[wrapper]["needs"] = {"base": wrapped}
    words = html.unescape(rendered(base, study))
    title = study.titles["models"][wrapped]
    assert words.count(f"Built on: {title}, whose trained network it decides with") == 1


def table_of(text, name):
    """The HTML of a table of the study."""
    return re.search(rf'<table [^>]*id="table-{STUDY}-{name}".*?</table>', text, re.S)[0]


def rows_of(text, name):
    """The texts of a table's rows, head included, and the values that they are sorted by."""
    rows = re.findall(r"<tr.*?</tr>", table_of(text, name), re.S)
    cells = [re.findall(r"<t[hd]([^>]*)>(.*?)</t[hd]>", row, re.S) for row in rows]
    texts = [
        [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", words)).split()) for _, words in row]
        for row in cells
    ]
    found = [[re.search(r'data-value="([^"]*)"', marks) for marks, _ in row] for row in cells]
    return texts, [[value and value[1] for value in row] for row in found]


def test_the_headline_shows_the_numbers_of_its_file(run):
    base, study = run
    text = (base / "index.html").read_text(encoding="utf-8")
    headline = read_table(base / STUDY / "headline.csv")
    asked = {(AttackSet.of(cell), cell["epsilon"]) for cell in study.headline.cells}
    shown = set(cells_in(headline))
    assert asked < shown
    assert {found.item["norm"] for found, _ in shown - asked} == {"linf", "l0"}
    assert len(headline) == len(MODELS) * len(shown)
    cells = re.findall(
        r'class="value[ a-z]*">([\d.]+)<.*?"interval">\[([\d.]+), ([\d.]+)\]',
        table_of(text, "headline"),
        re.S,
    )
    expected = [
        tuple(f"{value:.3f}" for value in (row.pooled, row.low, row.high))
        for model in MODELS
        for row in headline[headline["model"] == model].itertuples()
    ]
    assert cells == expected


def test_a_headline_column_says_its_number_of_images_once(run):
    base, _ = run
    rows, _ = rows_of((base / "index.html").read_text(encoding="utf-8"), "headline")
    assert all(column.count("n = ") == 1 for column in rows[0][1:])


def test_a_headline_cell_that_did_not_run_stays_and_says_so(report):
    base, study = report
    cells = (*study.headline.cells, {"attack": "square", "epsilon": 0.03})
    study = replace(study, headline=replace(study.headline, cells=cells))
    assert rendered(base, study).count(">not run</td>") == len(MODELS)


def test_each_norm_has_a_verdict_of_its_own_in_words_beside_the_classifier(report):
    base, study = report
    path = base / STUDY / "headline.csv"
    headline = pd.read_csv(path)
    headline["verdict"] = "sound"
    gbz = headline["model"] == "gbz_as_coded"
    headline.loc[gbz & (headline["norm"] == "linf"), "verdict"] = "suspect"
    headline.loc[gbz & (headline["norm"] == "severity"), "verdict"] = "under-powered"
    headline.to_csv(path, index=False)
    checks = pd.read_csv(base / STUDY / "checks.csv")
    checks.drop(columns="norm", errors="ignore").to_csv(base / STUDY / "checks.csv", index=False)
    text = rendered(base, study)
    rows = [row[0] for row in rows_of(text, "headline")[0][1:]]
    assert rows == [
        f"{study.titles['models']['resnet18_text']} , evaluation: sound "
        "clean, L∞, pixels, corruptions",
        f"{study.titles['models']['gbz_as_coded']} , evaluation: sound clean, pixels "
        ", evaluation: under-powered corruptions , evaluation: suspect L∞",
    ]
    card = rows_of(text, "verdicts")[0]
    assert card[0] == ["Classifier", "clean", "L∞", "pixels", "corruptions"]
    assert [cell.split()[0] for cell in card[2][1:]] == [
        "sound",
        "suspect",
        "sound",
        "under-powered",
    ]
    title = study.titles["models"]["gbz_as_coded"]
    expected = "(classifier and norm), 6 are sound, 1 is under-powered and 1 is suspect"
    doubts = f"under-powered: {title} (corruptions); suspect: {title} (L∞)"
    sentence = f"Of 8 evaluations {expected} ({doubts}); see the checks."
    assert sentence in "".join(Elements(text).text)


def test_the_card_follows_the_rule_of_the_checks_where_these_know_norms(report, monkeypatch):
    base, study = report
    path = base / STUDY / "checks.csv"
    checks = pd.read_csv(path).assign(norm="l2")
    checks.to_csv(path, index=False)
    asked = []

    def verdict(frame):
        asked.append(set(frame["norm"]))
        cell = {"dataset": "medical_mnist", "scheme": "kfold", "model": "gbz_as_coded"}
        return pd.DataFrame(
            [
                {
                    **cell,
                    "norm": "l2",
                    "verdict": "broken",
                    "because": "D02 radii, D17 monotone",
                }
            ]
        )

    monkeypatch.setattr("assay.analysis.checks.verdict", verdict)
    card, values = rows_of(rendered(base, study), "verdicts")
    assert card[0] == ["Classifier", "L2"]
    assert card[1:] == [[study.titles["models"]["gbz_as_coded"], "broken D02 radii, D17 monotone"]]
    assert values[1][1] == "3"
    assert asked[0] == {"l2"}
    checks, _ = rows_of(rendered(base, study), "checks")
    assert checks[0] == ["Classifier", "Norm", "Status", "Check", "Finding"]
    assert {row[1] for row in checks[1:]} == {"L2"}


def test_every_verdict_and_status_has_a_mark_of_its_own_and_is_explained(report):
    base, study = report
    path = base / STUDY / "checks.csv"
    checks = pd.read_csv(path)
    checks["status"] = ["weak", *["pass"] * (len(checks) - 1)]
    checks.to_csv(path, index=False)
    text = rendered(base, study)
    key = re.search(rf'id="table-{STUDY}-verdicts".*?<ul class="key">(.*?)</ul>', text, re.S)[1]
    marks = dict(re.findall(r'class="badge ([a-z-]+)"><svg[^>]*>(.*?)</svg>', key))
    assert list(marks) == ["sound", "under-powered", "suspect", "broken"]
    assert len(set(marks.values())) == 4
    assert "the scale or the attack's budget is too small" in html.unescape(key)
    weak = re.search(r'class="badge weak"><svg[^>]*>(.*?)</svg>weak', text)
    assert weak[1] == marks["under-powered"]
    assert f"{(checks['status'] == 'weak').sum()} weak" in text


def test_rankings_and_tests_name_the_split_of_each_row_and_put_the_pool_first(report):
    base, study = report
    for name in ("ranking", "mcnemar"):
        path = base / STUDY / f"statistics/{name}.csv"
        pooled = pd.read_csv(path)
        single = [pooled.assign(split=f"kfold_{index}") for index in (1, 0)]
        pd.concat([*single, pooled]).to_csv(path, index=False)
    text = rendered(base, study)
    for name in ("ranking", "mcnemar"):
        rows, values = rows_of(text, name)
        at = rows[0].index("Split")
        splits = [row[at] for row in rows[1:]]
        count = len(splits) // 3
        assert count > 1
        assert splits == ["pooled"] * count + ["split 1"] * count + ["split 2"] * count
        assert [value[at] for value in values[1:]] == [
            str(number) for number in (0, 1, 2) for _ in range(count)
        ]


def test_one_pool_of_splits_needs_no_column_for_it(run):
    base, _ = run
    text = (base / "index.html").read_text(encoding="utf-8")
    assert "Split" not in rows_of(text, "mcnemar")[0][0]


def test_numbers_sort_by_the_value_of_the_file_and_not_by_their_text(report):
    base, study = report
    path = base / STUDY / "statistics/mcnemar.csv"
    tests = pd.read_csv(path)
    tests["exact_p"] = 3e-7
    tests["difference"] = -0.25
    tests["minimum_detectable_difference"] = float("nan")
    tests.to_csv(path, index=False)
    rows, values = rows_of(rendered(base, study), "mcnemar")
    at = {name: rows[0].index(name) for name in rows[0]}
    assert rows[1][at["Exact p"]] == "< 0.001"
    assert float(values[1][at["Exact p"]]) == 3e-7
    assert rows[1][at["Difference"]] == "−0.250"
    assert float(values[1][at["Difference"]]) == -0.25
    assert values[1][at["Smallest detectable"]] == ""
    assert values[1][at["Attack"]] is None


def test_every_number_in_every_table_carries_its_value(run):
    base, study = run
    text = (base / "index.html").read_text(encoding="utf-8")
    ids = re.findall(rf'<table [^>]*id="table-{STUDY}-([\w-]+)"', text)
    assert {*study.tables, "headline", "ranking", "mcnemar", "checks", "verdicts"} <= set(ids)
    number = re.compile(r"[-−+<\s]*\d[\d.,]*(?:e-?\d+)?(?:\s*±\s*[\d.]+)?(?:\s*\[[^\]]*\])?%?")
    counted = 0
    for name in ids:
        for texts, values in zip(*rows_of(text, name), strict=True):
            for cell, value in zip(texts, values, strict=True):
                if number.fullmatch(cell):
                    counted += 1
                    assert value not in (None, ""), (name, cell)
                    float(value)
                # A verdict is no number that is missing.
                if cell in ("not run", "–") and name != "ledger":
                    assert value == "", (name, cell)
    assert counted > 100


def test_a_cell_that_was_not_run_turns_no_column_of_numbers(report):
    base, study = report
    path = base / STUDY / "tables/table1.json"
    stored = read_json(path)
    stored["rows"][0][1] = "not run"
    write_json(path, stored)
    table = table_of(rendered(base, study), "table1")
    assert '<td class="number" data-value="">not run</td>' in table
    columns = len(re.findall(r"<th scope=\"col\"", table))
    assert table.count('<th scope="col" class="number">') == columns - 1


def family(base, name, columns):
    """Puts the tests of one attack into the headline's family and the others into none of it."""
    path = base / STUDY / f"statistics/{name}.csv"
    tests = pd.read_csv(base / STUDY / "statistics/mcnemar.csv")
    first = (tests["attack"] == "pgd_linf") & (tests["epsilon"] == 0.1)
    assert 0 < first.sum() < len(tests)
    tests["family"] = first.map({True: "headline", False: "exploratory"})
    tests["holm_p"] = tests["exact_p"].where(first)
    tests["q"] = (tests["exact_p"] / 2).where(~first)
    tests = tests.assign(**columns)
    tests.to_csv(path, index=False)
    return tests


def test_tests_of_the_headlines_family_come_first_and_the_others_are_folded(report):
    base, study = report
    family(base, "mcnemar", {})
    text = rendered(base, study)
    rows, values = rows_of(text, "mcnemar")
    attack = study.titles["attacks"]["pgd_linf"]
    assert {row[0] for row in rows[1:]} == {f"{attack} (ε = 0.1)"}
    at = rows[0].index("Holm p")
    assert rows[0][at + 1] == "q"
    assert all(row[at] not in ("", "–") and row[at + 1] == "–" for row in rows[1:])
    others, values = rows_of(text, "mcnemar-exploratory")
    assert f"{attack} (ε = 0.1)" not in {row[0] for row in others[1:]}
    assert all(row[at] == "–" and row[at + 1] != "–" for row in others[1:])
    assert all(value[at] == "" and float(value[at + 1]) <= 0.5 for value in values[1:])
    folded = re.findall(r'<details class="folded">(.*?)</details>', text, re.S)
    (folded,) = [part for part in folded if f'id="table-{STUDY}-mcnemar-exploratory"' in part]
    assert "mcnemar" not in re.sub("mcnemar-exploratory", "", folded).replace("/mcnemar.", "")


def test_differences_across_splits_are_shown_where_the_report_has_them(report):
    base, study = report
    columns = {"method": "clustered bootstrap", "splits": 2, "p": 0.25, "low": -0.3, "high": 0.1}
    (base / STUDY / "statistics/between_splits.csv").unlink()
    assert "table-millner2024-between" not in rendered(base, study)
    family(base, "between_splits", columns)
    rows, values = rows_of(rendered(base, study), "between")
    head = {name: place for place, name in enumerate(rows[0])}
    assert list(head)[head["p"] :][:3] == ["p", "Holm p", "q"]
    assert rows[1][head["Method"]] == "clustered bootstrap"
    assert rows[1][head["Difference"]].endswith("[−0.300, +0.100]")
    tests = pd.read_csv(base / STUDY / "statistics/between_splits.csv")
    first = tests[tests["family"] == "headline"].iloc[0]
    assert float(values[1][head["Difference"]]) == pytest.approx(first["difference"])
    assert rows_of(rendered(base, study), "between-exploratory")[0][1:]


def test_letters_of_both_tests_stand_in_a_ranking_where_they_differ(report):
    base, study = report
    path = base / STUDY / "statistics/ranking.csv"
    ranking = pd.read_csv(path)
    ranking.assign(group_pooled=ranking["group"]).to_csv(path, index=False)
    assert "Group by the pooled test" not in rows_of(rendered(base, study), "ranking")[0][0]
    ranking.assign(group="ab", group_pooled="c").to_csv(path, index=False)
    rows, _ = rows_of(rendered(base, study), "ranking")
    places = rows[0].index("Group"), rows[0].index("Group by the pooled test")
    assert {tuple(row[place] for place in places) for row in rows[1:]} == {("ab", "c")}


def test_rows_of_an_earlier_code_are_marked_and_the_banner_counts_them(report):
    base, study = report
    text = rendered(base, study)
    assert "†" not in text
    assert "earlier version" not in text
    for name in ("headline.csv", "statistics/accuracy.csv"):
        path = base / STUDY / name
        frame = pd.read_csv(path)
        old = (frame["attack"] == "pgd_linf") & (frame["model"] == "gbz_as_coded")
        assert 0 < old.sum() < len(frame)
        frame["code"] = old.map({True: "earlier", False: "current"})
        frame.to_csv(path, index=False)
    text = rendered(base, study)
    rows, _ = rows_of(text, "headline")
    headline = pd.read_csv(base / STUDY / "headline.csv")
    marked = [cell for row in rows[1:] for cell in row if "†" in cell]
    assert len(marked) == (headline["code"] == "earlier").sum()
    for row in headline[headline["code"] == "earlier"].itertuples():
        assert any(cell.startswith(f"{row.pooled:.3f}") for cell in marked)
    banner = html.unescape(re.search(r"<aside.*?</aside>", text, re.S)[0])
    assert f"{old.sum()} of {len(frame)} accuracies" in banner
    assert study.title in banner


def test_a_headline_shows_what_its_file_holds_beside_the_accuracy(report):
    base, study = report
    path = base / STUDY / "headline.csv"
    frame = pd.read_csv(path)
    frame = frame[frame["worst_case"].isna()]
    worst = frame[(frame["attack"] == "pgd_linf") & (frame["epsilon"] == 0.1)].assign(
        attack="",
        worst_case="norm",
        suite="",
        pooled=0.125,
        clean=0.875,
        sd=0.0625,
        leads=True,
        group="zz",
    )
    others = frame.assign(clean=0.75, leads=False)
    columns = worst["attack"].map(lambda _: "Worst case over 7 attacks, L∞ ε = 0.1")
    pd.concat([worst.assign(column=columns), others.assign(column=others["attack"])]).to_csv(
        path, index=False
    )
    text = rendered(base, study)
    rows, values = rows_of(text, "headline")
    assert rows[0][1].startswith("Worst case over 7 attacks, L∞ ε = 0.1 n = ")
    assert (
        rows[1][1].split()
        == (
            f"0.125 zz [{worst['low'].iloc[0]:.3f}, {worst['high'].iloc[0]:.3f}] "
            "± 0.062 over splits clean 0.875"
        ).split()
    )
    assert values[1][1] == "0.125"
    assert len(re.findall('class="value leads"', text)) == len(MODELS)


def test_data_sets_have_headlines_of_their_own_without_each_others_budgets(report):
    base, study = report
    study.titles["datasets"]["other"] = "Another data set"
    cells = ({"attack": "clean"}, {"attack": "pgd_linf"})
    study = replace(study, headline=replace(study.headline, cells=cells))
    for name in ("headline.csv", "statistics/accuracy.csv"):
        path = base / STUDY / name
        frame = pd.read_csv(path)
        # Titles of columns name the budgets of one data set.
        frame = frame.drop(columns="column", errors="ignore")
        frame = frame[frame["attack"].isin(["clean", "pgd_linf"])]
        other = frame.assign(dataset="other", epsilon=frame["epsilon"] * 2)
        pd.concat([frame, other]).to_csv(path, index=False)
    text = rendered(base, study)
    first, second = (rows_of(text, name)[0] for name in ("headline", "headline-2"))
    assert "not run" not in f"{first} {second}"
    assert [column.split(" n = ")[0] for column in first[0][1:]] == [
        study.titles["attacks"]["clean"],
        "PGD L∞ ε = 0.03",
        "PGD L∞ ε = 0.1",
    ]
    assert [column.split(" n = ")[0] for column in second[0][1:]] == [
        study.titles["attacks"]["clean"],
        "PGD L∞ ε = 0.06",
        "PGD L∞ ε = 0.2",
    ]
    assert "Another data set: accuracy of each classifier" in text


def test_every_row_of_the_ledger_is_there_without_scripts(run):
    base, _ = run
    text = (base / "index.html").read_text(encoding="utf-8")
    ledger = pd.read_csv(base / STUDY / "ledger.csv")
    rows = re.findall(r'<tr data-verdict="([^"]+)">', text)
    assert rows == list(ledger["verdict"])
    counts = ledger["verdict"][ledger["kind"] == "result"].value_counts()
    assert counts["reproduced"] < (ledger["verdict"] == "reproduced").sum(), "settings count, too"
    text_of_it = f"{counts.sum()} printed results: {counts['reproduced']} reproduced, "
    assert f"{text_of_it}{counts['differs']} differs" in text
    key = text.split('id="millner2024-ledger"')[1].split('<ul class="key">')[1].split("</ul>")[0]
    shown = re.findall(r"</span> (\d+)</li>", key)
    assert list(map(int, shown)) == [counts[name] for name in VERDICTS if name in counts]


def test_tables_have_captions_and_scopes_and_figures_have_texts(run):
    base, _ = run
    text = (base / "index.html").read_text(encoding="utf-8")
    page = Elements(text)
    ids = {attrs["id"]: attrs for _, attrs in page.all if "id" in attrs}
    for table in page.of("table"):
        # Outside the part that scrolls, so that a caption never fills it.
        assert ids[table["aria-describedby"]]["class"] == "caption"
        assert table["aria-labelledby"] in ids
    assert page.of("table")
    for scroller in re.findall(r'<div class="card scroll.*?</table>', text, re.S):
        assert 'class="caption"' not in scroller
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
    for name in study.figures:
        words = re.search(rf'id="figure-{STUDY}-{name}-caption">(.*?)</figcaption>', text, re.S)[1]
        assert "n = " in words, name
        assert "seed 0" in words, name


def test_a_test_that_can_find_no_difference_shows_no_number_for_one(report):
    base, study = report
    path = base / STUDY / "statistics/mcnemar.csv"
    pd.read_csv(path).assign(minimum_detectable_difference=float("nan")).to_csv(path, index=False)
    text = rendered(base, study)
    table = table_of(text, "mcnemar")
    assert "nan" not in html.unescape(re.sub(r"<[^>]+>", " ", table)).split()


def test_the_banner_names_data_and_substitutes_by_their_titles(report):
    base, study = report
    study.titles["datasets"] |= {"medical_mnist": "Medical MNIST", "oct": "OCT"}
    study.titles["models"] |= {"resnet18": "ResNet18", "small": "A small network"}
    pairs = {"datasets": {"oct": "digits"}, "models": {"resnet18": "gbz_as_coded"}}
    study = replace(study, substitutes=pairs)
    text = rendered(base, study)
    banner = html.unescape(re.search(r'<aside class="scale substitute".*?</aside>', text, re.S)[0])
    assert "These are not the paper's numbers" in banner
    title = study.titles["models"]["gbz_as_coded"]
    assert f"<li>{title} is a substitute for ResNet18.</li>" in banner
    assert "digits" not in banner, "a substitute that this report does not use"
    assert "gbz_as_coded" not in banner
    words = " ".join(re.sub(r"<[^>]+>", " ", banner).split())
    assert words.startswith("Medical MNIST Scale synthetic: made-up data")
    details = re.search(r"<details>(.*?)</details>", banner, re.S)[1]
    assert study.scale_facts["description"] in details


def test_no_id_stands_for_words(run):
    base, study = run
    text = (base / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"<(script|style|code).*?</\1>|<ul class=\"files.*?</ul>", " ", text, flags=re.S)
    text = re.sub(rf'id="table-{STUDY}-checks".*?</table>', "", text, flags=re.S)
    words = html.unescape(re.sub(r"<[^>]+>", " ", text))
    ids = {name for kind in study.titles.values() for name in kind if "_" in name}
    ids |= {"linf", "kfold", "medical_mnist"}
    # Sentences of the ledger, of captions and of tables as written are made elsewhere.
    sources = " ".join(
        path.read_text(encoding="utf-8")
        for pattern in ("*.csv", "*.json", "*/*.json", "*/*.txt")
        for path in (base / STUDY).glob(pattern)
        if path.name
        not in ("headline.csv", "checks.csv", "provenance.json", "mcnemar.json", "ranking.json")
    )
    found = {name for name in ids if re.search(rf"(?<![\w.]){name}(?![\w.])", words)}
    assert {name for name in found if name not in sources} == set()


def test_words_from_files_cannot_become_markup(report):
    base, study = report
    hostile = "<script>alert(1)</script>"
    study = replace(study, title=hostile, question=hostile)
    study.titles["models"]["gbz_as_coded"] = hostile
    study.figures["figure7"]["title"] = f'" onerror="alert(1)" {hostile}'
    (base / STUDY / "figures" / "figure7.txt").write_text(hostile, encoding="utf-8")
    page = Elements(rendered(base, study))
    assert len(page.of("script")) == 1
    assert not [attrs for _, attrs in page.all if "onerror" in attrs]


def test_the_same_files_give_the_same_page(report):
    base, study = report
    assert rendered(base, study) == rendered(base, study)


@pytest.mark.parametrize(
    "name", ["headline.csv", "provenance.json", "tables/table1.json", "figures/figure7.svg"]
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
    other = replace(study, name="other2024", title="Another study")
    shutil.copytree(base / STUDY, base / "other2024")
    render_page(report_factory.SCALE, [study, other], base / "index.html")
    ids = [
        attrs["id"]
        for _, attrs in Elements((base / "index.html").read_text(encoding="utf-8")).all
        if "id" in attrs
    ]
    assert len(ids) == len(set(ids))
    assert {"millner2024", "other2024", "figure-other2024-figure7"} <= set(ids)


def test_a_marked_cell_is_bold_on_the_page_and_no_cell_is_markup(report):
    base, study = report
    path = base / STUDY / "tables/table1.json"
    stored = read_json(path)
    stored["rows"][0][1] = "0.5 | **x** [0.4, 0.6]"
    write_json(path, {**stored, "marks": [[0, 1]]})
    table = table_of(rendered(base, study), "table1")
    bold = '<strong>0.5 | **x** <span class="interval">[0.4, 0.6]</span></strong>'
    assert re.findall("<strong>.*?</strong>", table.partition("<tbody>")[2]) == [bold]


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
    headline.loc[headline["norm"] == "linf", "verdict"] = "under-powered"
    headline.loc[headline["norm"] != "linf", "verdict"] = "sound"
    lines = [line.split() for line in headline_text(headline).splitlines()]
    assert ["evaluation,", "L∞", "under-powered", "under-powered"] in lines
    assert ["evaluation,", "clean", "sound", "sound"] in lines


def test_texts_stand_out_from_their_background_in_both_schemes():
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    pairs = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\)", css))
    colours = {name: value.split(", ") for name, value in pairs.items()}
    written = [
        *((ink, back) for ink in ("ink", "soft", "accent") for back in ("page", "card", "sunk")),
        *((kind, f"{kind}-back") for kind in ("good", "note", "warn", "bad", "plain")),
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


def written_caption(path, objective="elbo"):
    """A caption as Snakemake's report shows it."""
    training = {"entry": {"training": {"objective": {"name": objective}, "batch_size": 50}}}
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
    ("objective", "unit"), [("elbo", "per full batch of 50 images"), ("standard", "per image")]
)
def test_the_caption_of_a_history_names_the_unit_in_which_its_losses_are_stored(objective, unit):
    words = " ".join(written_caption(ROOT / "report/captions/history.rst", objective).split())
    assert f"``train_loss`` and ``val_loss`` are {unit}, as training minimises them" in words
    assert "the terms of the loss are means per image" in words
