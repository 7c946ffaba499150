"""Stores how well importance sampling estimates what a generative classifier decides by."""

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.evaluation.importance import importance_health
    from assay.evaluation.trained import TrainedJob
    from assay.foundation.provenance import write_arrays

    job, params = TrainedJob(snakemake), snakemake.params
    arrays = importance_health(
        job.model,
        job.data.images,
        job.data.labels,
        job.indices,
        device=job.device,
        seed=params.seed,
    )
    made = job.made({"model": params.entry, "evaluation": params.evaluation})
    write_arrays({**arrays, "samples": job.indices}, snakemake.output[0], made)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
