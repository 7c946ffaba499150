"""What one job does that evaluates a network with all its suites and measurements.

At scales of small models (`job_per: model`) the jobs of a network share one process: most of a
second-long job is its start. Each task is the script of a rule with that rule's parameters, so that
results, their digests and finished chunks are those of jobs apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from assay.plan import paths
from assay.plan.cells import Training
from assay.plan.plan import Plan
from assay.plan.validation import Nested


def tasks(plan: Plan, network: Training, digest: Callable[..., str]) -> list[Nested]:
    """The tasks of one network, in an order in which each finds what it reads.

    Args:
        plan: the run table.
        network: the model on its split.
        digest: of a rule's script and of the code that catalogue entries name.

    Returns:
        Of each task ``script``, the name of its script; ``wildcards`` and ``params``, as the rule
        would give them; ``output``, places in the job's folder, by name or in a list; and
        ``examples``, places there that it reads.
    """
    ids = network._asdict()
    code = plan.entry("models", network.model)["implementation"]
    common = {"entry": plan.model(network.dataset, network.model), "seed": plan.seed}

    def task(script: str, output: Nested | list[str], params: Nested, *more: str, **rest) -> Nested:
        params = {**common, "code": digest(script, code, *more), **params}
        return {"script": script, "wildcards": ids, "examples": [], "output": output,
                "params": params, **rest}  # fmt: skip

    def measured() -> Iterator[Nested]:
        evaluation = {"evaluation": plan.configuration.scale["evaluation"]}
        studies = plan.studies.values()
        if network in plan.features:
            yield task("extract_features", ["features.npz"], evaluation)
        if any(network in study.importance for study in studies):
            yield task("examine_importance", ["importance.npz"], evaluation)
        if any(network in study.saliency_targets for study in studies):
            target = plan.saliency_targets(*network)
            attack = {"attack": target.attack, "epsilons": target.epsilons}
            implementation = target.attack["implementation"]
            yield task("map_saliency", ["saliency.npz"], evaluation | attack, implementation)
        if any(network == item[:3] for study in studies for item in study.reconstructions):
            example_attacks = plan.example_attacks(*network)
            examples = [
                f"suites/{suite}.examples.npz"
                for suite in dict.fromkeys(s for s, _ in example_attacks)
            ]
            yield task(
                "reconstruct_examples",
                ["reconstructions.npz"],
                {**evaluation, "example_attacks": example_attacks},
                examples=examples,
            )

    suites = [
        task(
            "run_suite",
            {
                "outcomes": f"suites/{suite}.parquet",
                "examples": f"suites/{suite}.examples.npz",
                "adversarials": f"suites/{suite}.adversarials.npz",
            },
            {
                "work": paths.work(
                    "run_suite", paths.SUITE_ID, scale=plan.scale, **ids, suite=suite
                ),
                "attacks": plan.suite(suite, network.dataset, network.model),
                "evaluation": plan.evaluation(*network),
            },
            wildcards={**ids, "suite": suite},
        )
        for suite in (cell.suite for cell in plan.cells if cell[:3] == network)
    ]
    return [*suites, *measured()]
