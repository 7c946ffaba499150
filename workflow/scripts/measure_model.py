"""Stores one measurement of a trained model: arrays that follow the measurement's schema."""

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    import numpy as np

    from assay.evaluation.measurements.base import Data, make_measurement, measured
    from assay.evaluation.trained import TrainedJob
    from assay.foundation.files import digest_file
    from assay.foundation.provenance import write_arrays

    job, params = TrainedJob(snakemake), snakemake.params
    reads = params.reads
    suites = dict.fromkeys(suite for suite, _ in reads["examples"])
    stored = {
        suite: dict(np.load(path))
        for suite, path in zip(suites, snakemake.input.examples, strict=True)
    }
    data = Data(
        images=job.data.images,
        labels=job.data.labels,
        indices=job.indices,
        masks=job.data.masks,
        device=job.device,
        seed=params.seed,
        shown=params.evaluation["examples"],
        attack=reads["attack"],
        epsilons=reads["epsilons"],
        examples=[(attack, stored[suite]) for suite, attack in reads["examples"]],
    )
    measurement = make_measurement(params.measurement, located_in=snakemake.config)
    arrays = measured(measurement, job.model, data)
    made = job.made(
        {
            "model": params.entry,
            "measurement": params.measurement,
            "files": {name: digest_file(getattr(measurement, name)) for name in measurement.files},
            "reads": reads,
            "evaluation": params.evaluation,
        }
    )
    write_arrays(arrays, snakemake.output[0], made)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
