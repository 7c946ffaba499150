"""How many jobs of each rule a plan has, and how many of them are finished."""

from __future__ import annotations

from pathlib import Path

from assay.plan import paths
from assay.plan.cells import Training
from assay.plan.plan import Plan


def job_counts(plan: Plan, root: Path) -> dict[str, tuple[int, int]]:
    """The jobs of a plan by rule, and of how many of them the files are there.

    Args:
        plan: the run table.
        root: the folder that holds ``results/`` and ``report/``.
    """
    splits = dict.fromkeys((cell.dataset, cell.split) for cell in plan.cells)
    files = {
        "prepare_dataset": [
            (paths.DATASET_FACTS, {"dataset": name}) for name in dict.fromkeys(s[0] for s in splits)
        ],
        "make_split": [(paths.SPLIT, {"dataset": on, "split": split}) for on, split in splits],
        "fetch_weights": [
            (paths.PRETRAINED, {"model": name})
            for name in dict.fromkeys(item.model for item in plan.trainings)
            if plan.pretrained(name)
        ],
        "check_entries": [
            (paths.CHECKED, {"dataset": dataset, "model": model})
            for dataset, model in dict.fromkeys((i.dataset, i.model) for i in plan.trainings)
            if plan.checked(dataset, model)
        ],
        **{
            rule: [(template, item._asdict()) for item in items]
            for rule, template, items in (
                ("train_model", paths.MODEL_FACTS, plan.trainings),
                ("run_suite", paths.OUTCOMES, plan.cells),
                ("measure_model", paths.MEASUREMENT, plan.measurements),
            )
        },
        "keep_outcomes": [(paths.KEPT_RECORDS, {"study": name}) for name in plan.studies],
        "analyse_study": [(paths.analysis("ledger"), {"study": name}) for name in plan.studies],
        "make_table": [
            (paths.table("csv"), {"study": name, "table": table})
            for name, study in plan.studies.items()
            for table in study.tables
        ],
        "make_figure": [
            (paths.figure("svg"), {"study": name, "figure": figure})
            for name, study in plan.studies.items()
            for figure in study.figures
        ],
        "render_page": [(paths.PAGE, {})],
    }
    there = {
        rule: [
            (root / paths.at(template, scale=plan.scale, **ids)).exists() for template, ids in of
        ]
        for rule, of in files.items()
    }
    # Its own files are temporary: it is done where those that are copied from them are there.
    drawn: dict[str, list[bool]] = {}
    for rule in ("make_table", "make_figure"):
        for (_, ids), made in zip(files[rule], there[rule], strict=True):
            drawn.setdefault(ids["study"], []).append(made)
    there["draw_study"] = [all(made) for made in drawn.values()]
    if plan.packed:
        # What such a job makes goes to its places at once: it is done where the outcomes are there.
        networks: dict[Training, list[bool]] = {}
        for cell, made in zip(plan.cells, there["run_suite"], strict=True):
            networks.setdefault(cell.network, []).append(made)
        there["evaluate_model"] = [all(made) for made in networks.values()]
    return {rule: (len(found), sum(found)) for rule, found in there.items() if found}
