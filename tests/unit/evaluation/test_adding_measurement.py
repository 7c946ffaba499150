"""A measurement that the page on adding one describes is planned for a study, and its file kept."""

PLAN = """
from assay.plan.configuration import read_configuration
from assay.plan.plan import make_plan
configuration = read_configuration({"scale": "smoke", "studies": ["millner2024"]})
configuration.studies["millner2024"]["measurements"]["margins"] = {"models": ["dbx"]}
plan = make_plan(configuration)
items = [item for item in plan.measurements if item.measurement == "margins"]
print(len(items), "measured;", plan.measuring_code(*items[0])[0])
kept = [path for path in plan.record_files("millner2024") if path.endswith("/margins.npz")]
print(len(kept), "kept;", plan.brief("millner2024").measurements["margins"]["title"])
"""


def test_a_new_measurement_is_planned_for_the_models_that_a_study_names(follow):
    copy = follow("docs/adding/measurement.md")
    assert copy.new == ["workflow/assay/evaluation/measurements/margins.py"]
    assert copy.changed == ["config/catalogue/measurements.yaml"]
    (copy.folder / "plan.py").write_text(PLAN)
    assert copy.run("python plan.py").splitlines() == [
        "2 measured; assay.evaluation.measurements.margins:Margins",
        "2 kept; Margins of the decision",
    ]
