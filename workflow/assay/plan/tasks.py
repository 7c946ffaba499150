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
        for item in plan.measurements:
            if item.network != network:
                continue
            reads = plan.reads(*item)
            yield task(
                "measure_model",
                [f"measurements/{item.measurement}.npz"],
                {
                    "code": digest("measure_model", *plan.measuring_code(*item)),
                    "measurement": plan.measurement(item.measurement),
                    "reads": reads,
                    "evaluation": plan.configuration.scale["evaluation"],
                },
                wildcards=item._asdict(),
                examples=[
                    f"suites/{suite}.examples.npz"
                    for suite in dict.fromkeys(suite for suite, _ in reads["examples"])
                ],
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
        for suite in (cell.suite for cell in plan.cells if cell.network == network)
    ]
    return [*suites, *measured()]
