"""What printed numbers are compared with: a run's numbers, its cuts and its substitutes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pandas as pd

from assay.analysis.attack_set import AttackSet
from assay.analysis.brief import StudyBrief
from assay.analysis.ledger.agreement import Agreement, changes
from assay.analysis.printed import attack_of, id_of, model_of, variant_in, varied
from assay.analysis.titles import attack_title, title_of
from assay.foundation.split import Split

Key = tuple[str, str, str]
# A printed number: the columns of :func:`read_reported`, `reported` for `value`.
Row = SimpleNamespace


@dataclass(frozen=True)
class Run:
    """What this run knows of itself and of the paper's words.

    Attributes: the arguments of :func:`assay.analysis.ledger.ledger`.
    """

    accuracy: pd.DataFrame
    study: StudyBrief
    rule: Mapping[str, float]
    history: Mapping[Key, pd.DataFrame]
    facts: Mapping[Key, Mapping[str, Any]]
    subsets: Mapping[Key, int]
    distances: pd.DataFrame

    def lacking(self, kind: str, word: str, what: str) -> Agreement:
        """Why the study has nothing for a word of the paper: the study, or the scale."""
        if word in self.study.excluded.words(kind):
            return Agreement("not run", f"scale {self.study.scale} excludes the {what} '{word}'")
        return Agreement("not run", f"this study has no {what} for '{word}'")

    def planned(self, dataset: str, model: str, attack: AttackSet) -> bool:
        """Whether the study as written runs an attack on a model and a data set, at any scale."""
        return any(
            dataset in block.datasets
            and model in block.models
            and attack in map(AttackSet.of, block.attacks)
            for block in self.study.excluded.grid
        )

    def scaled(self, kind: str, name: str | None) -> Mapping[str, Sequence]:
        """What the scale changed in an entry: path to [here, in the catalogue]."""
        return self.study.scaled.get(kind, {}).get(name or "", {})

    def title(self, kind: str, name: str | None) -> str:
        """What readers call an entry."""
        return title_of(self.study, kind, name or "")

    def in_words(self, dataset: str, model: str, attack: AttackSet) -> str:
        """Data set, model and attack, by their titles."""
        titles = self.title("datasets", dataset), self.title("models", model)
        return ", ".join((*titles, attack_title(self.study, attack)))

    def name(self, kind: str, word: str) -> str | None:
        """The id of a data set or model, by the paper's word."""
        return id_of(self.study, kind, word)

    def model(self, row: Row) -> str | None:
        """The id of a row's model, by the paper's word, the data set and the setting."""
        return model_of(self.study, row)

    def lacking_model(self, row: Row) -> Agreement:
        """Why the study has no model for a row: the study, or the scale."""
        if not varied(self.study, row) and row.model not in self.study.excluded.variants:
            return self.lacking("models", row.model, "model")
        named = f"'{row.model}'" + (f" with {row.setting} {row.level}" if row.setting else "")
        if variant_in(self.study.excluded.variants, self.study, row):
            return Agreement("not run", f"scale {self.study.scale} excludes the model {named}")
        return Agreement("not run", f"this study has no model for {named}")

    def attack(self, row: Row) -> AttackSet | None:
        """A row's attack, or its worst case over several."""
        return attack_of(self.study, row)

    def cells(self, dataset: str, model: str, attack: AttackSet) -> pd.DataFrame:
        table = self.of_scheme()
        mine = (table.dataset == dataset) & (table.model == model) & attack.among(table)
        return table[mine].sort_values("epsilon")

    @property
    def scheme(self) -> str | None:
        """The split scheme that the printed numbers are held against, if the study names one."""
        return self.study.reported.splits

    def of_scheme(self) -> pd.DataFrame:
        table = self.accuracy
        return table if self.scheme is None else table[table.scheme == self.scheme]

    def ours(self, key: Key, dataset: str | None, model: str | None) -> bool:
        """Whether a network is one that the printed numbers of this model are held against."""
        return (key[0], key[2]) == (dataset, model) and self.scheme in (None, scheme_of(key))

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
            *changes(changed),
        ]

    def fewer(
        self, caps: Sequence | None, dataset: str | None, model: str | None, subset: str
    ) -> str:
        """How many images of a part were used instead of how many; empty if no fewer were."""
        if caps is None:
            return ""
        here, whole = caps
        keys = [key for key in self.facts if self.ours(key, dataset, model)]
        used = max((self.facts[key].get(f"{subset}_n", here) for key in keys), default=here)
        there = max((self.subsets.get((*key[:2], subset), 0) for key in keys), default=0)
        # The catalogue's own cap, or all that the split has.
        whole = min(filter(None, (whole, there)), default=None)
        if whole is None:
            return f"on {used:,} images, not on all"
        return f"on {used:,} of {whole:,} images" if used < whole else ""

    def attack_cuts(self, attack: AttackSet) -> list[str]:
        """How the scale changed an attack, in words."""
        return changes({} if attack.worst_case else self.scaled("attacks", attack.name))

    def substitute(self, dataset: str | None, model: str | None) -> str:
        """Which entries are substitutes for what the paper used, as a clause; empty if none is."""
        clauses = []
        used = self.study.datasets.get(dataset or "", {}).get("substitute_for")
        if used:
            clauses.append(f"{self.title('datasets', dataset)} is a substitute for {used}")
        for kind, name in (("datasets", dataset), ("models", model)):
            originals = [
                original
                for original, substitute in self.study.substitutes.get(kind, {}).items()
                if substitute == name
            ]
            if originals:
                named = " and ".join(self.title(kind, original) for original in originals)
                clauses.append(f"{self.title(kind, name)} is a substitute for {named}")
        return "; ".join(clauses)


def scheme_of(key: Key) -> str:
    return Split.of(key[1]).scheme
