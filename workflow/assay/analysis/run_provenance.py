"""What made a study's numbers: what all its files say about themselves, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.run_files import KeptRun
from assay.foundation.files import digest_of
from assay.foundation.provenance import provenance, read_provenance

# Facts of one file alone; their sums and ranges stand in their place.
SINGLE = frozenset(
    {
        "dataset",
        "split",
        "model",
        "suite",
        "scale",
        "weights",
        "seconds",
        "written",
        "audit",
        "measurement",
    }
)
# By what a fact differs that is not the same in all files.
GROUPS = {
    "outcomes": {"code": "suite", "config": "suite", "data": "dataset"},
    "models": {"code": "model", "config": "model", "data": "dataset"},
    "measurements": {"code": "model", "config": "model", "data": "dataset"},
}


def provenance_summary(inputs: AnalysisInputs, *, code: str) -> dict[str, Any]:
    """The provenance of a study, fit for JSON.

    Args:
        inputs: the run.
        code: digest of the code of the analysis.

    Returns:
        ``study``, ``scale``, ``seed``; for each kind of file (outcomes, models, and by id the
        ``measurements``) how many
        ``files`` there are, their ``seconds`` together, when the first and the last were
        ``written``, and the distinct values of everything else that they say: digests of code
        and configuration (by suite or model) and of data, digests of the ``attacks``, seeds,
        devices, threads and versions; under ``earlier_code`` the attacks whose outcomes come from
        code that has changed since, by data set, split, model and suite; under ``inspections`` what
        was measured of each model before its attacks; and what the ``analysis`` itself ran on. The
        same files give the same text.

    Raises:
        AssayError: a file carries no provenance (the message names it).
    """
    manifest = inputs.manifest
    measured: dict[str, list[str]] = {}
    for item in manifest.measurements:
        measured.setdefault(item.measurement, []).append(item.path)
    made = provenance(code=code, config=digest_of(inputs.study.to_json()), seed=inputs.seed)
    # When it was drawn decides no number and would make every drawing differ.
    del made["written"]
    return {
        "study": inputs.study.name,
        "scale": inputs.scale,
        "seed": inputs.seed,
        "outcomes": together(inputs.made.values(), GROUPS["outcomes"]),
        # Models that borrow weights share a file.
        "models": _together((item.facts for item in manifest.models), "models"),
        "measurements": {
            name: _together(paths, "measurements") for name, paths in measured.items()
        },
        "inspections": _inspections(inputs.made.values()),
        "earlier_code": _earlier(manifest.earlier if isinstance(manifest, KeptRun) else ()),
        "analysis": made,
    }


def _together(paths: Iterable[str], kind: str) -> dict[str, Any]:
    return together(map(read_provenance, dict.fromkeys(paths)), GROUPS[kind])


def _inspections(facts: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By data set, split and model: the verdict of its inspection, and the findings in words."""
    found = {}
    for one in facts:
        if audit := one.get("audit"):
            texts = [f"{item['check']}: {item['what']}" for item in audit["findings"]]
            place = "/".join(one[part] for part in ("dataset", "split", "model"))
            found[place] = {"verdict": audit["verdict"], "findings": texts}
    return dict(sorted(found.items()))


def _earlier(cells: Iterable[tuple[str, ...]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for *place, attack in cells:
        found.setdefault("/".join(place), []).append(attack)
    return found


def together(facts: Iterable[Mapping[str, Any]], groups: Mapping[str, str]) -> dict[str, Any]:
    """The provenance of many files as one.

    Args:
        facts: the provenance of each file.
        groups: for facts that are kept apart, the fact by which they are.

    Returns:
        ``files``, ``seconds`` (sum), ``written`` (first and last), and for every other fact the
        sorted distinct values: a list, or a mapping of lists where the fact is itself a mapping
        or is kept apart.
    """
    facts = list(facts)
    written = sorted(one["written"] for one in facts if "written" in one)
    found: dict[str, Any] = {}
    for one in facts:
        for name, value in one.items():
            if name in SINGLE:
                continue
            if name in groups:
                value = {one.get(groups[name], "unknown"): value}
            if isinstance(value, Mapping):
                here = found.setdefault(name, {})
                for key, part in value.items():
                    here.setdefault(key, set()).add(part)
            else:
                found.setdefault(name, set()).add(value)
    return {
        "files": len(facts),
        "seconds": round(sum(one.get("seconds") or 0 for one in facts), 1),
        "written": [written[0], written[-1]] if written else [],
        **{
            name: {key: _sorted(values[key]) for key in sorted(values)}
            if isinstance(values, Mapping)
            else _sorted(values)
            for name, values in sorted(found.items())
        },
    }


def _sorted(values: set) -> list:
    return sorted(values - {None}, key=lambda value: (isinstance(value, str), value))
