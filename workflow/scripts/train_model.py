"""Trains one model on one split, or reads foreign weights; resumes where a kill stopped it."""

import shutil
import time
from pathlib import Path

from assay.foundation.scripts import script_log


def main(snakemake) -> None:
    import pandas as pd

    from assay.data.dataset import load
    from assay.data.splits import learning_seed, subsample
    from assay.foundation.device import select_device, use_threads
    from assay.foundation.entries import is_trained
    from assay.foundation.files import atomic_path, digest_file, digest_of, write_json
    from assay.foundation.places import mirror_of
    from assay.foundation.provenance import provenance
    from assay.foundation.seeds import seed_for
    from assay.models.base import build, build_needs, load_weights, save_weights
    from assay.models.importers import import_weights
    from assay.training.images import remember
    from assay.training.loop import train
    from assay.training.result import untrained

    use_threads(snakemake.threads)
    device = select_device(snakemake.config.get("device", "auto"))
    started = time.time()
    names = tuple(getattr(snakemake.wildcards, kind) for kind in ("dataset", "split", "model"))
    entry, seed = snakemake.params.entry, snakemake.params.seed

    data = load(Path(snakemake.input.images).parent)
    split = pd.read_parquet(snakemake.input.split)
    indices = {
        subset: subsample(
            split.loc[split["subset"] == subset, "sample"].to_numpy(),
            data.labels,
            entry["training"][limit],
            seed=learning_seed(seed, *names[:2], subset),
        )
        for subset, limit in (("train", "samples"), ("val", "validation_samples"))
    }
    images = {"classes": len(data.classes), "shape": data.shape}
    needs = build_needs(entry, snakemake.input.needs, **images)
    pretrained = next(map(Path, snakemake.input.pretrained), None)
    seeded = {"seed": seed_for(seed, "weights", *names), "pretrained_weights": pretrained}
    model = build(names[2], entry, needs=needs, **images, **seeded)
    # Read before the checkpoint: a training that goes on has its own.
    for start in snakemake.input.start:
        load_weights(model, start)
    key = digest_of(
        {
            "code": snakemake.params.code,
            "entry": entry,
            "seed": seed,
            "data": data.digest,
            # Not of the file, which says when it was written.
            "split": digest_of(split["subset"].tolist()),
            "start": [digest_file(f) for f in (*snakemake.input.start, *snakemake.input.needs)],
            "threads": snakemake.threads,
            "device": device.type,
        }
    )
    work = Path(snakemake.params.work, key)
    if entry["weights"]:
        import_weights(model, **entry["weights"], mirror=mirror_of(snakemake.config))
    remember(model, data.images, data.labels, indices["train"], names=(seed, *names))
    if not is_trained(entry):
        result = untrained(model)
    else:
        result = train(
            model,
            data.images,
            data.labels,
            indices["train"],
            indices["val"],
            entry["training"],
            work=work,
            names=(seed, "train", *names),
            device=device,
            needs=needs,
        )
    save_weights(result.best_state, snakemake.output.weights)
    save_weights(result.last_state, snakemake.output.last)
    with atomic_path(snakemake.output.history) as path:
        result.history.to_csv(path, index=False)
    write_json(
        snakemake.output.facts,
        {
            "name": names[2],
            "settings": entry,
            "classes": list(data.classes),
            "shape": list(data.shape),
            **{f"{subset}_n": len(found) for subset, found in indices.items()},
            "seed": seed,
            **result.facts,
            "provenance": provenance(
                code=snakemake.params.code,
                config=digest_of(entry),
                seed=seed,
                data=data.digest,
                device=str(device),
                threads=snakemake.threads,
                **dict(zip(("dataset", "split", "model"), names, strict=True)),
                scale=snakemake.wildcards.scale,
                seconds=round(time.time() - started, 1),
            ),
        },
    )
    # The last checkpoint stays: Snakemake deletes the files of a job that its cluster calls failed
    # after all (its time ran out as it ended, its node was lost), and it makes them again at once.
    for other in work.parent.glob("*"):
        if other != work:
            shutil.rmtree(other, ignore_errors=True)


if __name__ == "__main__":
    with script_log(snakemake.log[0]):  # noqa: F821
        main(snakemake)  # noqa: F821
