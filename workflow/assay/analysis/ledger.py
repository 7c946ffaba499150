"""The ledger: every number that a paper prints, beside this run's number, with a verdict.

A printed accuracy counts as *reproduced* if it lies within this run's 95 % interval widened by
``tolerance`` on both sides, and as *differs* otherwise. *not run* means that this run has no such
number; the reason says whether the study lacks it or the scale leaves it out. *not comparable*
means that this run has a number but the comparison would mean nothing: a substitute for the data
set or network, too few images, or a training or an attack that the scale cut. What a cut makes
incomparable it makes so everywhere: the curves of a training and all accuracies of its network,
all accuracies under an attack. ``agrees`` says all the same whether the printed number lies
within the widened interval. Settings and sizes are compared exactly and, like counts and
durations, counted apart from results (``kind``). No row is ever dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from assay.analysis.attack_set import AttackSet, of_word
from assay.analysis.style import attack_title, radius_text
from assay.foundation.errors import ConfigError
from assay.foundation.split import Split

JUDGED = ("reproduced", "differs")
VERDICTS = (*JUDGED, "not run", "not comparable")
COLUMNS = (
    "file", "table", "dataset", "model", "attack", "norm", "epsilon", "metric", "reported",
    "reproduced", "low", "high", "delta", "n", "verdict", "reason", "note", "compared_with",
    "kind", "agrees",
)  # fmt: skip
# What a printed number is: only results tell whether a paper's claims hold.
RESULT, SETTING, COUNT, DURATION = "result", "setting", "count", "duration"
RULE = {
    "tolerance": 0.02,
    "relative_tolerance": 0.02,
    "minimum_n": 100,
    "widest_interval": 0.07,
}

# Where a printed hyper-parameter stands in a model's catalogue entry.
SETTINGS = {
    "latent_dim": "settings.latent_dim",
    "num_epochs": "training.epochs",
    "learning_rate": "training.learning_rate",
    "batch_size": "training.batch_size",
    "weight_decay": "training.weight_decay",
    "scheduler_step_size": "training.scheduler.step_size",
    "scheduler_gamma": "training.scheduler.gamma",
}
# What the notes on printed numbers say of them.
REMARKS = {
    "CONFLICT": "the paper contradicts itself",
    "SUSPECT": "the printed cell is suspect",
    "MISPRINT": "the printed cell is a misprint",
}
# How the reason begins where the scale asks for less than the catalogue.
CUT = "cut by the scale: "
# What the scale may cut without another network coming out: fewer validation images choose the
# epoch more coarsely.
BY_CHANCE = ("validation_samples",)
SHAPE = {"image_channels": 0, "image_height": 1, "image_width": 2}

Key = tuple[str, str, str]


def read_reported(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Reads files of ``config/reported/``, below each other, with the column ``file``.

    Raises:
        ConfigError: a file cannot be read or lacks a column.
    """
    frames = []
    for path in map(Path, paths):
        try:
            # Only an empty cell is missing: the attack "none" is a word.
            frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot be read as CSV ({error})", where=path) from error
        missing = _PRINTED - set(frame.columns)
        if missing:
            raise ConfigError(f"columns missing: {sorted(missing)}", where=path)
        frames.append(frame.assign(file=path.name))
    return (
        pd.concat(frames, ignore_index=True)
        if frames
        else pd.DataFrame(columns=[*_PRINTED, "file"])
    )


_PRINTED = {"study", "table", "dataset", "model", "attack", "norm", "epsilon", "metric", "value",
            "std", "note"}  # fmt: skip


def ledger(
    reported: pd.DataFrame,
    accuracy: pd.DataFrame,
    study: Mapping[str, Any],
    rule: Mapping[str, float] | None = None,
    *,
    history: Mapping[Key, pd.DataFrame] | None = None,
    facts: Mapping[Key, Mapping[str, Any]] | None = None,
    parts: Mapping[Key, int] | None = None,
    distances: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Judges every printed number.

    Args:
        reported: the frame of :func:`read_reported`.
        accuracy: the frame of :func:`assay.analysis.accuracy.accuracy`.
        study: the study as the plan gives it; its ``reported`` maps the paper's words to ids, its
            ``scaled`` says which settings of models and attacks the scale has changed.
        rule: values that replace those of :data:`RULE` (config/config.yaml, ``ledger``).
        history: training histories by (data set, split, model).
        facts: contents of ``model.json`` by (data set, split, model).
        parts: images of the splits by (data set, split, part).
        distances: the frame of :func:`assay.analysis.distances.distances`.

    Returns:
        One row per printed number, in their order, with :data:`COLUMNS`. Names are the paper's;
        ``compared_with`` gives the ids of this run. ``low`` and ``high`` bound the reproduced
        number; ``delta`` is reproduced minus reported, NaN where there is no verdict. ``kind`` is
        result, setting, count or duration. ``agrees``: 1.0 where the printed number lies within
        the widened interval, 0.0 where it does not, NaN where this run has no such number or it is
        that of a substitute.
    """
    run = _Run(
        accuracy, study, {**RULE, **(rule or {})}, history or {}, facts or {}, parts or {},
        pd.DataFrame() if distances is None else distances,
    )  # fmt: skip
    rows = []
    words = ["file", "table", "dataset", "model", "attack", "norm", "metric", "note"]
    reported = reported.rename(columns={"value": "reported"})
    reported = reported.assign(**{name: reported[name].fillna("").astype(str) for name in words})
    for row in reported[[*words, "epsilon", "reported"]].to_dict("records"):
        judged = run.judge(SimpleNamespace(**row))
        for mark, remark in REMARKS.items():
            if mark in row["note"].upper():
                judged = judged._replace(reason=f"{judged.reason}; {remark}, see note")
        rows.append({**row, **judged._asdict()})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def reached_with_less(table: pd.DataFrame) -> pd.Series:
    """Which rows of a ledger have no verdict only because the scale cut training or attack."""
    return (
        (table.kind == RESULT)
        & (table.verdict == "not comparable")
        & table.agrees.notna()
        & table.reason.astype(str).str.startswith(CUT)
    )


def counts_in_words(table: pd.DataFrame) -> str:
    """How many printed results, settings and other numbers a ledger has and what became of them."""
    results = table[table.kind == RESULT]
    sentences = [_counted(results, "printed result")]
    less = results[reached_with_less(results)]
    if len(less):
        sentences.append(
            f"{len(less)} of the results that are not comparable were run with less training or a "
            f"shorter attack than printed; {int(less.agrees.sum())} of these {len(less)} printed "
            "values lie within this run's widened interval."
        )
    settings = table[table.kind == SETTING]
    if len(settings):
        sentences.append(_counted(settings, "printed setting or size", "printed settings or sizes"))
    others = table[~table.kind.isin((RESULT, SETTING))]
    if len(others):
        verdictless = "number has" if len(others) == 1 else "numbers have"
        sentences.append(
            f"{len(others)} other printed {verdictless} no verdict (confusion counts, durations)."
        )
    return " ".join(sentences)


def _counted(rows: pd.DataFrame, one: str, many: str = "") -> str:
    verdicts = rows.verdict.value_counts()
    counts = ", ".join(f"{verdicts[name]} {name}" for name in VERDICTS if name in verdicts)
    return f"{len(rows)} {one if len(rows) == 1 else many or one + 's'}: {counts or 'none'}."


def with_kinds(table: pd.DataFrame) -> pd.DataFrame:
    """A ledger with the columns ``kind`` and ``agrees``, also if an earlier version wrote it.

    That version kept no ``agrees``: it stays unknown, NaN.
    """
    if {"kind", "agrees"} <= set(table):
        return table
    kinds = {metric: _kind_of(metric) for metric in table["metric"].unique()}
    return table.assign(kind=table["metric"].map(kinds), agrees=np.nan)


def _kind_of(metric: str) -> str:
    return next((kind for pattern, kind, _ in _JUDGES if re.fullmatch(pattern, metric)), RESULT)


def rule_in_words(rule: Mapping[str, float] | None = None) -> str:
    """The rule as a sentence for captions."""
    rule = {**RULE, **(rule or {})}
    return (
        "Reproduced: the printed accuracy lies within this run's 95 % interval widened by "
        f"{rule['tolerance']:g} on both sides (losses: within {rule['relative_tolerance']:.0%}). "
        f"A printed value has no verdict if fewer than {rule['minimum_n']:g} images were tested, "
        f"or if it lies inside an interval wider than {rule['widest_interval']:g}."
    )


class _Judgement(NamedTuple):
    verdict: str
    reason: str
    reproduced: float = np.nan
    low: float = np.nan
    high: float = np.nan
    delta: float = np.nan
    n: float = np.nan
    compared_with: str = ""
    kind: str = RESULT
    agrees: float = np.nan


@dataclass(frozen=True)
class _Run:
    """What this run knows, and how each kind of printed number is held against it."""

    accuracy: pd.DataFrame
    study: Mapping[str, Any]
    rule: Mapping[str, float]
    history: Mapping[Key, pd.DataFrame]
    facts: Mapping[Key, Mapping[str, Any]]
    parts: Mapping[Key, int]
    distances: pd.DataFrame

    def judge(self, row: SimpleNamespace) -> _Judgement:
        for pattern, kind, judge in _JUDGES:
            found = re.fullmatch(pattern, row.metric)
            if found and not pd.isna(row.reported):
                return judge(self, row, *found.groups())._replace(kind=kind)
            if found:
                return _Judgement("not run", "nothing is printed in this cell", kind=kind)
        return _Judgement("not run", f"this study does not measure '{row.metric}'")

    def lacking(self, kind: str, word: str, what: str) -> _Judgement:
        """Why the study has nothing for a word of the paper: the study, or the scale."""
        if word in self.study.get("excluded", {}).get(kind, {}):
            return _Judgement(
                "not run", f"scale {self.study.get('scale', '')} excludes the {what} '{word}'"
            )
        return _Judgement("not run", f"this study has no {what} for '{word}'")

    def planned(self, dataset: str, model: str, attack: AttackSet) -> bool:
        """Whether the study as written runs an attack on a model and a data set, at any scale."""
        return any(
            dataset in block["datasets"]
            and model in block["models"]
            and attack in map(AttackSet.of, block["attacks"])
            for block in self.study.get("excluded", {}).get("grid", ())
        )

    def result(self, row: SimpleNamespace, kind: str) -> _Judgement:
        """An accuracy or an error rate against the outcomes."""
        dataset, model = self.name("datasets", row.dataset), self.name("models", row.model)
        attack = self.attack(row)
        for kind_of, printed, name, what in (
            ("datasets", row.dataset, dataset, "data set"), ("models", row.model, model, "model"),
            ("attacks", row.attack, attack, "attack"),
        ):  # fmt: skip
            if name is None:
                return self.lacking(kind_of, printed, what)
        cells = self.cells(dataset, model, attack)
        ids = f"{dataset}, {model}, {attack}"
        if cells.empty:
            lacks = (
                f"scale {self.study.get('scale', '')} excludes"
                if self.planned(dataset, model, attack)
                else "this study does not run"
            )
            return _Judgement(
                "not run", f"{lacks} {self.said(dataset, model, attack)}", compared_with=ids
            )
        undecided = self.undecided(cells.scheme)
        if undecided:
            return _Judgement("not comparable", undecided, compared_with=ids)
        epsilon = 0.0 if pd.isna(row.epsilon) else row.epsilon
        cell = cells[np.isclose(cells.epsilon, epsilon, rtol=1e-4, atol=1e-9)]
        if cell.empty:
            known = ", ".join(radius_text(value, self.study) for value in cells.epsilon)
            reason = (
                f"{attack_title(self.study, attack)} was not run at ε = "
                f"{radius_text(epsilon, self.study)}, but at {known}"
            )
            return _Judgement("not run", reason, compared_with=ids)
        cell = cell.iloc[0]
        value, low, high = cell.pooled, cell.low, cell.high
        if kind == "error_rate":
            value, low, high = 1 - value, 1 - high, 1 - low
        judged = self.verdict(row.reported, value, low, high, self.rule["tolerance"])
        judged = judged._replace(
            n=cell.n, compared_with=f"{ids}, epsilon {radius_text(cell.epsilon, self.study)}"
        )
        corrected = self.corrected(dataset, model, attack, epsilon, kind)
        if corrected:
            judged = judged._replace(reason=f"{judged.reason}; {corrected}")
        if row.attack.endswith("?"):
            return _unjudged(judged, "the source does not say whether these images were attacked")
        substitute = self.substitute(dataset, model)
        if substitute:
            return _unjudged(judged, substitute)
        if cell.samples < self.rule["minimum_n"]:
            return _unjudged(judged, f"only {int(cell.samples)} images were tested")
        cuts = [*self.training_cuts(dataset, model, BY_CHANCE), *self.attack_cuts(attack)]
        if cuts:
            return _cut(judged, cuts)
        if judged.verdict == "reproduced" and high - low > self.rule["widest_interval"]:
            return _unjudged(
                judged, f"the interval is {high - low:.2f} wide: too few images for a verdict"
            )
        return judged

    def gain(self, row: SimpleNamespace) -> _Judgement:
        """A gain of accuracy by adversarial training, printed as a least one over networks."""
        dataset, attack = self.name("datasets", row.dataset), self.attack(row)
        if dataset is None:
            return self.lacking("datasets", row.dataset, "data set")
        if attack is None:
            return self.lacking("attacks", row.attack, "attack")
        cells = self.of_scheme()
        near = np.isclose(cells.epsilon, row.epsilon, rtol=1e-4, atol=1e-9)
        cells = cells[(cells.dataset == dataset) & attack.among(cells) & near]
        pooled = cells.set_index("model").pooled
        gains = {
            model: pooled[model] - pooled[entry["starts_from"]]
            for model, entry in self.study.get("models", {}).items()
            if entry.get("starts_from") in pooled.index and model in pooled.index
        }
        if not gains:
            return _Judgement("not run", "no network was run with and without adversarial training")
        values = np.array(list(gains.values()))
        agrees = float(values.min() >= row.reported - self.rule["tolerance"])
        named = " and ".join(self.title("models", model) for model in gains)
        judged = _Judgement(
            "reproduced" if agrees else "differs",
            f"the smallest gain over {named}",
            *(float(values.min()), float(values.min()), float(values.max())),
            float(values.min() - row.reported),
            n=cells.n.min(),
            compared_with=", ".join(gains),
            agrees=agrees,
        )
        substitute = self.substitute(dataset, None)
        if substitute:
            return _unjudged(judged, substitute)
        cuts = [cut for model in gains for cut in self.training_cuts(dataset, model, BY_CHANCE)]
        return _cut(judged, list(dict.fromkeys(cuts))) if cuts else judged

    def curve(self, row: SimpleNamespace, part: str, what: str, epoch: str) -> _Judgement:
        """A point of a training curve against the mean over splits at the same epoch."""
        dataset, model = self.name("datasets", row.dataset), self.name("models", row.model)
        mine = [key for key in self.history if self.ours(key, dataset, model)]
        runs = [self.history[key] for key in mine]
        if not runs:
            return _Judgement("not run", f"this run has no training history of '{row.model}'")
        undecided = self.undecided(map(_scheme, mine))
        if undecided:
            return _Judgement("not comparable", undecided)
        column, index = f"{part}_{what}", int(epoch)
        values = [
            float(run[column].iloc[index]) for run in runs if column in run and len(run) > index
        ]
        ids = f"{dataset}, {model}, {column}"
        if not values:
            longest = max(map(len, runs))
            return _Judgement("not run", f"trained for {longest} epochs only", compared_with=ids)
        batch = re.search(r"sum of a batch of (\d+)", row.note)
        scale = float(batch[1]) if what == "loss" and batch else 1.0
        values = scale * np.asarray(values)
        margin = self.rule["tolerance"]
        if what == "loss":
            margin = self.rule["relative_tolerance"] * abs(row.reported)
        judged = self.verdict(row.reported, values.mean(), values.min(), values.max(), margin)
        splits = f"range over {len(values)} split{'s' if len(values) > 1 else ''}"
        judged = judged._replace(reason=f"{judged.reason} ({splits})", compared_with=ids)
        substitute = self.substitute(dataset, model)
        if substitute:
            return _unjudged(judged, substitute)
        # An epoch is the same one whatever comes after it.
        cuts = self.training_cuts(dataset, model, ("epochs", *BY_CHANCE))
        return _cut(judged, cuts) if cuts else judged

    def setting(self, row: SimpleNamespace, name: str) -> _Judgement:
        """A printed hyper-parameter against the catalogue entry that this run used."""
        model = self.name("models", row.model) or self.table_model(row.file)
        entry = self.study.get("models", {}).get(model)
        if entry is None:
            return self.lacking("models", row.model, "model")
        path = SETTINGS.get(name, "")
        value = _get(entry, path)
        if name in SHAPE:
            value = self.side(row, model, entry, SHAPE[name])
        elif name in ("trainval_fraction", "test_fraction"):
            value = self.share(row, "test" if name == "test_fraction" else "train", "val")
        elif value is None:
            value = self.kernel(row, model) if name == "conv_kernel_size" else None
        if value is None:
            reason = "a setting; this run has no such setting"
            return _Judgement("not comparable", reason, compared_with=model)
        here, whole = self.scaled("models", model).get(path, (None, None))
        if here is not None and whole is not None:
            judged = _setting(row.reported, float(whole), model)
            cut = f"{_number(float(here))} instead of {_number(float(whole))}"
            return _cut(judged._replace(reproduced=float(here)), [cut])
        return _setting(row.reported, float(value), model)

    def share(self, row: SimpleNamespace, part: str, other: str) -> float | None:
        """The share of the test images (or of all others) of the data set, by the split files."""
        dataset = self.name("datasets", row.dataset)
        for (name, split, _), _count in self.parts.items():
            if name == dataset and self.scheme in (None, Split.of(split).scheme):
                counts = {
                    kind: self.parts.get((name, split, kind), 0)
                    for kind in ("train", "val", "test")
                }
                test = counts["test"] / sum(counts.values())
                return round(test if part == "test" else 1 - test, 3)
        return None

    def kernel(self, row: SimpleNamespace, model: str) -> float | None:
        """The side of a network's convolutions, where its training wrote it down."""
        dataset = self.name("datasets", row.dataset)
        for key, facts in self.facts.items():
            if self.ours(key, dataset, model) and "kernel_size" in facts:
                return float(facts["kernel_size"])
        return None

    def architecture(self, row: SimpleNamespace, name: str) -> _Judgement:
        """A printed size of a network against that of the network that was trained."""
        dataset, model = self.name("datasets", row.dataset), self.name("models", row.model)
        for key, facts in self.facts.items():
            if self.ours(key, dataset, model) and name in facts.get("architecture", {}):
                return _setting(row.reported, float(facts["architecture"][name]), model)
        return _Judgement(
            "not run", f"this run has no network '{row.model}' trained on '{row.dataset}'"
        )

    def fact(self, row: SimpleNamespace, name: str) -> _Judgement:
        """A number of the paper's text (images, classes, folds, epochs) against this run's."""
        dataset = self.name("datasets", row.dataset)
        clean = self.of_scheme()
        clean = clean[(clean.dataset == dataset) & (clean.attack == "clean")]
        if clean.empty:
            return self.lacking("datasets", row.dataset, "data set")
        undecided = self.undecided(clean.scheme)
        if undecided:
            return _Judgement("not comparable", undecided, compared_with=dataset)
        substitute = self.substitute(dataset, None)
        if substitute:
            return _Judgement("not comparable", substitute, compared_with=dataset)
        models = [self.name("models", word) for word in self.study["reported"].get("models", {})]
        values = {
            "n_test": lambda: {dataset: (clean.n / clean.splits).max()},
            "n_total_approx": lambda: {dataset: self.images(dataset)},
            "n_images": lambda: {dataset: self.images(dataset)},
            "folds": lambda: {dataset: clean.splits.max()},
            "n_classes": lambda: {
                key[0]: len(facts["classes"])
                for key, facts in self.facts.items()
                if key[0] == dataset
            },
            "epochs": lambda: {
                model: _get(self.study.get("models", {}).get(model, {}), "training.epochs")
                for model in models
            },
        }.get(name, dict)()
        values = {owner: float(value) for owner, value in values.items() if value is not None}
        if not values:
            return _Judgement("not comparable", "a count that this run does not record")
        if len(set(values.values())) > 1:
            each = ", ".join(
                f"{self.title('models', owner)}: {value:g}" for owner, value in values.items()
            )
            return _Judgement("not comparable", f"a setting; the models differ: {each}")
        owner, value = next(iter(values.items()))
        if name == "epochs":
            here, whole = self.scaled("models", owner).get("training.epochs", (None, None))
            if whole is not None:
                judged = _setting(row.reported, float(whole), owner)
                return _cut(judged._replace(reproduced=value), [f"{here} of {whole} epochs"])
        if name == "n_test":
            there = max(
                (count for (*_, part), count in self.parts.items() if part == "test"), default=value
            )
            judged = _setting(row.reported, float(there), owner)
            return (
                _cut(judged, [f"evaluated on {value:,.0f} test images"])
                if value < there
                else judged
            )
        return _setting(row.reported, value, owner)

    def images(self, dataset: str) -> float | None:
        """How many images the data set has, by its split files."""
        totals: dict[str, int] = {}
        for (name, split, _), count in self.parts.items():
            if name == dataset:
                totals[split] = totals.get(split, 0) + count
        return float(max(totals.values())) if totals else None

    def scaled(self, kind: str, name: str | None) -> Mapping[str, Sequence]:
        """What the scale changed in an entry: path to [here, in the catalogue]."""
        return self.study.get("scaled", {}).get(kind, {}).get(name, {})

    def title(self, kind: str, name: str | None) -> str:
        """What readers call an entry."""
        return self.study.get("titles", {}).get(kind, {}).get(name, name or "")

    def said(self, dataset: str, model: str, attack: AttackSet) -> str:
        """Data set, model and attack, by their titles."""
        titles = self.title("datasets", dataset), self.title("models", model)
        return ", ".join((*titles, attack_title(self.study, attack)))

    def count(self, row: SimpleNamespace, label: str, prediction: str) -> _Judgement:
        """A cell of a confusion matrix: its class order is unknown, so it is never judged."""
        return _Judgement(
            "not comparable",
            f"a count of images with true class {label} and predicted class {prediction}, of other "
            "test images; the order of the classes depended on the authors' machine",
        )

    def duration(self, row: SimpleNamespace, name: str) -> _Judgement:
        """Minutes or hours on the authors' hardware; training time of this run beside it."""
        reason = "a duration on other hardware"
        if name != "train_minutes":
            return _Judgement("not comparable", reason)
        seconds = [
            frame.seconds.sum() for key, frame in self.history.items()
            if key[0] == self.name("datasets", row.dataset) and "seconds" in frame
        ]  # fmt: skip
        minutes = float(np.mean(seconds)) / 60 if seconds else np.nan
        return _Judgement("not comparable", reason, reproduced=minutes)

    def verdict(
        self, printed: float, value: float, low: float, high: float, margin: float
    ) -> _Judgement:
        agrees = low - margin <= printed <= high + margin
        where = "within" if agrees else "outside"
        low_text, high_text, margin_text = map(_number, (low, high, margin))
        reason = f"the printed value is {where} [{low_text}, {high_text}] ± {margin_text}"
        return _Judgement(
            "reproduced" if agrees else "differs", reason, value, low, high, value - printed,
            agrees=float(agrees),
        )  # fmt: skip

    def name(self, kind: str, word: str) -> str | None:
        """The id, stand-ins put in, for a word of the paper; None if the study maps none."""
        name = self.study["reported"].get(kind, {}).get(word)
        return self.study.get("stand_ins", {}).get(kind, {}).get(name, name)

    def attack(self, row: SimpleNamespace) -> AttackSet | None:
        """A row's attack, or its worst case over several, by its table's note, word and norm."""
        noted = self.study["reported"].get("noted", {}).get(row.table)
        if noted:
            found = re.search(noted["pattern"], row.note)
            return AttackSet.of(noted["attack"].format(*found.groups())) if found else None
        word = row.attack.removesuffix("?") or "none"
        return of_word(self.study["reported"].get("attacks", {}).get(word), row.norm)

    def distance(self, row: SimpleNamespace, what: str) -> _Judgement:
        """A mean or median distance of the closest broken images, which the print has by PGD."""
        dataset, model = self.name("datasets", row.dataset), self.name("models", row.model)
        mine = self.distances
        if len(mine):
            mine = mine[
                (mine.dataset == dataset) & (mine.model == model) & (mine.norm == row.norm.lower())
            ]
        if mine.empty:
            for kind, word, name, what in (
                ("datasets", row.dataset, dataset, "data set"),
                ("models", row.model, model, "model"),
            ):
                if name is None:
                    return self.lacking(kind, word, what)
            return _Judgement(
                "not run", f"this run has no distances of '{row.model}' on '{row.dataset}'"
            )
        found = mine.iloc[0]
        attacks = " and ".join(self.title("attacks", name) for name in found.attacks.split(", "))
        return _Judgement(
            "not comparable",
            "the paper does not describe its search for the radius; here it is the distance to the "
            f"closest misclassified image under {attacks}",
            reproduced=float(found[what]),
            n=found.n,
            compared_with=f"{dataset}, {model}",
        )

    def cells(self, dataset: str, model: str, attack: AttackSet) -> pd.DataFrame:
        table = self.of_scheme()
        mine = (table.dataset == dataset) & (table.model == model) & attack.among(table)
        return table[mine].sort_values("epsilon")

    @property
    def scheme(self) -> str | None:
        """The split scheme that the printed numbers are held against, if the study names one."""
        return self.study["reported"].get("splits")

    def of_scheme(self) -> pd.DataFrame:
        table = self.accuracy
        return table if self.scheme is None else table[table.scheme == self.scheme]

    def ours(self, key: Key, dataset: str | None, model: str | None) -> bool:
        """Whether a network is one that the printed numbers of this model are held against."""
        return (key[0], key[2]) == (dataset, model) and self.scheme in (None, _scheme(key))

    def undecided(self, schemes: Iterable[str]) -> str:
        """Why numbers of several split schemes have no counterpart, as a clause; empty for one."""
        schemes = list(dict.fromkeys(schemes))
        if len(schemes) < 2:
            return ""
        names = " and ".join(self.title("splits", name) for name in schemes)
        return f"run with several split schemes ({names}); the study's reported.splits names none"

    def training_cuts(
        self, dataset: str | None, model: str | None, without: Sequence[str] = ()
    ) -> list[str]:
        """How the scale changed a model and its training, in words; `without` some settings."""
        changed = dict(self.scaled("models", model))
        for name in without:
            changed.pop(f"training.{name}", None)
        epochs = changed.pop("training.epochs", None)
        trained = [
            "{} of {} epochs".format(*epochs) if epochs else "",
            self.fewer(changed.pop("training.samples", None), dataset, model, "train"),
        ]
        caps = changed.pop("training.validation_samples", None)
        validated = [self.fewer(caps, dataset, model, "val")]
        return [
            *(
                " ".join([verb, *filter(None, words)])
                for verb, words in (("trained", trained), ("validated", validated))
                if any(words)
            ),
            *_changes(changed),
        ]

    def fewer(
        self, caps: Sequence | None, dataset: str | None, model: str | None, part: str
    ) -> str:
        """How many images of a part were used instead of how many; empty if no fewer were."""
        if caps is None:
            return ""
        here, whole = caps
        keys = [key for key in self.facts if self.ours(key, dataset, model)]
        used = max((self.facts[key].get(f"{part}_n", here) for key in keys), default=here)
        there = max((self.parts.get((*key[:2], part), 0) for key in keys), default=0)
        # The catalogue's own cap, or all that the split has.
        whole = min(filter(None, (whole, there)), default=None)
        if whole is None:
            return f"on {used:,} images, not on all"
        return f"on {used:,} of {whole:,} images" if used < whole else ""

    def attack_cuts(self, attack: AttackSet) -> list[str]:
        """How the scale changed an attack, in words."""
        return _changes({} if attack.worst_case else self.scaled("attacks", attack.name))

    def substitute(self, dataset: str | None, model: str | None) -> str:
        """Which entries are substitutes for what the paper used, as a clause; empty if none is."""
        parts = []
        used = self.study.get("datasets", {}).get(dataset, {}).get("substitute_for")
        if used:
            parts.append(f"{self.title('datasets', dataset)} is a substitute for {used}")
        for kind, name in (("datasets", dataset), ("models", model)):
            originals = [
                original
                for original, stand_in in self.study.get("stand_ins", {}).get(kind, {}).items()
                if stand_in == name
            ]
            if originals:
                named = " and ".join(self.title(kind, original) for original in originals)
                parts.append(f"{self.title(kind, name)} is a substitute for {named}")
        return "; ".join(parts)

    def corrected(
        self, dataset: str, model: str, attack: AttackSet, epsilon: float, kind: str
    ) -> str:
        """What the corrected twin of a published attack gives, as a clause; empty if none."""
        for spec in self.study.get("tables", {}).values():
            for pair in spec.get("pairs", ()):
                if AttackSet.of(pair["published"]) != attack:
                    continue
                corrected = AttackSet.of(pair["corrected"])
                cells = self.cells(dataset, model, corrected)
                cells = cells[np.isclose(cells.epsilon, epsilon, rtol=1e-4, atol=1e-9)]
                if len(cells):
                    cell = cells.iloc[0]
                    value = cell.pooled if kind == "accuracy" else 1 - cell.pooled
                    cuts = self.attack_cuts(corrected)
                    less = f" with {', '.join(cuts)}" if cuts else ""
                    title = self.title("attacks", pair["corrected"])
                    return f"the corrected attack, {title}, gives {value:.3f}{less}"
        return ""

    def table_model(self, file: str) -> str | None:
        """The model of the table that shows a file of printed hyper-parameters."""
        for spec in self.study.get("tables", {}).values():
            if spec.get("reported") == file:
                return spec.get("model")
        return None

    def side(self, row: SimpleNamespace, model: str, entry: Mapping, axis: int) -> float | None:
        """A side of the images that the model sees, or their channels."""
        size = _get(entry, "settings.input_size")
        if axis and size:
            return size
        dataset = self.name("datasets", row.dataset)
        shapes = [
            f["shape"] for key, f in self.facts.items() if (key[0], key[2]) == (dataset, model)
        ]
        return shapes[0][axis] if shapes else None


_JUDGES: tuple[tuple[str, str, Callable[..., _Judgement]], ...] = (
    (r"(accuracy|error_rate)", RESULT, _Run.result),
    (r"accuracy_gain_at_least", RESULT, _Run.gain),
    (r"(mean|median)_adversarial_distance", RESULT, _Run.distance),
    (r"(train|val)_(loss|accuracy)@epoch(\d+)", RESULT, _Run.curve),
    (r"hyperparameter:(.+)", SETTING, _Run.setting),
    (r"(latent_dimensions|(?:encoder|decoder|discriminator)\..+)", SETTING, _Run.architecture),
    (r"count_true(\d+)_pred(\d+)", COUNT, _Run.count),
    (r"(n_test|n_total_approx|n_images|n_classes|folds|epochs)", SETTING, _Run.fact),
    (r"(.+_minutes|.+_hours.*)", DURATION, _Run.duration),
)


def _setting(printed: float, value: float, owner: str) -> _Judgement:
    same = bool(np.isclose(printed, value, rtol=1e-6))
    reason = "a setting; as printed" if same else f"a setting; this run has {value:,g}"
    return _Judgement(
        "reproduced" if same else "differs", reason, value, delta=value - printed,
        compared_with=owner, agrees=float(same),
    )  # fmt: skip


def _unjudged(judged: _Judgement, reason: str) -> _Judgement:
    """The same numbers without a verdict on them, for a reason that stands first."""
    tail = judged.reason.partition("; ")[2]
    return judged._replace(
        verdict="not comparable", delta=np.nan, agrees=np.nan,
        reason=f"{reason}; {tail}" if tail else reason,
    )  # fmt: skip


def _cut(judged: _Judgement, cuts: Sequence[str]) -> _Judgement:
    """The same numbers without a verdict, for what the scale cut; whether they agree stays."""
    return judged._replace(
        verdict="not comparable", delta=np.nan, reason=f"{CUT}{', '.join(cuts)}; {judged.reason}"
    )


def _changes(changed: Mapping[str, Sequence]) -> list[str]:
    """Settings that the scale changed, in words: ``10 of 100 generations``."""
    words = []
    for path, (here, whole) in changed.items():
        name = path.partition(".")[2]
        # A count may be cut; a rate, or a part of a schedule, is only another one.
        count = all(type(value) is int for value in (here, whole)) and "." not in name
        name = re.sub(r"[._]", " ", name)
        words.append(
            f"{here:,} of {whole:,} {name}"
            if count and here < whole
            else f"{name} {here} instead of {whole}"
        )
    return words


def _scheme(key: Key) -> str:
    return Split.of(key[1]).scheme


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _get(entry: Any, path: str) -> Any:
    for key in path.split("."):
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    return entry
