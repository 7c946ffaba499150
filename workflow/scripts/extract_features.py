"""Stores a model's features of the evaluated test images, for projections."""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    import numpy as np

    from assay.data.dataset import load
    from assay.evaluation.features import extract
    from assay.evaluation.samples import evaluated_samples
    from assay.foundation.device import select_device, use_threads
    from assay.foundation.files import atomic_path
    from assay.models.base import build, load_weights

    use_threads(snakemake.threads)
    device = select_device(snakemake.config.get("device", "auto"))
    ids = snakemake.wildcards
    data = load(Path(snakemake.input.images).parent)
    indices = evaluated_samples(
        data,
        snakemake.input.split,
        snakemake.params.evaluation["samples"],
        seed=snakemake.params.seed,
        names=(ids.dataset, ids.split),
    )
    model = build(ids.model, snakemake.params.entry, classes=len(data.classes), shape=data.shape)
    load_weights(model, snakemake.input.weights)
    with atomic_path(snakemake.output[0]) as path:
        np.savez_compressed(
            path,
            features=extract(model, data.images, indices, device=device),
            labels=data.labels[indices],
            samples=indices,
        )


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
