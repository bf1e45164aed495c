"""Pretended nodes on this machine, in a process of their own: a head without cores and two nodes with one each.

    python -m benchmarks.faults.harness.cluster FOLDER

Writes its address to FOLDER/address; then, as soon as FOLDER/change exists, removes the first node without a word to it, adds
another, and writes FOLDER/changed. Lives until it is killed.
"""

import sys
import time
from pathlib import Path


def main() -> None:
    from ray.cluster_utils import Cluster

    folder = Path(sys.argv[1])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    _put(folder / "address", cluster.address)
    while not (folder / "change").exists():
        time.sleep(0.02)
    cluster.remove_node(nodes[0], allow_graceful=False)
    cluster.add_node(num_cpus=1)
    _put(folder / "changed", "")
    while True:
        time.sleep(1)


def _put(path: Path, text: str) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text(text)
    beside.rename(path)


if __name__ == "__main__":
    main()
