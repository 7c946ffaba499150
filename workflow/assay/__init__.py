"""assay: fair, adaptive and statistically sound robustness evaluation of image classifiers."""

__version__ = "0.1.0"
