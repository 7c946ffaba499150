# Reads and checks the configuration once, makes the run table, and constrains the wildcards.
#
# inputs    config/ of assay and of the working folder
# outputs   PLAN (the run table), TARGETS (its files), `digest` (code that a rule depends on)
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

VERSION = "0.1.0"  # of these rules, which may come from another place than the package
# In a checkout the package lies beside the rules, whichever Snakefile has included them (a module's `workflow.basedir`
# is that of the outer one). Rules from an installed package, or from a repository's address, find it installed.
BESIDE = Path(str(workflow.current_basedir)).parent
if (BESIDE / "assay").is_dir() and str(BESIDE) not in sys.path:
    sys.path.insert(0, str(BESIDE))
if find_spec("assay") is None:
    raise WorkflowError(
        "the Python package assay is not installed: rules that are not read from a checkout need it; "
        f"install its wheel for {sys.executable} (docs/installation.md)"
    )

from assay import __version__
from assay.analysis.kept import run_facts
from assay.foundation.digest import code_digest
from assay.foundation.errors import AssayError
from assay.foundation.resources import from_here, resource, share_package
from assay.plan import paths
from assay.plan.configuration import read_configuration
from assay.plan.cells import Training
from assay.plan.machine import check_machine
from assay.plan.plan import make_plan
from assay.plan.targets import make_targets
from assay.plan.tasks import tasks

if set("{}") & set(str(resource("."))):
    raise WorkflowError(
        f"{resource('.')}: Snakemake takes braces in the path of a workflow for wildcards; move assay to a folder without"
    )
if __version__ != VERSION:
    raise WorkflowError(
        f"these rules are those of assay {VERSION}, but assay {__version__} is installed: take both from one version"
    )
share_package()
SCRIPTS = resource("workflow/scripts")

try:
    # `skip_configfile`: this is a module, and the outer workflow has given its configuration.
    PLAN = make_plan(
        read_configuration(config, of_module=workflow.modifier.skip_configfile)
    )
    if workflow.is_main_process:  # a job's node need not have what another job reads
        check_machine(PLAN)
    TARGETS = make_targets(PLAN)
    # All code whose digest rules will ask for is read here once (and remembered), so that a mistake
    # in it, too, is reported in one line instead of a traceback from a rule's parameters.
    code_digest(*sorted(SCRIPTS.glob("*.py")), *PLAN.implementations, *PLAN.kinds())
except AssayError as error:
    raise WorkflowError(str(error))

SETTINGS = PLAN.configuration.settings
# assay reads config/config.yaml itself, below what the command line says; scripts and the report see both.
config.update(SETTINGS)
if SETTINGS["container"]:

    container: SETTINGS["container"]

elif DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
    raise WorkflowError(
        "config/config.yaml: container: no image is named for --sdm apptainer (docs/installation.md builds one)"
    )
# A job asks for a GPU unless the user decided for the CPU; locally the count only limits parallel jobs.
GPUS = 0 if SETTINGS["device"] == "cpu" else 1


def digest(script, *implementations):
    """The digest of a rule's script and of the code that catalogue entries or a study's file name."""
    return code_digest(SCRIPTS / f"{script}.py", *implementations)


# Without a shared file system only finished results reach other machines. The user's folders, and what comes with
# assay, do not: the jobs that read them take seconds, and run where snakemake does.
AT_HOME = workflow.storage_settings.default_storage_provider is not None


def at_home(paths):
    """Inputs that are files of this machine, never objects of a storage."""
    return [local(path) for path in paths]


def memory(fixed, growing):
    """Memory in MB: `fixed`, `growing` for each MB of input, and as much again with each attempt."""

    def mem_mb(wildcards, input, attempt):
        return round((fixed + growing * input.size_mb) * attempt)

    return mem_mb


# How many jobs share the chunks of a suite that attacks; a profile's `set-scatter: share=8` says so.
scattergather:
    share=1,


SHARES = gather.share("{scatteritem}")
if (
    len(SHARES) > 1 or AT_HOME
):  # whoever divides suites, or has many machines, wants more jobs, not fewer
    PLAN = replace(PLAN, packed=False)


def shares(wildcards):
    """What the jobs leave that attack a share of a suite's images each; nothing if one does it all."""
    if len(SHARES) == 1 or not PLAN.searches(wildcards.suite):
        return []
    return [paths.at(paths.SHARE, **wildcards, scatteritem=item) for item in SHARES]


wildcard_constraints:
    scale=PLAN.scale,
    dataset="|".join(PLAN.configuration.catalogue["datasets"]),
    split="[a-z0-9_]+_[0-9]+",
    model="|".join(PLAN.configuration.catalogue["models"]),
    suite="|".join(PLAN.configuration.catalogue["suites"]),
    measurement="|".join(PLAN.configuration.catalogue["measurements"]),
    study="|".join(PLAN.studies),
    table="[a-z0-9_]+",
    figure="[a-z0-9_]+",
