"""What was run, for the page: attacks, their costs, catalogue entries, what made the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.analysis.attack_set import AttackSet
from assay.foundation.entries import is_trained
from assay.report.page_cells import Table
from assay.report.page_results import written
from assay.report.page_study import Nested, StudyFiles, norm_title

PROVENANCE_FACTS = {
    "models": "Trained networks",
    "outcomes": "Outcomes of attacks",
}
# What an attack needs of its classifier, as readers know it.
ACCESS = {
    "white_box": "white-box",
    "score": "score-based",
    "decision": "decision-based",
    "none": "none",
}
GROUPS = {"datasets": "Data", "models": "Classifiers", "attacks": "Attacks"}
# What digests are of, and where the ids of their parts have titles.
_DIGESTS = {
    "code": ("Code", ("suites", "models")),
    "attacks": ("Code of attacks", ("attacks",)),
    "data": ("Data", ("datasets",)),
}


def attacks_table(files: StudyFiles) -> Table:
    """Every attack that was run: what it needs, what it cost, where it is from."""
    passes = files.accuracy.groupby("attack")[["forwards", "backwards"]].max()
    rows = []
    for name, entry in files.study.attacks.items():
        spent = passes.loc[name] if name in passes.index else None
        rows.append(
            [
                files.title("attacks", name),
                norm_title(entry["norm"]),
                ACCESS.get(files.study.access[name], files.study.access[name]),
                *(
                    "–" if spent is None else f"{spent[kind]:,.0f}"
                    for kind in ("backwards", "forwards")
                ),
                entry["source"],
            ]
        )
    return Table.of(
        f"{files.id}-attacks",
        "Attacks and their cost",
        "Access: what an attack needs to know of the classifier. Passes: mean per image at the "
        "most expensive budget, for the classifier that needed most of them. An attack stops early "
        "on an image that is already misclassified.",
        ["Attack", "Norm", "Access", "Gradient passes", "Forward passes", "Source"],
        rows,
    )


def costs_table(files: StudyFiles) -> Table | None:
    """What the jobs cost; None where a report was written before costs were."""
    if not (files.folder / "statistics/costs.json").is_file():
        return None
    return written(files, f"{files.id}-costs", "statistics/costs", "Cost of the jobs")


def methods(files: StudyFiles) -> list[tuple[str, list[dict[str, Any]]]]:
    """(heading, entries) of data, classifiers, attacks, and of what made the files."""
    found = [
        (words, [_method(files, kind, *item) for item in files.study.entries(kind).items()])
        for kind, words in GROUPS.items()
        if files.study.entries(kind)
    ]
    return [*found, ("Provenance", _provenance_summary(files))]


def _method(files: StudyFiles, kind: str, name: str, entry: Nested) -> dict[str, Any]:
    """A catalogue entry in words: where it is from, how it differs, what it was set to."""
    lines = []
    if kind == "models" and (base := files.study.bases.get(name)):
        lines.append(f"Built on: {files.title(kind, base)}, whose trained network it decides with")
    if isinstance(entry.get("source"), str):
        lines.append(f"Source: {entry['source']}")
    differences = entry.get("differences") or []
    lines += [f"Differs: {text}" for text in differences]
    training = (entry.get("training") or {}) if is_trained(entry) else {}
    settings = _flat({**(entry.get("settings") or {}), **training})
    if settings:
        lines.append("Settings: " + ", ".join(settings))
    budgets = [files.budget(AttackSet.of(name), epsilon) for epsilon in entry.get("epsilons") or ()]
    if any(budgets):
        lines.append("Budgets: " + ", ".join(budgets) + f" ({norm_title(entry['norm'])})")
    return {"name": name, "title": files.title(kind, name), "lines": lines}


def _provenance_summary(files: StudyFiles) -> list[dict[str, Any]]:
    """What the files say made them, without the digests of configurations."""
    made = files.json("provenance.json")
    entries = []
    measured = made.get("measurements", {})
    kinds = [
        # A report that an earlier version wrote lacks some kinds.
        *((title, made.get(kind, {"files": 0})) for kind, title in PROVENANCE_FACTS.items()),
        *((files.title("measurements", name), facts) for name, facts in measured.items()),
        ("Analysis", made.get("analysis", {"files": 0})),
    ]
    for title, facts in kinds:
        count = facts.get("files")
        if count == 0:
            continue
        lines = [_work(facts)] if count else []
        for key, (words, titles) in _DIGESTS.items():
            lines.append(_listed(words, _titled(files, titles, facts.get(key))))
        versions = {"assay": facts.get("assay"), "Python": facts.get("python")}
        versions |= facts.get("packages", {})
        lines.append(_listed("Versions", {k: v for k, v in versions.items() if v}))
        lines.append(_listed("Platform", facts.get("platform")))
        size = "" if count is None else f"{count} file" + "s" * (count != 1)
        entries.append({"name": size, "title": title, "lines": list(filter(None, lines))})
    return entries


def _titled(files: StudyFiles, kinds: tuple[str, ...], values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    titles = {k: v for kind in kinds for k, v in files.study.titles.get(kind, {}).items()}
    return {titles.get(name, name): part for name, part in values.items()}


def _work(facts: Nested) -> str:
    """How long the making of files took, where and when: ``2.1 hours on cpu, 1 thread; …``."""
    seconds = facts["seconds"]
    size, unit = (seconds / 3600, "hours") if seconds >= 5400 else (seconds / 60, "minutes")
    threads = facts.get("threads")
    parts = [
        f"{size:.1f} {unit}",
        f" on {_joined(facts['device'])}" if facts.get("device") else "",
        f", {_joined(threads)} thread{'s' * (threads != [1])}" if threads else "",
        f"; seed {_joined(facts['seed'])}" if facts.get("seed") else "",
    ]
    days = list(dict.fromkeys(moment[:10] for moment in facts["written"]))
    return "".join(parts) + (f"; written {' to '.join(days)}" if days else "")


def _listed(words: str, values: Any) -> str:
    """Distinct values after a word: ``Code: White-box attacks 12ab, 34cd; Clean 56ef``."""
    if not values:
        return ""
    if isinstance(values, Mapping):
        return f"{words}: " + "; ".join(f"{key} {_joined(part)}" for key, part in values.items())
    return f"{words}: {_joined(values)}"


def _joined(values: Any) -> str:
    return ", ".join(map(str, values)) if isinstance(values, list) else str(values)


def _flat(settings: Nested, prefix: str = "") -> list[str]:
    """Nested settings as words: ``scheduler.gamma 0.1``."""
    words = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            words += _flat(value, f"{prefix}{key}.")
        else:
            words.append(f"{prefix}{key} {'none' if value is None else value}")
    return words
