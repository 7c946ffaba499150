"""All statistics of one study and what made them: accuracies, paired tests, checks, ledger."""

from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.inputs import AnalysisInputs
    from assay.analysis.kept import kept_run
    from assay.analysis.run_files import parse_run_files
    from assay.report.write import write_analyses

    params, folder = snakemake.params, Path(snakemake.input.kept[0]).parent
    with kept_run(folder, parse_run_files(params.manifest)) as manifest:
        inputs = AnalysisInputs.from_manifest(manifest, params.study)
        write_analyses(dict(snakemake.output.items()), inputs, code=params.code)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
