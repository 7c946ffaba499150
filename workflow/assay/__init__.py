"""assay: fair, adaptive and statistically sound robustness evaluation of image classifiers."""

# The release that this code is, or becomes. What is installed has the version of git's last tag
# (`assay --version`), and this one where there is no tag.
__version__ = "0.1.0"
