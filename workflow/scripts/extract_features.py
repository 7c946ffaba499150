"""Stores a model's features of the evaluated test images, for projections."""

import time
from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.data.dataset import load
    from assay.evaluation.features import extract
    from assay.evaluation.samples import evaluated_samples
    from assay.foundation.device import select_device, use_threads
    from assay.foundation.files import digest_file, digest_of
    from assay.foundation.provenance import provenance, write_arrays
    from assay.models.base import build, load_weights

    use_threads(snakemake.threads)
    device = select_device(snakemake.config.get("device", "auto"))
    started = time.time()
    ids = {part: getattr(snakemake.wildcards, part) for part in ("dataset", "split", "model")}
    params = snakemake.params
    data = load(Path(snakemake.input.images).parent)
    indices = evaluated_samples(
        data,
        snakemake.input.split,
        params.evaluation["samples"],
        seed=params.seed,
        names=(ids["dataset"], ids["split"]),
    )
    model = build(ids["model"], params.entry, classes=len(data.classes), shape=data.shape)
    load_weights(model, snakemake.input.weights)
    arrays = {
        "features": extract(model, data.images, indices, device=device),
        "labels": data.labels[indices],
        "samples": indices,
    }
    made = provenance(
        code=params.code,
        config=digest_of({"model": params.entry, "evaluation": params.evaluation}),
        weights=digest_file(snakemake.input.weights),
        data=data.digest,
        seed=params.seed,
        device=str(device),
        threads=snakemake.threads,
        **ids,
        scale=snakemake.wildcards.scale,
        seconds=round(time.time() - started, 1),
    )
    write_arrays(arrays, snakemake.output[0], made)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
