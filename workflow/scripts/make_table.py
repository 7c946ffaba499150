"""One table of a study as CSV, Markdown and LaTeX."""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.inputs import AnalysisInputs
    from assay.analysis.table_files import write_table
    from assay.analysis.tables import build_table

    study, spec = snakemake.params.study, snakemake.params.spec
    manifest, written = snakemake.params.manifest, snakemake.input.statistics
    inputs = AnalysisInputs.from_manifest(manifest, study, written)
    table = build_table(spec["kind"], spec, study, inputs)
    write_table(table, Path(snakemake.output.csv).with_suffix(""))


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
