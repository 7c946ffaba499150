"""The ledger: every number that a paper prints, beside this run's number, with a verdict.

A printed accuracy counts as *reproduced* if it lies within this run's 95 % interval widened by
``tolerance`` on both sides, and as *differs* otherwise. *not run* means that this run has no such
number, *not comparable* that it has one but the comparison would mean nothing: another data set
or network stands in, too few images were tested, or the number is a setting and not a result.
Where the scale cut training or attack, the reason of a verdict says by how much. No row is ever
dropped.
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

from assay.analysis.style import radius_text
from assay.foundation.errors import ConfigError

JUDGED = ("reproduced", "differs")
VERDICTS = (*JUDGED, "not run", "not comparable")
COLUMNS = (
    "file", "table", "dataset", "model", "attack", "norm", "epsilon", "metric", "reported",
    "reproduced", "low", "high", "delta", "n", "verdict", "reason", "note", "compared_with",
)  # fmt: skip
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
# Printed hyper-parameters that no setting of a model carries, and where they are decided.
ELSEWHERE = {
    "conv_kernel_size": "fixed in the code of the network",
    "trainval_fraction": "decided by the split scheme",
    "test_fraction": "decided by the split scheme",
}
# What the notes on printed numbers say of them.
REMARKS = {
    "CONFLICT": "the paper contradicts itself",
    "SUSPECT": "the printed cell is suspect",
    "MISPRINT": "the printed cell is a misprint",
}
# What stands in the reason of each verdict that was reached with less than the catalogue asks for.
CUT = "cut by the scale: "
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
        number, ``delta`` is reproduced minus reported, both NaN where there is no verdict on it.
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
    """Which rows of a ledger were judged although the scale cut training or attack."""
    return table.verdict.isin(JUDGED) & table.reason.fillna("").str.contains(CUT, regex=False)


def less_in_words(table: pd.DataFrame) -> str:
    """How many verdicts of a ledger were reached with less, as a clause; empty if none was."""
    less = int(reached_with_less(table).sum())
    if not less:
        return ""
    of = int(table.verdict.isin(JUDGED).sum())
    return f" ({less} of these {of} verdicts at a reduced budget: the scale cut training or attack)"


def rule_in_words(rule: Mapping[str, float] | None = None) -> str:
    """The rule as a sentence for captions."""
    rule = {**RULE, **(rule or {})}
    return (
        "Reproduced: the printed accuracy lies within this run's 95 % interval widened by "
        f"{rule['tolerance']:g} on both sides (losses: within {rule['relative_tolerance']:.0%}). "
        f"No verdict on fewer than {rule['minimum_n']:g} images or inside an interval wider than "
        f"{rule['widest_interval']:g}."
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
        if pd.isna(row.reported):
            return _Judgement("not run", "nothing is printed in this cell")
        for pattern, judge in _JUDGES:
            found = re.fullmatch(pattern, row.metric)
            if found:
                return judge(self, row, *found.groups())
        return _Judgement("not run", f"this study does not measure '{row.metric}'")

    def result(self, row: SimpleNamespace, kind: str) -> _Judgement:
        """An accuracy or an error rate against the outcomes."""
        dataset, model = self.name("datasets", row.dataset), self.name("models", row.model)
        attack = self.attack(row)
        for printed, name, what in (
            (row.dataset, dataset, "data set"), (row.model, model, "model"),
            (row.attack, attack, "attack"),
        ):  # fmt: skip
            if name is None:
                return _Judgement("not run", f"this study has no {what} for '{printed}'")
        cells = self.cells(dataset, model, attack)
        ids = ", ".join((dataset, model, attack))
        if cells.empty:
            return _Judgement("not run", f"{ids} was not run", compared_with=ids)
        undecided = self.undecided(cells.scheme)
        if undecided:
            return _Judgement("not comparable", undecided, compared_with=ids)
        epsilon = 0.0 if pd.isna(row.epsilon) else row.epsilon
        cell = cells[np.isclose(cells.epsilon, epsilon, rtol=1e-4, atol=1e-9)]
        if cell.empty:
            known = ", ".join(radius_text(value) for value in cells.epsilon)
            reason = f"{attack} was not run at epsilon {radius_text(epsilon)}, but at {known}"
            return _Judgement("not run", reason, compared_with=ids)
        cell = cell.iloc[0]
        value, low, high = cell.pooled, cell.low, cell.high
        if kind == "error_rate":
            value, low, high = 1 - value, 1 - high, 1 - low
        judged = self.verdict(row.reported, value, low, high, self.rule["tolerance"])
        judged = judged._replace(n=cell.n, compared_with=f"{ids}, epsilon {radius_text(epsilon)}")
        judged = _cut(judged, [*self.training_cuts(dataset, model), *self.attack_cuts(attack)])
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
        if judged.verdict == "reproduced" and high - low > self.rule["widest_interval"]:
            return _unjudged(
                judged, f"the interval is {high - low:.2f} wide: too few images to tell"
            )
        return judged

    def curve(self, row: SimpleNamespace, part: str, what: str, epoch: str) -> _Judgement:
        """A point of a training curve against the mean over splits at the same epoch."""
        dataset, model = self.name("datasets", row.dataset), self.name("models", row.model)
        mine = [key for key in self.history if self.ours(key, dataset, model)]
        runs = [self.history[key] for key in mine]
        if not runs:
            return _Judgement("not run", f"no training history of '{row.model}'")
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
            return _Judgement("not run", f"trained for {longest} epochs", compared_with=ids)
        batch = re.search(r"sum of a batch of (\d+)", row.note)
        scale = float(batch[1]) if what == "loss" and batch else 1.0
        values = scale * np.asarray(values)
        margin = self.rule["tolerance"]
        if what == "loss":
            margin = self.rule["relative_tolerance"] * abs(row.reported)
        judged = self.verdict(row.reported, values.mean(), values.min(), values.max(), margin)
        splits = f"range over {len(values)} split{'s' if len(values) > 1 else ''}"
        judged = judged._replace(reason=f"{judged.reason} ({splits})", compared_with=ids)
        cuts = self.training_cuts(dataset, model, without=("epochs",))
        judged = _cut(judged, cuts)
        substitute = self.substitute(dataset, model)
        if substitute:
            return _unjudged(judged, substitute)
        # Fewer images make another epoch; fewer images of validation only a coarser measurement.
        if self.training_cuts(dataset, model, without=("epochs", "validation_samples")):
            return _unjudged(judged, "an epoch of this run is not an epoch of the catalogue's")
        return judged

    def setting(self, row: SimpleNamespace, name: str) -> _Judgement:
        """A printed hyper-parameter against the catalogue entry that this run used."""
        model = self.name("models", row.model) or self.table_model(row.file)
        entry = self.study.get("models", {}).get(model)
        if entry is None:
            return _Judgement("not run", f"this study has no model for '{row.model}'")
        value = _get(entry, SETTINGS.get(name, ""))
        if name in SHAPE:
            value = self.side(row, model, entry, SHAPE[name])
        if value is None:
            reason = f"a setting; {ELSEWHERE.get(name, 'this run has no such setting')}"
            return _Judgement("not comparable", reason, compared_with=model)
        return _setting(row.reported, float(value), model)

    def architecture(self, row: SimpleNamespace, name: str) -> _Judgement:
        """A printed size of a network against that of the network that was trained."""
        dataset, model = self.name("datasets", row.dataset), self.name("models", row.model)
        for key, facts in self.facts.items():
            if self.ours(key, dataset, model) and name in facts.get("architecture", {}):
                return _setting(row.reported, float(facts["architecture"][name]), model)
        return _Judgement("not run", f"no network of '{row.model}' on '{row.dataset}'")

    def fact(self, row: SimpleNamespace, name: str) -> _Judgement:
        """A number of the paper's text (images, classes, folds, epochs) against this run's."""
        dataset = self.name("datasets", row.dataset)
        clean = self.of_scheme()
        clean = clean[(clean.dataset == dataset) & (clean.attack == "clean")]
        if clean.empty:
            return _Judgement("not run", f"this study has no data set for '{row.dataset}'")
        undecided = self.undecided(clean.scheme)
        if undecided:
            return _Judgement("not comparable", undecided, compared_with=dataset)
        substitute = self.substitute(dataset, None)
        if substitute:
            return _Judgement("not comparable", substitute, compared_with=dataset)
        models = [self.name("models", word) for word in self.study["reported"].get("models", {})]
        values = {
            "n_test": lambda: {dataset: (clean.n / clean.splits).max()},
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
            return _Judgement("not comparable", "a count; this run does not keep it")
        if len(set(values.values())) > 1:
            each = ", ".join(f"{owner}: {value:g}" for owner, value in values.items())
            return _Judgement("not comparable", f"a setting; differs: {each}")
        owner, value = next(iter(values.items()))
        return _setting(row.reported, value, owner)

    def count(self, row: SimpleNamespace, label: str, prediction: str) -> _Judgement:
        """A cell of a confusion matrix: its class order is unknown, so it is never judged."""
        return _Judgement(
            "not comparable",
            f"a count of images with true class {label} and decision {prediction}, from other test "
            "images; the order of the classes depended on the authors' machine",
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
            "reproduced" if agrees else "differs", reason, value, low, high, value - printed
        )

    def name(self, kind: str, word: str) -> str | None:
        """The id, stand-ins put in, for a word of the paper; None if the study maps none."""
        name = self.study["reported"].get(kind, {}).get(word)
        return self.study.get("stand_ins", {}).get(kind, {}).get(name, name)

    def attack(self, row: SimpleNamespace) -> str | None:
        """The id of a row's attack, by what its table's note says, its word and its norm."""
        noted = self.study["reported"].get("noted", {}).get(row.table)
        if noted:
            found = re.search(noted["pattern"], row.note)
            return noted["attack"].format(*found.groups()) if found else None
        word = row.attack.removesuffix("?") or "none"
        named = self.study["reported"].get("attacks", {}).get(word)
        return named.get(row.norm) if isinstance(named, Mapping) else named

    def distance(self, row: SimpleNamespace, what: str) -> _Judgement:
        """A mean or median distance of the closest broken images, which the print has by PGD."""
        dataset, model = self.name("datasets", row.dataset), self.name("models", row.model)
        mine = self.distances
        if len(mine):
            mine = mine[
                (mine.dataset == dataset) & (mine.model == model) & (mine.norm == row.norm.lower())
            ]
        if mine.empty:
            return _Judgement("not run", f"no distances of '{row.model}' on '{row.dataset}'")
        found = mine.iloc[0]
        return _Judgement(
            "not comparable",
            "the print's search for the radius is not described; here the closest broken image "
            f"of {found.attacks}",
            reproduced=float(found[what]),
            n=found.n,
            compared_with=f"{dataset}, {model}",
        )

    def cells(self, dataset: str, model: str, attack: str) -> pd.DataFrame:
        table = self.of_scheme()
        return table[
            (table.dataset == dataset) & (table.model == model) & (table.attack == attack)
        ].sort_values("epsilon")

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
        return f"run with {' and '.join(schemes)}, of which reported.splits of the study names none"

    def training_cuts(
        self, dataset: str | None, model: str | None, without: Sequence[str] = ()
    ) -> list[str]:
        """How the scale changed a model and its training, in words; `without` some settings."""
        changed = dict(self.study.get("scaled", {}).get("models", {}).get(model, {}))
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

    def attack_cuts(self, attack: str | None) -> list[str]:
        """How the scale changed an attack, in words."""
        return _changes(self.study.get("scaled", {}).get("attacks", {}).get(attack, {}))

    def substitute(self, dataset: str | None, model: str | None) -> str:
        """Which names stand in for those that the paper means, as a sentence; empty if none."""
        parts = []
        for kind, name in (("datasets", dataset), ("models", model)):
            originals = [
                original
                for original, stand_in in self.study.get("stand_ins", {}).get(kind, {}).items()
                if stand_in == name
            ]
            if originals:
                parts.append(f"{name} stands in for {' and '.join(originals)}")
        return "; ".join(parts)

    def corrected(self, dataset: str, model: str, attack: str, epsilon: float, kind: str) -> str:
        """What the corrected twin of a published attack gives, as a clause; empty if none."""
        for spec in self.study.get("tables", {}).values():
            for pair in spec.get("pairs", ()):
                if pair["published"] != attack:
                    continue
                cells = self.cells(dataset, model, pair["corrected"])
                cells = cells[np.isclose(cells.epsilon, epsilon, rtol=1e-4, atol=1e-9)]
                if len(cells):
                    cell = cells.iloc[0]
                    value = cell.pooled if kind == "accuracy" else 1 - cell.pooled
                    cuts = self.attack_cuts(pair["corrected"])
                    less = f" with {', '.join(cuts)}" if cuts else ""
                    return f"the corrected attack, {pair['corrected']}, gives {value:.3f}{less}"
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


_JUDGES: tuple[tuple[str, Callable[..., _Judgement]], ...] = (
    (r"(accuracy|error_rate)", _Run.result),
    (r"(mean|median)_adversarial_distance", _Run.distance),
    (r"(train|val)_(loss|accuracy)@epoch(\d+)", _Run.curve),
    (r"hyperparameter:(.+)", _Run.setting),
    (r"(latent_dimensions|(?:encoder|decoder|discriminator)\..+)", _Run.architecture),
    (r"count_true(\d+)_pred(\d+)", _Run.count),
    (r"(n_test|n_total_approx|n_classes|folds|epochs)", _Run.fact),
    (r"(.+_minutes|.+_hours.*)", _Run.duration),
)


def _setting(printed: float, value: float, owner: str) -> _Judgement:
    same = np.isclose(printed, value, rtol=1e-6)
    reason = "a setting; as printed" if same else f"a setting; differs: {value:g} here"
    return _Judgement("not comparable", reason, reproduced=value, compared_with=owner)


def _unjudged(judged: _Judgement, reason: str) -> _Judgement:
    """The same numbers without a verdict on them, for a reason that stands first."""
    tail = judged.reason.partition("; ")[2]
    return judged._replace(
        verdict="not comparable", delta=np.nan, reason=f"{reason}; {tail}" if tail else reason
    )


def _cut(judged: _Judgement, cuts: Sequence[str]) -> _Judgement:
    """The same verdict, with what the scale cut among its reasons."""
    return judged._replace(reason=f"{judged.reason}; {CUT}{', '.join(cuts)}") if cuts else judged


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
    return key[1].rpartition("_")[0]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _get(entry: Any, path: str) -> Any:
    for key in path.split("."):
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    return entry
