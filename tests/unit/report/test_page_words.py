"""The page's sentences, from hand-written rows."""

import pandas as pd
import pytest

from assay.analysis.attack_set import COLUMNS, AttackSet
from assay.analysis.brief import parse_brief
from assay.report.page_study import StudyFiles, split_cell
from assay.report.page_words import banner, brief, facts, page_heading, short_name

TITLES = {
    "datasets": {"scans": "Scans of a phantom", "photos": "Photographs"},
    "splits": {"kfold": "Cross-validation"},
    "models": {"plain": "ResNet18", "gbz": "GBZ", "third": "DBX"},
    "suites": {"white": "White-box attacks"},
    "attacks": {"clean": "Clean", "pgd": "PGD L∞", "pgd_old": "PGD, as published"},
}
NORMS = {"clean": "none", "pgd": "linf", "pgd_old": "linf"}


def accuracy_row(model, attack, pooled, **known):
    attacks = AttackSet.of(attack)
    norm = "linf" if attacks.worst_case else NORMS[attack]
    return {
        "dataset": "scans", "scheme": "kfold", "model": model, "suite": "white", **attacks.columns,
        "norm": norm, "epsilon": 0.0 if norm == "none" else 0.1, "n": 300, "samples": 300,
        "splits": 5, "pooled": pooled, "low": pooled - 0.05, "high": pooled + 0.05,
        "verdict": "sound", "because": "", "group": "a", "forwards": 1.0, "backwards": 0.0,
        **known,
    }  # fmt: skip


ROWS = [
    accuracy_row("plain", "clean", 0.997, n=1000, samples=1000),
    accuracy_row("gbz", "clean", 0.995, n=1000, samples=1000),
    accuracy_row("plain", "pgd", 0.09),
    accuracy_row("gbz", "pgd", 0.88),
    accuracy_row("plain", "pgd_old", 0.06),
    accuracy_row("gbz", "pgd_old", 0.757),
]
WORST = [
    accuracy_row("plain", {"norm": "linf"}, 0.043, attacks=9, clean=0.993, backwards=400),
    accuracy_row("gbz", {"norm": "linf"}, 0.17, attacks=9, clean=0.99, backwards=2400),
]


@pytest.fixture
def files(tmp_path):
    """A maker of a study's files from rows of accuracies."""

    def make(rows, headline=("clean", "pgd"), study=None, ledger=None, costs=None, printed=None):
        folder = tmp_path / "study"
        (folder / "statistics").mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame(rows)
        frame.to_csv(folder / "statistics/accuracy.csv", index=False)
        shown = frame["attack"].isin([*headline]) | frame["worst_case"].str.startswith("norm")
        frame[shown].to_csv(folder / "headline.csv", index=False)
        verdicts = ["reproduced", "differs", "not run"] if ledger is None else ledger
        pd.DataFrame(
            {"kind": "result", "verdict": verdicts, "reason": "", "agrees": None, **(printed or {})}
        ).to_csv(folder / "ledger.csv", index=False)
        pd.DataFrame(columns=["model", "status"]).to_csv(folder / "checks.csv", index=False)
        for name in ("mcnemar", "ranking"):
            empty = pd.DataFrame(columns=[*COLUMNS, "epsilon"])
            empty.to_csv(folder / f"statistics/{name}.csv", index=False)
        if costs is not None:
            pd.DataFrame(costs).to_csv(folder / "statistics/costs.csv", index=False)
        given = {
            "name": "study",
            "title": "A study",
            "seed": 3,
            "scale": "small",
            "titles": TITLES,
            "attacks": {name: {"norm": norm} for name, norm in NORMS.items()},
            "headline": {"cells": [{"attack": name} for name in headline]},
            "tables": {"defects": {"pairs": [{"published": "pgd_old", "corrected": "pgd"}]}},
            **(study or {}),
        }
        return StudyFiles(parse_brief(given), tmp_path)

    return make


def expected(found):
    return [sentence for _, sentences in brief(found) for sentence in sentences]


def test_only_printed_numbers_are_asked_whether_they_hold(files):
    own = files(ROWS, ledger=[], study={"question": "Does it hold?"})
    assert page_heading([own])[0] == "Does it hold?"
    sentences = " ".join([*expected(own), page_heading([own])[1]])
    assert not any(word in sentences for word in ("printed", "paper", "repeats"))
    assert page_heading([own, files(ROWS)])[0] == "Which printed robustness numbers hold?"
    other = files(ROWS, ledger=[], study={"question": "And here?"})
    assert page_heading([own, other])[0] == "How robust are these classifiers?"


def test_the_robust_accuracy_is_the_worst_case_and_never_one_attacks(files):
    sentences = expected(files(ROWS + WORST))
    assert (
        "Under the worst case over 9 attacks (L∞ ε = 0.1, n = 300), the accuracies are 0.170 for "
        "GBZ and 0.043 for ResNet18. The clean accuracy on the same images is 0.990 to 0.993. "
        "These attacks took 400 to 2,400 gradient passes per image." in sentences
    )
    assert "0.880" not in " ".join(sentences)


def test_numbers_that_read_the_same_are_no_range(files):
    worst = [{**row, "backwards": passes} for row, passes in zip(WORST, (99.8, 100.3), strict=True)]
    sentences = " ".join(expected(files(ROWS + worst)))
    assert "These attacks took 100 gradient passes per image." in sentences


def test_without_a_worst_case_the_lowest_known_accuracy_counts_on_however_few_images(files):
    sentences = expected(files([*ROWS, accuracy_row("gbz", {"suite": "white"}, 0.5, n=20)]))
    assert (
        "Under the strongest attack on each classifier (L∞ ε = 0.1, n = 20 to 300), the accuracies "
        "are 0.500 for GBZ and 0.060 for ResNet18." in sentences
    )
    assert "0.880" not in " ".join(sentences)


def test_the_published_attack_stands_beside_the_worst_case(files):
    sentences = expected(files(ROWS + WORST))
    assert (
        "Under PGD, as published, at L∞ ε = 0.1 (n = 300), the accuracies are 0.757 for GBZ and "
        "0.060 for ResNet18; under the worst case over 9 attacks (n = 300), they are 0.170 and "
        "0.043." in sentences
    )


def test_an_attack_is_as_published_by_its_role_whatever_its_name(files):
    attacks = {name: {"norm": norm} for name, norm in NORMS.items()}
    attacks["pgd"]["role"] = "as_published"
    study = {"tables": {}, "attacks": attacks}
    sentences = expected(files(ROWS + WORST, study=study))
    assert any(sentence.startswith("Under PGD L∞, at L∞ ε = 0.1") for sentence in sentences)
    assert not any("PGD, as published" in sentence for sentence in sentences)


def test_a_published_attack_that_is_the_worst_case_needs_no_sentence(files):
    same = [accuracy_row(row["model"], {"norm": "linf"}, row["pooled"], attacks=2)
            for row in ROWS if row["attack"] == "pgd_old"]  # fmt: skip
    assert not any("as published" in sentence for sentence in expected(files(ROWS + same)))


def test_a_second_worst_case_on_fewer_images_says_its_own_n(files):
    fewer = [
        accuracy_row(model, AttackSet("norm_all", "linf"), pooled, attacks=12, n=60)
        for model, pooled in (("plain", 0.0), ("gbz", 0.1))
    ]
    assert (
        "Under the worst case over all 12 attacks (L∞ ε = 0.1), on the images that were tested "
        "with each of them (n = 60), the accuracies are 0.100 for GBZ and 0.000 for ResNet18."
        in expected(files(ROWS + WORST + fewer))
    )


def test_of_many_classifiers_the_best_and_the_worst_are_named(files):
    many = [
        accuracy_row(f"m{place}", "clean", 0.9 + place / 100, n=1000, samples=1000)
        for place in range(5)
    ]
    titles = {**TITLES, "models": {f"m{place}": f"Model {place}" for place in range(5)}}
    sentences = expected(files(many, headline=("clean",), study={"titles": titles}))
    assert (
        sentences[0] == "On 1,000 unperturbed test images in 5 splits, the accuracy ranges from "
        "0.940 for Model 4 to 0.900 for Model 0."
    )
    tied = [{**row, "pooled": min(row["pooled"], 0.93)} for row in many]
    sentences = expected(files(tied, headline=("clean",), study={"titles": titles}))
    assert "from 0.930 for Model 3 and Model 4 to 0.900 for Model 0." in sentences[0]
    equal = [{**row, "pooled": 0.93} for row in many]
    sentences = expected(files(equal, headline=("clean",), study={"titles": titles}))
    assert sentences[0].endswith(
        "the accuracy is 0.930 for Model 0, Model 1, Model 2, Model 3 and Model 4."
    )


def test_data_sets_are_told_apart_by_their_titles(files):
    other = [{**row, "dataset": "photos", "pooled": 0.5} for row in ROWS + WORST]
    found = brief(files(ROWS + WORST + other))
    assert [heading for heading, _ in found] == [
        "Scans of a phantom",
        "Photographs",
        "All data sets and splits",
    ]
    assert "0.500 for ResNet18" in " ".join(found[1][1])
    assert "0.500" not in " ".join(found[0][1])


def test_the_effort_of_training_is_told_where_it_differs(files):
    costs = {"model": ["plain", "gbz"], "updates": [375.0, 1200.0]}
    assert (
        "Training effort differs: from 375 weight updates (ResNet18) to 1,200 (GBZ)."
        in expected(files(ROWS, costs=costs))
    )
    same = {"model": ["plain", "gbz"], "updates": [375.0, 375.0]}
    assert not any("effort" in sentence for sentence in expected(files(ROWS, costs=same)))


def test_a_ledger_without_verdicts_says_so_instead_of_two_zeros(files):
    sentences = expected(files(ROWS, ledger=["not run", "not comparable", "not comparable"]))
    assert sentences[-1] == "3 printed results: 1 not run, 2 not comparable."


def test_settings_are_never_counted_among_the_results_that_are_reproduced(files):
    kinds = ["result", "setting", "setting", "duration"]
    verdicts = ["differs", "reproduced", "reproduced", "not comparable"]
    assert expected(files(ROWS, ledger=verdicts, printed={"kind": kinds}))[-1] == (
        "1 printed result: 1 differs. 2 printed settings or sizes: 2 reproduced. 1 other printed "
        "number has no verdict (confusion counts, durations)."
    )


def test_results_that_the_scale_cut_say_whether_the_printed_values_agree(files):
    cut = {"kind": "result", "agrees": [1.0, 0.0], "reason": "cut by the scale: 10 of 100 steps"}
    assert expected(files(ROWS, ledger=["not comparable"] * 2, printed=cut))[-1] == (
        "2 printed results: 2 not comparable. 2 of the results that are not comparable were run "
        "with less training or a shorter attack than printed; 1 of these 2 printed values lie "
        "within this run's widened interval."
    )


def test_the_facts_say_data_images_splits_seed_and_scale(files):
    assert facts(files(ROWS + WORST)) == [
        ("data set", "Scans of a phantom"),
        ("test images", "1,000"),
        ("splits", "5"),
        ("classifiers", "2"),
        ("attacks and corruptions", "2"),
        ("seed", "3"),
        ("scale", "small"),
    ]


def test_a_study_is_called_by_its_authors_and_its_year():
    paper = {"authors": "R. Millner, E. Picard", "year": 2024, "title": "A"}
    assert short_name(parse_brief({"paper": paper})) == "Millner et al. 2024"
    assert short_name(parse_brief({"paper": {**paper, "authors": "J. Ju"}})) == "Ju 2024"
    assert short_name(parse_brief({"title": "A study"})) == "A study"


def test_splits_are_counted_from_one_and_the_pool_comes_first():
    assert [split_cell(split).text for split in ("pooled", "kfold_0", "random_150_image_12")] == [
        "pooled",
        "split 1",
        "split 13",
    ]
    assert [split_cell(split).value for split in ("pooled", "kfold_0", "kfold_12")] == [0, 1, 13]


def test_only_substitutes_in_use_are_named(files):
    study = {"substitutes": {"models": {"third": "gbz", "plain": "absent"}}}
    found = banner("small", [files(ROWS, study=study)])
    assert found["substitutes"] == ["GBZ is a substitute for DBX."]
    assert found["data"] == ["Scans of a phantom"]
