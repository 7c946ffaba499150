"""One table of a study as CSV, Markdown and LaTeX."""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.inputs import AnalysisInputs
    from assay.analysis.kept import kept_run
    from assay.analysis.report import write_study_table

    params, folder = snakemake.params, Path(snakemake.input.kept[0]).parent
    with kept_run(folder, params.manifest) as manifest:
        inputs = AnalysisInputs.from_manifest(manifest, params.study, snakemake.input.statistics)
        write_study_table(params.spec, inputs, snakemake.output.csv)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
