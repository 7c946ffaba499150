"""Fetches, verifies and decodes one data set into a memory-mapped array."""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.data.prepare import prepare
    from assay.foundation.places import downloads_of, mirror_of

    settings = snakemake.config
    prepare(
        snakemake.wildcards.dataset,
        snakemake.params.entry,
        Path(snakemake.output.images).parent,
        mirror=mirror_of(settings),
        cache=downloads_of(settings),
        seed=snakemake.params.seed,
        code=snakemake.params.code,
    )


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
