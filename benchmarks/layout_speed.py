"""Which memory layout trains a backbone faster on one CPU core: both in one run, A B A B, photos per CPU-second of the best step.

    python -m benchmarks.layout_speed tf_efficientnet_lite0:128 test_resnet:64

Forward, backward and AdamW on batches of 32 random photos; `trainables.config.FASTER_CHANNELS_LAST` holds what came of it.
"""

import argparse
import time

import torch
import torch.nn.functional as F

from trainables.backbones import LAYOUTS, build

BATCH, STEPS, ROUNDS, CLASSES = 32, 4, 2, 10


def photos_per_s(backbone: str, size: int, layout: str) -> float:
    """Of the best step but the first, which prepares what later ones find."""
    torch.manual_seed(0)
    model = build(backbone, {"any": CLASSES}, size, layout=layout).train()
    optimizer = torch.optim.AdamW(model.parameters())
    photos, labels, took = torch.randn(BATCH, 3, size, size), torch.randint(0, CLASSES, (BATCH,)), []
    for _ in range(STEPS):
        began = time.process_time()
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(photos), labels))
        optimizer.step()
        took.append(time.process_time() - began)
    return BATCH / min(took[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", metavar="BACKBONE:SIZE")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for backbone, _, size in (one.partition(":") for one in parser.parse_args().networks):
        best = dict.fromkeys(LAYOUTS, 0.0)
        for _ in range(ROUNDS):
            for layout in LAYOUTS:
                best[layout] = max(best[layout], photos_per_s(backbone, int(size), layout))
        told = ", ".join(f"{layout} {rate:.1f}" for layout, rate in best.items())
        print(f"{backbone} at {size} px: {told} photos/CPU-s, {best['channels_last'] / best['contiguous']:.2f}x", flush=True)


if __name__ == "__main__":
    main()
