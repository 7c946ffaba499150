"""The node that the tests of the SLURM profile share.

Without SLURM the tests are skipped, or fail where ASSAY_SLURM is ``required``.
"""

import os

import pytest
from one_node import Node, missing


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    lacking = missing()
    if lacking:
        required = os.environ.get("ASSAY_SLURM") == "required"
        (pytest.fail if required else pytest.skip)(
            f"no SLURM of one node without {', '.join(lacking)}"
        )
    node = Node(tmp_path_factory.mktemp("slurm"))
    try:
        node.start()
        yield node
    finally:
        node.stop()
