"""Attacks one trained model with one suite; one outcome row per sample, attack and epsilon.

A job of rule run_share does its share of the chunks and leaves it to the suite's own job.
"""

import time
from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.evaluation.suite import run_suite
    from assay.evaluation.trained import open_trained
    from assay.foundation.device import select_device, use_threads
    from assay.foundation.files import digest_file, digest_of
    from assay.foundation.outcomes import write_outcomes
    from assay.foundation.provenance import provenance, write_arrays

    use_threads(snakemake.threads)
    device = select_device(snakemake.config.get("device", "auto"))
    started = time.time()
    ids = {
        part: getattr(snakemake.wildcards, part) for part in ("dataset", "split", "model", "suite")
    }
    params = snakemake.params
    share = None
    if item := getattr(snakemake.wildcards, "scatteritem", None):
        number, shares = map(int, item.split("-of-"))
        share = (number - 1, shares)

    data, indices, model = open_trained(
        snakemake.input, ids, params.entry, params.evaluation["samples"], seed=params.seed
    )
    facts = {
        "code": params.code,
        "config": digest_of(
            {"model": params.entry, "attacks": params.attacks, "evaluation": params.evaluation}
        ),
        "weights": digest_file(snakemake.input.weights),
        "data": data.digest,
        "seed": params.seed,
        "device": str(device),
        "threads": snakemake.threads,
    }
    outcomes, examples = run_suite(
        model.victim(device),
        data.images,
        data.labels,
        indices,
        params.attacks,
        ids=ids,
        work=Path("results", snakemake.wildcards.scale, "work", "run_suite", *ids.values()),
        chunk=params.evaluation["chunk"],
        replays=params.evaluation["replays"],
        examples=params.evaluation["examples"],
        # Of the kind of device, not of its number: a resumed job may be given another one.
        key=digest_of({**facts, "device": device.type, "config": digest_of(params.entry)}),
        seed=params.seed,
        share=share,
    )
    if share:
        return
    made = provenance(
        **facts,
        **ids,
        attacks={attack["name"]: attack["code"] for attack in params.attacks},
        scale=snakemake.wildcards.scale,
        seconds=round(time.time() - started, 1),
    )
    write_arrays(examples, snakemake.output.examples, made)
    write_outcomes(outcomes, snakemake.output.outcomes, made)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
