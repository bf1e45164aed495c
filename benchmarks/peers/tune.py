"""A competitor's search: Ray Tune with OptunaSearch and ASHA over the fine-tuning script, the best trial's answers handed in.

    python -m benchmarks.peers.tune clothing --data ../shared/data --seconds 300 --out answers.csv

One fold by groups judges. Epochs are planned from the speed of the first steps, so that a trial takes a third of the time.
"""

import argparse
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GroupKFold

from benchmarks.peers.finetune import BATCH, answer, crops
from benchmarks.peers.photos import Photos, lite0, metric_of, read, write

STARTING_S, A_TRIAL = 30.0, 3


def trial(config: dict[str, Any], photos: Photos, given: dict[str, Any]) -> None:
    """One configuration: trained on four fifths of the groups, judged after each of eight parts; the best answers are kept in a file."""
    from ray import tune

    torch.set_num_threads(1)
    torch.manual_seed(0)
    chance = np.random.default_rng(0)
    rows, judged = next(GroupKFold(5).split(photos.images, groups=photos.groups))
    held_out = replace(photos, test=photos.images[judged])
    model = lite0(sum(len(names) for names in photos.classes.values())).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"])
    widths, began, total, best = [len(names) for names in photos.classes.values()], time.monotonic(), 10**9, -1.0
    step = 0
    while step < total:
        if step == 10:
            each = (time.monotonic() - began) / step
            total = max(16, int(given["seconds"] / A_TRIAL / each))
        some = chance.choice(rows, BATCH, replace=False)
        for group in optimizer.param_groups:
            group["lr"] = config["lr"] * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))
        parts = model(crops(photos.images[some], given["size"], chance)).split(widths, dim=1)
        losses = [
            F.cross_entropy(part, torch.from_numpy(photos.labels[task][some]), label_smoothing=config["smoothing"])
            for task, part in zip(photos.classes, parts, strict=True)
        ]
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        step += 1
        if step > 10 and (step % max(1, total // 8) == 0 or step == total):
            said = answer(held_out, model, given["size"])
            judge = _score(held_out, judged, said, given["metric"])
            if judge > best:
                best = judge
                probs = answer(photos, model, given["size"])
                np.savez(Path(given["kept"]) / f"{judge:.6f}.npz", allow_pickle=False, **probs)
            model.train()
            tune.report({"score": best, "part": math.ceil(8 * step / total)})


def _score(photos: Photos, rows: Any, said: dict[str, Any], metric: str) -> float:
    judge = accuracy_score if metric == "accuracy" else lambda true, given: f1_score(true, given, average="macro")
    return float(np.mean([judge(photos.labels[task][rows], probs.argmax(1)) for task, probs in said.items()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("competition")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    begun = time.monotonic()
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    photos = read(given.competition, given.data, given.size)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    kept = tempfile.mkdtemp(prefix="peer-")
    left = given.seconds - (time.monotonic() - begun) - STARTING_S
    facts = {"seconds": left, "size": given.size, "kept": kept, "metric": metric_of(given.competition)}
    space = {"lr": tune.loguniform(3e-4, 3e-3), "weight_decay": tune.loguniform(1e-3, 1e-1), "smoothing": tune.uniform(0, 0.2)}
    tune.Tuner(
        tune.with_parameters(trial, photos=photos, given=facts),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            search_alg=OptunaSearch(seed=given.seed),
            scheduler=ASHAScheduler(time_attr="part", max_t=8, grace_period=2),
            num_samples=-1,
            time_budget_s=left,
        ),
        run_config=tune.RunConfig(verbose=0, storage_path=kept),
    ).fit()
    ray.shutdown()
    best = max(Path(kept).glob("*.npz"), key=lambda path: float(path.stem))
    with np.load(best) as probs:
        write(given.out, photos, {task: probs[task] for task in photos.classes})
    print(f"best {best.stem}, {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
