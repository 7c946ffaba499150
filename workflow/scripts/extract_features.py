"""Stores a model's features of the evaluated test images, for projections."""

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.evaluation.features import extract
    from assay.evaluation.trained import TrainedJob
    from assay.foundation.provenance import write_arrays

    job, params = TrainedJob(snakemake), snakemake.params
    arrays = {
        "features": extract(job.model, job.data.images, job.indices, device=job.device),
        "labels": job.data.labels[job.indices],
        "samples": job.indices,
    }
    made = job.made({"model": params.entry, "evaluation": params.evaluation})
    write_arrays(arrays, snakemake.output[0], made)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
