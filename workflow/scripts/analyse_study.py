"""All statistics of one study: accuracies, paired tests, checks, ledger and headline."""

from pathlib import Path

from assay.foundation.scripts import script_log

STATISTICS = ("accuracy", "mcnemar", "ranking", "cochran", "resampled_t", "ledger", "checks")


def main(snakemake) -> None:
    from assay.analysis.inputs import AnalysisInputs
    from assay.analysis.tables import build_table, write_csv, write_table

    study, output = snakemake.params.study, snakemake.output
    inputs = AnalysisInputs.from_manifest(snakemake.params.manifest, study)
    for name in STATISTICS:
        write_csv(getattr(inputs, name), getattr(output, name))
    headline = build_table("headline", study["headline"], study, inputs)
    write_table(headline, Path(output.headline[0]).with_suffix(""))


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
