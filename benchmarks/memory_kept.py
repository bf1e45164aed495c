"""What it costs to give memory back after each layer: photos per CPU-second as glibc does by default, and with `compute_with`.

    python -m benchmarks.memory_kept [--times 3]

Each side runs in a process of its own, in turn. The seconds are CPU seconds of user and system, so a busy machine changes them little.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS_MEASURED = (
    ("predict", "tf_efficientnet_lite0", 64, 128, "contiguous"),
    ("predict", "tf_efficientnet_lite0", 64, 128, "channels_last"),
    ("train", "tf_efficientnet_lite0", 32, 128, "channels_last"),
    ("train", "tf_efficientnet_lite0", 64, 128, "channels_last"),
    ("train", "resnet18", 32, 128, "contiguous"),
    ("train", "test_resnet", 32, 64, "contiguous"),
)
PHOTOS = 256


def measure(case: tuple[str, str, int, int, str], *, kept: bool) -> dict[str, float]:
    """Photos per CPU-second, the share of the system in them, and GB at most, of one way in this process."""
    import timm
    import torch

    from trainables.devices import compute_with

    if kept:
        compute_with(1)
    else:
        torch.set_num_threads(1)
    what, backbone, batch, side, layout = case
    order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    network = timm.create_model(backbone, num_classes=17).to(memory_format=order).train(what == "train")
    images = torch.rand(batch, 3, side, side).contiguous(memory_format=order)

    def step() -> None:
        if what == "train":
            network(images).sum().backward()
            network.zero_grad()
        else:
            with torch.inference_mode():
                network(images)

    step()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(PHOTOS // batch):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return {"speed": PHOTOS / (user + system), "system": system / (user + system), "gb": after.ru_maxrss / 1e6}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3, help="how often each side is measured (default: 3)")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case is not None:
        print(json.dumps(measure(STEPS_MEASURED[given.case], kept=given.kept)))
        return 0
    print(f"{'':52} photos per CPU-second: given back, kept (range of {given.times}), share of the system, GB at most")
    for number, case in enumerate(STEPS_MEASURED):
        sides: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(given.times):
            for kept in sides:
                command = [sys.executable, "-m", "benchmarks.memory_kept", "--case", str(number), *(["--kept"] if kept else [])]
                done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
                sides[kept].append(json.loads(done.stdout))
        told = []
        for found in sides.values():
            speeds = [one["speed"] for one in found]
            middle = {key: statistics.median(one[key] for one in found) for key in found[0]}
            told.append(
                f"{middle['speed']:6.1f} ({min(speeds):.1f} to {max(speeds):.1f}) {middle['system']:.0%} {middle['gb']:.1f}"
            )
        print(f"{' '.join(map(str, case)):52} {told[0]:32} {told[1]}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
