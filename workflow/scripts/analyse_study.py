"""All statistics of one study and what made them: accuracies, paired tests, checks, ledger."""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.inputs import AnalysisInputs
    from assay.analysis.origins import origins
    from assay.analysis.table_files import write_table
    from assay.analysis.tables import ANALYSES, analysis_table
    from assay.foundation.files import write_json

    study, output = snakemake.params.study, snakemake.output
    inputs = AnalysisInputs.from_manifest(snakemake.params.manifest, study)
    for name in ANALYSES:
        stem = Path(getattr(output, name)).with_suffix("")
        write_table(analysis_table(name, study, inputs), stem)
    write_json(output.provenance, origins(inputs, code=snakemake.params.code))


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
