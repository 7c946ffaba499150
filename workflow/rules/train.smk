# inputs    results/{scale}/data/{dataset}/, results/{scale}/splits/{dataset}/{split}.parquet
# outputs   results/{scale}/models/{dataset}/{split}/{model}/: best and last weights, history, facts
# steps     check models from outside -> fetch published weights where wanted -> train with checkpoints in results/{scale}/work/ -> keep the best on validation


rule fetch_weights:
    """Download and verify the published weights that initialise a model."""
    output:
        paths.PRETRAINED,
    log:
        paths.log("fetch_weights", "{model}"),
    benchmark:
        paths.benchmark("fetch_weights", "{model}")
    localrule: True  # cluster nodes rarely reach the network
    conda:
        "../../envs/torch.yaml"
    params:
        entry=lambda w: PLAN.entry("models", w.model),
    script:
        "../scripts/fetch_weights.py"


rule check_entries:
    """Build a model from outside once, and check that it can be evaluated."""
    input:
        dataset=rules.prepare_dataset.output.facts,
    output:
        paths.CHECKED,
    log:
        paths.log("check_entries", "{dataset}/{model}"),
    benchmark:
        paths.benchmark("check_entries", "{dataset}/{model}")
    priority: 100  # a mistake in an entry is found before any training begins
    conda:
        "../../envs/torch.yaml"
    threads: SETTINGS["threads"]
    resources:
        mem_mb=4000,  # a network, twice
        runtime=30,
    params:
        # Not the digest of the checks: a model that passed them is not trained again for a new one.
        entry=lambda w: PLAN.model(w.dataset, w.model),
    script:
        "../scripts/check_entries.py"


rule train_model:
    """Train one model on one split; an interrupted training resumes."""
    input:
        images=rules.prepare_dataset.output.images,
        samples=rules.prepare_dataset.output.samples,
        dataset=rules.prepare_dataset.output.facts,
        masks=rules.prepare_dataset.output.masks,
        split=rules.make_split.output.split,
        pretrained=lambda w: PLAN.pretrained(w.model),
        start=lambda w: PLAN.start(w.dataset, w.split, w.model),
        needs=lambda w: PLAN.needed(w.dataset, w.split, w.model),
        checked=lambda w: PLAN.checked(w.dataset, w.model),
    output:
        weights=paths.WEIGHTS,
        last=paths.LAST_WEIGHTS,
        history=report(
            paths.HISTORY,
            caption="../../report/captions/history.rst",
            category="Cost",
            subcategory="{dataset}",
            labels={
                "model": "{model}",
                "split": "{split}",
                "what": "training history",
            },
        ),
        facts=paths.MODEL_FACTS,
    log:
        paths.log("train_model", paths.NETWORK_ID),
    benchmark:
        paths.benchmark("train_model", paths.NETWORK_ID)
    conda:
        "../../envs/torch.yaml"
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(5000, 1),  # the training images as bytes, a network, its optimiser, one checkpoint
        gpu=GPUS,
        runtime=240,
    params:
        work=lambda w: paths.work("train_model", paths.NETWORK_ID, **w),
        entry=lambda w: PLAN.model(w.dataset, w.model),
        seed=PLAN.seed,
        code=lambda w: digest("train_model", *PLAN.training_code(w.dataset, w.model)),
    script:
        "../scripts/train_model.py"
