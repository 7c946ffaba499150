# Reads and checks the configuration once, makes the run table, and constrains the wildcards.
#
# inputs    config/
# outputs   PLAN (the run table), TARGETS (its files), `digest` (code that a rule depends on)
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

PACKAGES = str(Path(workflow.basedir) / "workflow")
if PACKAGES not in sys.path:
    sys.path.insert(0, PACKAGES)

from assay.analysis.kept import run_facts
from assay.foundation.digest import code_digest
from assay.foundation.errors import AssayError
from assay.foundation.places import share_package
from assay.plan.configuration import read_configuration
from assay.plan.plan import check_machine, make_plan
from assay.plan.targets import ANALYSES, make_targets

share_package()
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"

try:
    PLAN = make_plan(read_configuration(config))
    if workflow.is_main_process:  # a job's node need not have what another job reads
        check_machine(PLAN)
    TARGETS = make_targets(PLAN)
    # All code whose digest rules will ask for is read here once (and remembered), so that a mistake
    # in it, too, is told in one line instead of a traceback from a rule's parameters.
    code_digest(*sorted(SCRIPTS.glob("*.py")), *PLAN.implementations)
except AssayError as error:
    raise WorkflowError(str(error))

# assay reads config/config.yaml itself, below what the command line says; scripts see both.
SETTINGS = config = PLAN.configuration.settings
# A job asks for a GPU unless the user decided for the CPU; locally the count only limits parallel jobs.
GPUS = 0 if SETTINGS["device"] == "cpu" else 1


def digest(script, *implementations):
    """The digest of a rule's script and of the code that its catalogue entries name."""
    return code_digest(SCRIPTS / f"{script}.py", *implementations)


def memory(fixed, growing):
    """Memory in MB: `fixed`, `growing` for each MB of input, and as much again with each attempt."""

    def mem_mb(wildcards, input, attempt):
        return round((fixed + growing * input.size_mb) * attempt)

    return mem_mb


# How many jobs share the chunks of a suite that attacks; a profile's `set-scatter: share=8` says so.
scattergather:
    share=1,


SHARES = gather.share("{scatteritem}")
SHARE = "results/{scale}/work/shares/{dataset}/{split}/{model}/{suite}.{scatteritem}"


def shares(wildcards):
    """What the jobs leave that attack a share of a suite's images each; nothing if one does it all."""
    if len(SHARES) == 1 or not PLAN.searches(wildcards.suite):
        return []
    return [SHARE.format(**wildcards, scatteritem=item) for item in SHARES]


wildcard_constraints:
    scale=PLAN.scale,
    dataset="|".join(PLAN.configuration.catalogue["datasets"]),
    split="[a-z0-9_]+_[0-9]+",
    model="|".join(PLAN.configuration.catalogue["models"]),
    suite="|".join(PLAN.configuration.catalogue["suites"]),
    study="|".join(PLAN.studies),
    table="[a-z0-9_]+",
    figure="[a-z0-9_]+",
