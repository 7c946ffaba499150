"""Stores saliency maps and features of test images, unperturbed and attacked."""

import time

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    from assay.attacks.catalogue import make_attack
    from assay.evaluation.saliency import look
    from assay.evaluation.trained import open_trained
    from assay.foundation.device import select_device, use_threads
    from assay.foundation.files import digest_file, digest_of
    from assay.foundation.provenance import provenance, write_arrays

    use_threads(snakemake.threads)
    device = select_device(snakemake.config.get("device", "auto"))
    started = time.time()
    ids = {part: getattr(snakemake.wildcards, part) for part in ("dataset", "split", "model")}
    params = snakemake.params
    data, indices, model = open_trained(
        snakemake.input, ids, params.entry, params.evaluation["samples"], seed=params.seed
    )
    arrays = look(
        model,
        data.images,
        data.labels,
        indices,
        make_attack(params.attack),
        params.epsilons,
        masks=data.masks,
        shown=params.evaluation["examples"],
        device=device,
        seed=params.seed,
    )
    made = provenance(
        code=params.code,
        config=digest_of(
            {
                "model": params.entry,
                "attack": params.attack,
                "epsilons": params.epsilons,
                "evaluation": params.evaluation,
            }
        ),
        weights=digest_file(snakemake.input.weights),
        data=data.digest,
        seed=params.seed,
        device=str(device),
        threads=snakemake.threads,
        **ids,
        scale=snakemake.wildcards.scale,
        seconds=round(time.time() - started, 1),
    )
    write_arrays(arrays, snakemake.output[0], made)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
