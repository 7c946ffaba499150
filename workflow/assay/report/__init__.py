"""Tables, figures and the page, drawn from the numbers of `assay.analysis`."""
