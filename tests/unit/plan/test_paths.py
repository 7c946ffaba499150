"""Result paths have one home."""

import ast
import io
import re
import tokenize

import pytest

from assay.foundation.digest import code_digest
from assay.foundation.resources import ROOT
from assay.plan import paths
from assay.plan.cells import Training
from assay.plan.configuration import read_configuration
from assay.plan.plan import make_plan
from assay.plan.targets import make_targets
from assay.plan.tasks import tasks

WORKFLOW = ROOT / "workflow"
HOME = WORKFLOW / "assay/plan/paths.py"
FILES = [
    *WORKFLOW.rglob("*.py"),
    *WORKFLOW.rglob("*.smk"),
    WORKFLOW / "Snakefile",
    ROOT / "Snakefile",
]
WRITTEN = re.compile(r"\b(results|report)/(\{|\*)|[\"'](results|report)[\"']")
PLAN = make_plan(read_configuration({"scale": "smoke", "studies": ["millner2024", "ju2021_eabs"]}))


def strings(text):
    """The string literals of code that are no docstrings and the code between them."""
    documents = set()
    if "rule " not in text:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
                first = node.body[0]
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                    documents |= set(range(first.lineno, first.end_lineno + 1))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT and token.start[0] not in documents:
            yield token.string


def templates(text):
    """The result paths that code writes."""
    return [part for part in strings(text) if WRITTEN.search(part)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_other_file_writes_a_result_path(file):
    text = file.read_text(encoding="utf-8")
    found = templates(text)
    assert bool(found) == (file == HOME), found


def test_the_search_finds_paths_in_rules_and_in_code():
    assert templates('rule a:\n    output:\n        "results/{scale}/a.npz",\n')
    assert templates('def f(scale):\n    return f"report/{scale}/a.csv"\n')
    assert not templates('"""Reads report/{scale}/a.csv."""\n# results/{scale}/\n')


def test_every_result_file_of_a_plan_is_below_its_scale():
    targets = make_targets(PLAN)
    for path in (*targets.models, *targets.outcomes, *targets.splits):
        assert path.startswith("results/smoke/")
    for path in (targets.page, *targets.analyses):
        assert path.startswith("report/smoke/")


def digest(script, *implementations):
    return code_digest(WORKFLOW / f"scripts/{script}.py", *implementations)


def test_one_job_has_the_parameters_of_the_jobs_that_it_stands_for():
    network = Training(*PLAN.cells[0][:3])
    found = tasks(PLAN, network, digest)
    suites = {task["wildcards"]["suite"]: task for task in found if task["script"] == "run_suite"}
    assert list(suites) == [cell.suite for cell in PLAN.cells if cell[:3] == network]
    for suite, task in suites.items():
        params = task["params"]
        assert params["attacks"] == PLAN.suite(suite, network.dataset, network.model)
        assert params["evaluation"] == PLAN.evaluation(*network)
        implementation = PLAN.entry("models", network.model)["implementation"]
        assert params["code"] == digest("run_suite", implementation)
        assert params["work"].endswith("/".join(("work/run_suite", *network, suite)))


def test_one_job_measures_what_a_study_asks_for_and_nothing_else():
    measured = [
        tuple(task["wildcards"].values())
        for network in dict.fromkeys(Training(*cell[:3]) for cell in PLAN.cells)
        for task in tasks(PLAN, network, digest)
        if task["script"] == "measure_model"
    ]
    assert sorted(measured) == sorted(PLAN.measurements)
    assert len({item[3] for item in measured}) > 1


def test_a_measurement_s_task_has_the_parameters_of_its_job():
    for item in PLAN.measurements:
        task = next(
            task
            for task in tasks(PLAN, Training(*item[:3]), digest)
            if tuple(task["wildcards"].values()) == item
        )
        assert task["output"] == [f"measurements/{item.measurement}.npz"]
        params = task["params"]
        assert params["measurement"] == PLAN.measurement(item.measurement)
        assert params["reads"] == PLAN.reads(*item)
        assert params["code"] == digest("measure_model", *PLAN.measuring_code(*item))


def test_a_task_reads_only_what_tasks_before_it_have_made():
    for network in {Training(*cell[:3]) for cell in PLAN.cells}:
        made = set()
        for task in tasks(PLAN, network, digest):
            assert made.issuperset(task["examples"])
            outputs = task["output"]
            made |= set(outputs.values() if isinstance(outputs, dict) else outputs)


def test_a_suite_is_measured_with_the_job_that_runs_it():
    packed = PLAN.manifest("millner2024").outcomes[0]
    assert PLAN.packed
    assert packed.benchmark.startswith("results/smoke/benchmarks/evaluate_model/")
    apart = make_plan(read_configuration({"scale": "workstation", "studies": ["millner2024"]}))
    assert not apart.packed
    cell = apart.manifest("millner2024").outcomes[0]
    assert cell.benchmark.endswith(f"run_suite/{'/'.join(apart.cells[0])}.tsv")


def test_a_path_has_a_value_for_each_wildcard():
    with pytest.raises(KeyError, match="model"):
        paths.at(paths.WEIGHTS, scale="demo", dataset="phantom", split="kfold_0")
