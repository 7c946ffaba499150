"""All statistics of one study: accuracies, paired tests, checks, ledger and headline."""

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.analysis.study import analyse
    from assay.foundation.files import atomic_path

    frames = analyse(snakemake.params.study, snakemake.params.manifest)
    for name, target in snakemake.output.items():
        with atomic_path(target) as path:
            frames[name].to_csv(path, index=False)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
