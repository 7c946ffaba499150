"""All tables and figures of one study; of one that cannot be drawn, the reason in its place."""

import shutil
from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.inputs import AnalysisInputs
    from assay.analysis.kept import kept_run
    from assay.analysis.run_files import parse_run_files
    from assay.foundation.errors import AssayError
    from assay.foundation.files import write_text
    from assay.report.write import write_drawings

    params, folder = snakemake.params, Path(snakemake.input.kept[0]).parent
    drawn = Path(snakemake.output[0])
    shutil.rmtree(drawn, ignore_errors=True)
    drawn.mkdir(parents=True)
    with kept_run(folder, parse_run_files(params.manifest)) as manifest:
        inputs = AnalysisInputs.from_manifest(manifest, params.study, snakemake.input.statistics)
        for place, error in write_drawings(inputs, drawn).items():
            kind = "" if isinstance(error, AssayError) else f"{type(error).__name__}: "
            text = f"error: {inputs.study.name}/{place}: {kind}{error}\n"
            write_text(drawn / f"{place}.error", text)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
