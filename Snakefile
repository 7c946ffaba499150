# assay, started in its own folder; all that it does is in workflow/Snakefile.
include: "workflow/Snakefile"


# What is included does not set the target of a call without any.
workflow.default_target = workflow.modifier.modify_rulename("all")
