"""All statistics of one study: accuracies, paired tests, checks, ledger and headline."""

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.inputs import AnalysisInputs
    from assay.analysis.tables import build_table, write_csv

    study = snakemake.params.study
    inputs = AnalysisInputs.from_manifest(snakemake.params.manifest, study)
    for name, target in snakemake.output.items():
        if name == "headline":
            write_csv(build_table("headline", study["headline"], study, inputs).tidy, target)
        else:
            write_csv(getattr(inputs, name), target)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
