# inputs    the mirror (data_mirror / ASSAY_DATA), the publisher's site, or nothing for embedded sets
# outputs   results/{scale}/data/{dataset}/ and results/{scale}/splits/{dataset}/{split}.parquet, with leakage
# steps     fetch and verify -> decode once into one memory-mapped array -> split -> leakage table, and leaks by image


rule prepare_dataset:
    """Download, verify and decode a data set once into a memory-mapped array."""
    input:
        lambda w: at_home(PLAN.sources(w.dataset)),
    output:
        images=paths.IMAGES,
        samples=paths.SAMPLES,
        facts=paths.DATASET_FACTS,
        masks=paths.MASKS,
    log:
        paths.log("prepare_dataset", "{dataset}"),
    benchmark:
        paths.benchmark("prepare_dataset", "{dataset}")
    localrule: AT_HOME
    conda:
        "../../envs/torch.yaml"
    threads: 4  # decoding scales with cores; fewer are taken where there are fewer
    resources:
        mem_mb=4000,  # images are written through a memory map; workers hold a few hundred at a time
        runtime=60,
    params:
        entry=lambda w: PLAN.entry("datasets", w.dataset),
        seed=PLAN.seed,
        code=lambda w: digest("prepare_dataset", PLAN.reader(w.dataset)),
    script:
        "../scripts/prepare_dataset.py"


rule make_split:
    """Divide a data set into training, validation and test images; measure leakage."""
    input:
        samples=rules.prepare_dataset.output.samples,
        dataset=rules.prepare_dataset.output.facts,
    output:
        split=paths.SPLIT,
        leakage=report(
            paths.LEAKAGE,
            caption="../../report/captions/leakage.rst",
            category="Can the evaluation be trusted?",
            subcategory="{dataset}",
            labels={"split": "{split}", "what": "leakage"},
        ),
        leaks=paths.LEAKS,
    log:
        paths.log("make_split", paths.SPLIT_ID),
    benchmark:
        paths.benchmark("make_split", paths.SPLIT_ID)
    localrule: AT_HOME
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=1000,  # the samples table, no images
        runtime=10,
    params:
        scheme=lambda w: PLAN.scheme(w.split),
        seed=PLAN.seed,
        code=digest("make_split"),
    script:
        "../scripts/make_split.py"
