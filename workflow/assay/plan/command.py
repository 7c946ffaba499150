"""The command ``assay``.

``assay init`` writes a folder for a run, ``assay run`` runs the workflow there, ``assay plan``
estimates what a run will cost, ``assay check`` says whether a model can be evaluated, and
``assay render`` makes a report again from the outcomes that are
kept with it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from assay.foundation.errors import AssayError
from assay.foundation.provenance import assay_version
from assay.plan.check_command import add_check, run_check
from assay.plan.configuration import read_configuration
from assay.plan.forecast import (
    COSTS,
    Forecast,
    Job,
    compared,
    forecast,
    read_costs,
    recorded,
    write_costs,
)
from assay.plan.machine import check_machine
from assay.plan.plan import make_plan
from assay.plan.working_folder import make_folder, run

_MOST_EXPENSIVE = 12


def main(arguments: list[str] | None = None) -> int:
    """The command ``assay``; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="assay",
        description="Prepare, plan and run a robustness evaluation; make its report again.",
    )
    parser.add_argument("--version", action="version", version=f"assay {assay_version()}")
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="write a folder for your own studies and settings")
    init.add_argument("folder", type=Path, help="the folder; existing files are never replaced")
    commands.add_parser(
        "run",
        help="run the workflow in this folder: snakemake --cores all, with any of its options",
        add_help=False,
    )
    plan = commands.add_parser("plan", help="estimate jobs, hours and disk space of a run")
    plan.add_argument("--scale", help="scale (default: that of config/config.yaml)")
    plan.add_argument(
        "--studies", help="studies, separated by commas (default: those of config/config.yaml)"
    )
    plan.add_argument(
        "--parallel", type=int, default=1, help="number of jobs at a time (GPUs or cores)"
    )
    plan.add_argument(
        "--most-expensive",
        type=int,
        default=_MOST_EXPENSIVE,
        help="number of most expensive jobs to list",
    )
    plan.add_argument(
        "--record",
        action="store_true",
        help=f"write the cost of the finished jobs in results/ to {COSTS} and use it",
    )
    plan.add_argument(
        "--check",
        action="store_true",
        help="also compare the cost of finished jobs in results/ with its estimate from the others",
    )
    add_check(commands)
    _add_render(commands)
    # What follows `run` is Snakemake's, its --help and --version too.
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["run"]:
        chosen = parser.parse_args(["run"])
        chosen.arguments = words[1:]
    else:
        chosen = parser.parse_args(words)
    chosen.status = 0
    tasks = {"init": _init, "run": _run, "plan": _plan, "check": _check, "render": _render}
    try:
        text = tasks[chosen.command](chosen)
    except AssayError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(text)
    return chosen.status


def _init(chosen: argparse.Namespace) -> str:
    made = make_folder(chosen.folder)
    return (
        "\n".join(
            [*map(str, made), "", f"start with: cd {shlex.quote(str(chosen.folder))} && assay run"]
        )
        + "\n"
    )


def _run(chosen: argparse.Namespace) -> str:
    return run(chosen.arguments)


def _check(chosen: argparse.Namespace) -> str:
    text, passed = run_check(chosen)
    chosen.status = int(not passed)
    return text


def _add_render(commands: argparse._SubParsersAction) -> None:
    render = commands.add_parser(
        "render",
        help="write tables, figures and page again from the kept outcomes",
        description=(
            "Writes the tables, statistics, figures and page of a report from the outcomes that "
            "are kept in its folder (outcomes.parquet, records.json, measurements.npz). It trains "
            "no network, runs no attack, and needs neither data sets nor PyTorch. Titles, columns "
            "and layout follow the current config/. Models, attacks and settings are those of the "
            "run. Rows computed by an earlier version of the code have 'earlier' in the column "
            "'code'."
        ),
    )
    render.add_argument("--scale", help="scale of the report (default: that of config/config.yaml)")
    render.add_argument(
        "--study", action="append", default=[], metavar="STUDY",
        help="a study to render; repeat the option for more (default: all kept studies)",
    )  # fmt: skip
    render.add_argument(
        "--only", action="append", default=[], metavar="NAME",
        help="a table or figure to draw from the statistics that the report holds; repeat the "
        "option for more (default: all, and the statistics too)",
    )  # fmt: skip
    render.add_argument(
        "--kept", type=Path, help="folder with a folder for each study (default: report/SCALE)"
    )
    render.add_argument(
        "--out", type=Path, help="folder to write to (default: the folder of the outcomes)"
    )


def _render(chosen: argparse.Namespace) -> str:
    # Statistics and drawing take seconds to import, and `assay plan` needs none of it.
    from assay.plan.render import message, render

    result = render(chosen.scale, chosen.study, only=chosen.only, kept=chosen.kept, out=chosen.out)
    return "\n".join(message(result)) + "\n"


def _plan(chosen: argparse.Namespace) -> str:
    given = {"scale": chosen.scale, "studies": chosen.studies}
    given = {key: value for key, value in given.items() if value}
    configuration = read_configuration(given, given_by="command line")
    plan, layers = make_plan(configuration), configuration.layers
    check_machine(plan)
    records = list(recorded(layers))
    if chosen.record:
        write_costs(records, layers.user / COSTS)
    checked = _checked(compared(records)) if chosen.check else []
    # What ran here says more than what ran elsewhere.
    known = {(record.rule, record.dataset, record.model, record.suite) for record in records}
    records += [
        record
        for record in read_costs(layers.find(COSTS) or layers.user / COSTS)
        if (record.rule, record.dataset, record.model, record.suite) not in known
    ]
    found = forecast(plan, records)
    heading = f"Scale {plan.scale}, studies {', '.join(plan.studies)}"
    return (
        "\n".join([heading, "", *_summary(found, chosen.parallel, chosen.most_expensive), *checked])
        + "\n"
    )


def _summary(found: Forecast, parallel: int, most_expensive: int) -> Iterable[str]:
    rows = [(rule, total, done) for rule, (total, done) in found.jobs.items()]
    rows.append(("all", sum(total for _, total, _ in rows), sum(done for _, _, done in rows)))
    yield tabulate(rows, headers=["rule", "jobs", "finished"])
    yield ""
    for rule, what in (("train_model", "Training"), ("run_suite", "Attacks")):
        yield f"{what}: {_hours(job for job in found.costs if job.rule == rule)}"
    yield f"Total: {_clock(found.seconds)}, {_parallel(found, parallel)}"
    yield f"Estimated from {found.records} recorded jobs ({', '.join(found.devices) or 'none'})"
    shares = _shares(found.costs)
    yield f"Hours by source of the estimate: {shares}" if shares else "No job is recorded yet"
    if found.assumed:
        yield f"Number of images not known, 10,000 assumed: {', '.join(found.assumed)}"
    disk = ", ".join(f"{what} {_size(size)}" for what, size in found.bytes.items())
    yield f"Disk: {_size(sum(found.bytes.values()))} ({disk})"
    if most_expensive:
        rows = [
            (
                _clock(job.seconds),
                "training" if job.rule == "train_model" else job.suite,
                job.model,
                job.dataset,
                job.split,
                job.basis,
            )
            for job in found.costs[:most_expensive]
        ]
        yield ""
        yield "The most expensive jobs"
        yield tabulate(
            rows, headers=["time", "job", "model", "data set", "split", "estimated from"]
        )


def _checked(found: pd.DataFrame) -> Iterable[str]:
    """How well the cost of finished jobs is estimated from other data sets, models and suites."""
    yield ""
    known = found.dropna(subset=["expected"])
    if known.empty:
        yield "No finished job can be estimated from the others"
        return
    ratio = known["expected"] / known["seconds"]
    within = ((ratio > 0.5) & (ratio < 2)).mean()
    total, expected = known["seconds"].sum(), known["expected"].sum()
    yield (
        f"{len(known)} finished jobs, each estimated from the others: {_clock(expected)} "
        f"estimated, {_clock(total)} measured (ratio {expected / total:.2f}). {within:.0%} of the "
        f"jobs are within a factor of 2; the median ratio is {ratio.median():.2f}"
    )


def _hours(jobs: Iterable[Job]) -> str:
    jobs = list(jobs)
    known = [job for job in jobs if job.seconds == job.seconds]
    total = _clock(sum(job.seconds for job in known))
    lacking = len(jobs) - len(known)
    return f"{total} in {len(jobs)} jobs" + (f", {lacking} of them unknown" if lacking else "")


def _parallel(found: Forecast, jobs: int) -> str:
    longest = max((job.seconds for job in found.costs if job.seconds > 0), default=0.0)
    plural = f"{jobs} job{'s' if jobs != 1 else ''}"
    return f"about {_clock(max(found.seconds / jobs, longest))} with {plural} at a time"


def _shares(costs: Iterable[Job]) -> str:
    sums: dict[str, float] = {}
    for job in costs:
        if job.seconds == job.seconds:
            sums[job.basis] = sums.get(job.basis, 0.0) + job.seconds
    total = sum(sums.values())
    parts = sorted(sums.items(), key=lambda item: -item[1])
    return ", ".join(f"{basis} {share / total:.0%}" for basis, share in parts if total)


def _clock(seconds: float) -> str:
    if seconds != seconds:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"


def _size(size: float) -> str:
    return f"{size / 2**20:,.0f} MB" if size < 2**30 else f"{size / 2**30:,.1f} GB"


if __name__ == "__main__":
    sys.exit(main())
