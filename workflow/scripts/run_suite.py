"""Attacks one trained model with one suite; one outcome row per sample, attack and epsilon.

A job of rule run_share does its share of the chunks, and packs them for the suite's own job.
"""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.evaluation.adversarials import write_adversarials
    from assay.evaluation.shares import pack_share, unpack_share
    from assay.evaluation.suite import run_suite
    from assay.evaluation.trained import TrainedJob
    from assay.foundation.files import digest_of
    from assay.foundation.outcomes import write_outcomes
    from assay.foundation.provenance import write_arrays

    job, params = TrainedJob(snakemake), snakemake.params
    share = None
    if item := getattr(snakemake.wildcards, "scatteritem", None):
        number, shares = map(int, item.split("-of-"))
        share = (number - 1, shares)
    work = Path(params.work)
    elsewhere = [unpack_share(path, work) for path in getattr(snakemake.input, "shares", ())]
    outcomes, examples = run_suite(
        job.model.victim(job.device),
        job.data.images,
        job.data.labels,
        job.indices,
        params.attacks,
        ids=job.ids,
        work=work,
        chunk=params.evaluation["chunk"],
        repeats=params.evaluation["repeats"],
        examples=params.evaluation["examples"],
        # Of the kind of device, not of its number: a resumed job may be given another one.
        key=digest_of({**job.facts(params.entry), "device": job.device.type}),
        seed=params.seed,
        share=share,
        keep_adversarials=params.evaluation["keep_adversarials"],
    )
    if share:
        pack_share(work, snakemake.output[0], seconds=job.seconds)
        return
    config = {"model": params.entry, "attacks": params.attacks, "evaluation": params.evaluation}
    made = job.made(config, attacks={attack["name"]: attack["code"] for attack in params.attacks})
    made["seconds"] = round(job.seconds + sum(elsewhere), 1)
    made["audit"] = outcomes.attrs["audit"]
    write_arrays(examples, snakemake.output.examples, made)
    write_adversarials(outcomes.attrs["adversarials"], snakemake.output.adversarials, made)
    write_outcomes(outcomes, snakemake.output.outcomes, made)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
