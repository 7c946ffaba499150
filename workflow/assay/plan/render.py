"""``assay render``: a report made again from what is kept with it, without training or attacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from assay.analysis.brief import StudyBrief, parse_brief
from assay.analysis.code_age import EARLIER
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.kept import FILES, as_it_ran, kept_run, read_records
from assay.analysis.run_files import KeptRun
from assay.foundation.digest import code_digest
from assay.foundation.errors import AssayError, ConfigError
from assay.foundation.resources import ROOT
from assay.plan import paths
from assay.plan.cells import trained_for
from assay.plan.configuration import read_configuration
from assay.plan.layers import Layers
from assay.plan.plan import Plan, make_plan
from assay.plan.validation import unknown
from assay.report.page import render_page
from assay.report.write import write_analyses, write_drawings

SCRIPTS = ROOT / "workflow" / "scripts"


@dataclass
class Rendered:
    """What was written, and what could not be.

    Attributes:
        page: path of the page.
        studies: ids of the studies that were rendered.
        skipped: a line for each table and figure that the kept files do not allow.
        earlier: how many rows of accuracies come from earlier code, by study.
    """

    page: Path
    studies: list[str]
    skipped: list[str] = field(default_factory=list)
    earlier: dict[str, int] = field(default_factory=dict)


def render(
    scale: str | None = None,
    studies: Sequence[str] = (),
    *,
    only: Sequence[str] = (),
    kept: Path | None = None,
    out: Path | None = None,
) -> Rendered:
    """Writes tables, statistics, figures and page of studies from the files kept with them.

    Words and layout are those of today's configuration. What was run, and with which settings, is
    what the kept files say.

    Args:
        scale: of the report; that of ``config/config.yaml`` if not given.
        studies: ids of the studies; all that are kept if not given.
        only: names of tables and figures; no others are drawn, and statistics are not computed.
        kept: folder with a folder per study; ``report/{scale}`` if not given.
        out: where the files go, likewise; `kept` if not given.

    Raises:
        AssayError: a kept file is missing, damaged or of another version, or a study is unknown.
    """
    given = {"scale": scale} if scale else {}
    configuration = read_configuration(given, given_by="command line")
    scale, layers = configuration.settings["scale"], configuration.layers
    kept = kept or layers.user / paths.at(paths.REPORT, scale=scale)
    out = out or kept
    if studies:
        # Else a typing mistake reads as loss.
        read_configuration({**given, "studies": list(studies)}, given_by="command line")
    chosen = list(dict.fromkeys(studies)) or _kept_studies(kept, scale, layers)
    for study in chosen:
        _check_kept(kept / study, study, scale)
    # The page in a report's own folder shows all of its studies.
    shown = list(
        dict.fromkeys([*(_kept_studies(kept, scale, layers) if out == kept else ()), *chosen])
    )
    plan = make_plan(read_configuration({**given, "studies": shown}))
    result = Rendered(out / "index.html", chosen)
    briefs = {name: _as_it_ran(plan, name, kept) for name in shown}
    _check_only(only, [briefs[name] for name in chosen])
    jobs = [(plan, briefs[name], kept / name, out / name, only) for name in chosen]
    for name, (skipped, earlier) in zip(chosen, _side_by_side(jobs), strict=True):
        result.skipped += skipped
        result.earlier[name] = earlier
    written = [_with_what_is_there(brief, out / name) for name, brief in briefs.items()]
    render_page(scale, written, result.page)
    return result


def _side_by_side(jobs: Sequence[tuple]) -> Iterable[tuple[list[str], int]]:
    """What :func:`_render_study` gives for each job, on as many cores as there are."""
    workers = min(len(jobs), len(os.sched_getaffinity(0))) if sys.platform == "linux" else 1
    if workers < 2:
        yield from (_render_study(*job) for job in jobs)
        return
    # What is imported already need not be imported again: half of a small report's time.
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        yield from pool.map(_render_study, *zip(*jobs, strict=True))


def _check_only(only: Sequence[str], studies: Sequence[StudyBrief]) -> None:
    """The studies have the tables and figures that are named."""
    known = [name for study in studies for name in (*study.tables, *study.figures)]
    for name in only:
        if name not in known:
            place = f"config/studies/ of {', '.join(study.name for study in studies)}"
            raise unknown("table or figure called", name, known, "--only", place)


def _render_study(
    plan: Plan, study: StudyBrief, kept: Path, out: Path, only: Sequence[str] = ()
) -> tuple[list[str], int]:
    """Writes a study's files; returns what was skipped and how many rows are of earlier code."""
    name, skipped = study.name, []
    user = plan.configuration.layers.user
    with kept_run(kept, plan.manifest(name)) as found:
        manifest = replace(
            found,
            seed=found.seed if study.seed is None else study.seed,
            reported=tuple(str(user / path) for path in found.reported),
            earlier=tuple(earlier_code(plan, found)),
        )
        places = {Path(place).name: out / f"{place}.csv" for place in paths.ANALYSES}
        if not only:
            inputs = AnalysisInputs.from_manifest(manifest, study)
            digest = code_digest(SCRIPTS / "analyse_study.py")
            write_analyses({**places, "provenance": out / "provenance.json"}, inputs, code=digest)
        elif lacking := [path for path in places.values() if not path.is_file()]:
            raise AssayError(
                "there are no statistics to draw from",
                where=str(lacking[0]),
                remedy="render the whole study once, without --only",
            )
        # As in a run: tables and figures are made from the statistics as they were written.
        inputs = AnalysisInputs.from_manifest(manifest, study, list(places.values()))
        earlier = int((inputs.accuracy["code"] == EARLIER).sum())
        for place, error in write_drawings(inputs, out, only).items():
            # What was not run cannot be shown.
            if not isinstance(error, ConfigError):
                raise error
            skipped.append(f"{name}/{place}: {error}")
    return skipped, earlier


def earlier_code(plan: Plan, manifest: KeptRun) -> list[tuple[str, ...]]:
    """Attacks on networks whose code is not today's, by the digests that the kept files carry.

    Code is that of the attack, that of the evaluation with the network, and that which trained it
    and the networks that it needs: what Snakemake would compute again.

    Args:
        plan: today's plan.
        manifest: of a kept run (:func:`assay.analysis.kept.kept_run`).

    Returns:
        (dataset, split, model, suite, attack) of each.
    """
    known = AnalysisInputs(manifest)
    models, attacks = (plan.configuration.catalogue[kind] for kind in ("models", "attacks"))

    @cache
    def today(*sources: str | Path) -> str | None:
        try:
            return code_digest(*sources)
        except AssayError:
            return None

    @cache
    def trained_before(dataset: str, split: str, model: str) -> bool:
        for name in trained_for(models, model):
            # Facts of a model that shares weights are those of the model that was trained.
            key = (dataset, split, model if name == plan.weights_owner(model) else name)
            code = known.facts.get(key, {}).get("provenance", {}).get("code")
            now = today(SCRIPTS / "train_model.py", *plan.training_code(dataset, name))
            if code not in (None, now):
                return True
        return False

    found: list[tuple[str, ...]] = []
    for (dataset, split, model, suite), made in known.made.items():
        evaluating = today(SCRIPTS / "run_suite.py", models[model]["implementation"])
        changed = made.get("code") != evaluating or trained_before(dataset, split, model)
        for attack, code in made.get("attacks", {}).items():
            entry = attacks.get(attack)
            if changed or entry is None or code != today(entry["implementation"]):
                found.append((dataset, split, model, suite, attack))
    return found


def _as_it_ran(plan: Plan, name: str, kept: Path) -> StudyBrief:
    """A kept study in the words of today with the facts of its run."""
    records = read_records(kept / name)
    ran = parse_brief(records.get("study", {}), where=f"{kept / name / FILES[1]}: study")
    return as_it_ran(plan.brief(name), ran)


def _with_what_is_there(study: StudyBrief, folder: Path) -> StudyBrief:
    """The study with those of its tables and figures that are written."""
    tables, figures = (
        {name: spec for name, spec in specs.items() if (folder / kind / f"{name}.{form}").is_file()}
        for kind, form, specs in (
            ("tables", "csv", study.tables),
            ("figures", "svg", study.figures),
        )
    )
    return replace(study, tables=tables, figures=figures)


def _kept_studies(kept: Path, scale: str, layers: Layers) -> list[str]:
    """Ids of the studies that have kept files, in the order of their names."""
    known = layers.names("config/studies")
    found = sorted(path.parent.name for path in kept.glob(f"*/{FILES[0]}"))
    found = [name for name in found if name in known]
    if not found:
        raise AssayError(
            f"no kept study found: there is no file */{FILES[0]}",
            where=kept,
            remedy=f"run a study (snakemake --cores all --config scale={scale}), or name another "
            "--scale",
        )
    return found


def _check_kept(folder: Path, study: str, scale: str) -> None:
    for name in FILES:
        if not (folder / name).is_file():
            raise AssayError(
                "the file is missing",
                where=folder / name,
                remedy="take it from the repository, or run the study "
                f"(snakemake --cores all --config scale={scale} studies={study})",
            )


def message(result: Rendered) -> Iterable[str]:
    """What the command says at its end, line by line."""
    for line in result.skipped:
        yield f"skipped   {line}"
    for study, count in result.earlier.items():
        if count:
            yield (
                f"{study}: {count} rows of statistics/accuracy.csv were computed by an earlier "
                "version of the code (column 'code'); run the study again to update them"
            )
    yield f"rendered  {', '.join(result.studies)}"
    yield f"page      {result.page}"
