"""Divides a data set into training, validation and test images and measures what leaks."""

import time

import pandas as pd

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    import pyarrow as pa

    from assay.data.leaks import leaks
    from assay.data.splits import TRAIN, balanced_order, leakage, learning_seed, make_split
    from assay.foundation.files import atomic_path, digest_of, read_json
    from assay.foundation.provenance import provenance, write_parquet

    started = time.time()
    (scheme, index), seed = snakemake.params.scheme, snakemake.params.seed
    samples = pd.read_parquet(snakemake.input.samples)
    dataset = read_json(snakemake.input.dataset)
    classes = dataset["classes"]
    split = make_split(samples, scheme, index, seed=seed, classes=classes)
    made = provenance(
        code=snakemake.params.code,
        config=digest_of([scheme, index]),
        data=dataset["digest"],
        seed=seed,
        seconds=round(time.time() - started, 1),
    )
    names = snakemake.wildcards.dataset, snakemake.wildcards.split
    order = balanced_order(
        split.loc[split["subset"] == TRAIN, "sample"].to_numpy(),
        samples["label"].to_numpy(),
        seed=learning_seed(seed, *names, TRAIN),
    )
    for table, path in (
        (split, snakemake.output.split),
        (leaks(samples, split, order), snakemake.output.leaks),
    ):
        write_parquet(pa.Table.from_pandas(table, preserve_index=False), path, made)
    with atomic_path(snakemake.output.leakage) as path:
        leakage(samples, split, classes).to_csv(path, index=False)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
