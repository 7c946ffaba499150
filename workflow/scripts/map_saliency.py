"""Stores saliency maps and features of test images, unperturbed and attacked."""

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.attacks.catalogue import make_attack
    from assay.evaluation.saliency import compute_saliency
    from assay.evaluation.trained import TrainedJob
    from assay.foundation.provenance import write_arrays

    job, params = TrainedJob(snakemake), snakemake.params
    arrays = compute_saliency(
        job.model,
        job.data.images,
        job.data.labels,
        job.indices,
        make_attack(params.attack),
        params.epsilons,
        masks=job.data.masks,
        shown=params.evaluation["examples"],
        device=job.device,
        seed=params.seed,
    )
    made = job.made(
        {
            "model": params.entry,
            "attack": params.attack,
            "epsilons": params.epsilons,
            "evaluation": params.evaluation,
        }
    )
    write_arrays(arrays, snakemake.output[0], made)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
