# inputs    the mirror (data_mirror / ASSAY_DATA), the publisher's site, or nothing for embedded sets
# outputs   results/{scale}/data/{dataset}/ and results/{scale}/splits/{dataset}/{split}.parquet, with leakage
# steps     fetch and verify -> decode once into one memory-mapped array -> split -> leakage table, and leaks by image


rule prepare_dataset:
    """Download, verify and decode a data set once into a memory-mapped array."""
    input:
        lambda w: at_home(PLAN.sources(w.dataset)),
    output:
        images="results/{scale}/data/{dataset}/images.npy",
        samples="results/{scale}/data/{dataset}/samples.parquet",
        facts="results/{scale}/data/{dataset}/dataset.json",
        masks="results/{scale}/data/{dataset}/masks.npy",
    log:
        "results/{scale}/logs/prepare_dataset/{dataset}.log",
    benchmark:
        "results/{scale}/benchmarks/prepare_dataset/{dataset}.tsv"
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
        split="results/{scale}/splits/{dataset}/{split}.parquet",
        leakage=report(
            "results/{scale}/splits/{dataset}/{split}.leakage.csv",
            caption="../../report/captions/leakage.rst",
            category="Can the evaluation be trusted?",
            subcategory="{dataset}",
            labels={"split": "{split}", "what": "leakage"},
        ),
        leaks="results/{scale}/splits/{dataset}/{split}.leaks.parquet",
    log:
        "results/{scale}/logs/make_split/{dataset}/{split}.log",
    benchmark:
        "results/{scale}/benchmarks/make_split/{dataset}/{split}.tsv"
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
