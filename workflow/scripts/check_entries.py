"""Builds a model from outside once, and checks on random images that it can be evaluated."""

import logging

from assay.foundation.scripts import script_log

log = logging.getLogger(__name__)


def main(snakemake) -> None:
    from assay.evaluation.entries import check_entry
    from assay.foundation.device import use_threads
    from assay.foundation.files import read_json, write_json
    from assay.foundation.places import mirror_of

    use_threads(snakemake.threads)
    dataset, model = snakemake.wildcards.dataset, snakemake.wildcards.model
    known = read_json(snakemake.input.dataset)
    results = check_entry(
        model,
        snakemake.params.entry,
        classes=len(known["classes"]),
        shape=tuple(known["shape"]),
        mirror=mirror_of(snakemake.config),
    )
    for result in results:
        if result.status == "fail":
            log.warning("%s on %s: %s", model, dataset, result)
    write_json(snakemake.output[0], {"checks": [vars(result) for result in results]})


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
