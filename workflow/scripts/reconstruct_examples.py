"""Stores a model's reconstructions of example images and its certified radii."""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    import numpy as np

    from assay.evaluation.reconstructions import certify, explain
    from assay.evaluation.trained import TrainedJob
    from assay.foundation.provenance import write_arrays

    job, params = TrainedJob(snakemake), snakemake.params
    files = {Path(path).name.partition(".")[0]: path for path in snakemake.input.examples}
    stored = {suite: dict(np.load(path)) for suite, path in files.items()}
    known = {"device": job.device, "seed": params.seed}
    arrays = {
        "radii": certify(job.model, job.data.images, job.data.labels, job.indices, **known),
        "labels": job.data.labels[job.indices],
        "samples": job.indices,
        **explain(
            job.model,
            [(attack, stored[suite]) for suite, attack in params.example_attacks],
            **known,
        ),
    }
    made = job.made({"model": params.entry, "evaluation": params.evaluation})
    write_arrays(arrays, snakemake.output[0], made)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
