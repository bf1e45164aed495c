"""What one more trial costs, torch and timm loaded: a study of ours against a plain Ray Tune function trainable.

    python -m benchmarks.trial_cost

Both train the same tiny network for one epoch on the same 96 drawn photos, one trial at a time on one Ray. The cost of one more
trial is the slope: (seconds for many trials - seconds for few) / (many - few), so start-up does not count. Goal: at most 0.2 s.
The plain trainable imports what it needs inside the trial, as Ray's own examples do, and decodes its photos; `decoded` gives it the
cache as well, so that only the process and its imports are left.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._photos import prepared
from benchmarks._sides import Sides
from competitions.prepare import Prepared
from competitions.targets import targets

PHOTOS, SIDE, SIZE = 120, 64, 32
COST_SETTINGS = {"backbone": "test_byobnet", "epochs": 1, "image_size": SIZE, "augmentation": "none"}
FEW, MANY, PLAIN_FEW, PLAIN_MANY = 4, 44, 1, 4


def our_seconds(data: Prepared, n: int, seed: int) -> float:
    """Seconds of one of our studies with n new trials, from the first suggestion to the last result, views not computed."""
    from ledger.studies import StudyFolder
    from search.plan import Plan, questions_of
    from search.request import Request
    from search.tune.run import _search
    from search_spaces import Space

    def suggest(trial: Any) -> dict[str, Any]:
        return {**COST_SETTINGS, "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True)}

    request = Request("bench", trials=n, seed=seed, study=f"bench-{seed}-{n}", scheduler="fifo", searcher="random")
    space = Space("bench", suggest, 1, 1, 2, "")
    plan = Plan(
        request, space, data, questions_of(request, data, data.competition), StudyFolder(data.paths.studies / str(request.study))
    )
    started = time.monotonic()
    _search(plan, data.save(), lambda folder: None, lambda: None, lambda: False, None)
    return time.monotonic() - started


def plain_seconds(data: Prepared, n: int) -> float:
    """Seconds of a plain Tune run of n function trainables that do the same work."""
    from ray import tune

    cache, target = data.cache(SIZE), targets(data.competition)["kind"]
    training, validation = data.rows(target, 0)
    shape, path, labels = cache.images.shape, str(cache.path.with_suffix(".u8")), data.manifest.labels["kind"]

    def trainable(config: dict[str, Any]) -> None:
        import numpy as np
        import timm
        import torch

        images = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
        model = timm.create_model("test_byobnet", num_classes=3)
        optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
        for start in range(0, len(training) - 31, 32):
            rows = training[start : start + 32]
            x = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255
            optimizer.zero_grad()
            loss: Any = torch.nn.functional.cross_entropy(model(x), torch.from_numpy(labels[rows]).long())
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            x = torch.from_numpy(images[validation]).permute(0, 3, 1, 2).float() / 255
            score = (model.eval()(x).argmax(1).numpy() == labels[validation]).mean()
        tune.report({"score": float(score)})

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"lr": tune.loguniform(1e-4, 1e-2)},
        tune_config=tune.TuneConfig(num_samples=n, metric="score", mode="max"),
        run_config=tune.RunConfig(storage_path=str(data.paths.root / "plain"), verbose=0),
    )
    started = time.monotonic()
    results = tuner.fit()
    assert not results.errors, "the control column must work"
    return time.monotonic() - started


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=5)
    repeats = made.parse_args().repeats
    from search.tune.ray_session import ray_session

    ours, plain = [], []
    with tempfile.TemporaryDirectory() as folder:
        data = prepared(Path(folder), n=PHOTOS, side=SIDE, size=SIZE)
        with ray_session(None, num_cpus=1):
            our_seconds(data, 1, 10_000)  # imports of the driver
            for repeat in range(repeats):
                ours.append((our_seconds(data, MANY, 2 * repeat) - our_seconds(data, FEW, 2 * repeat + 1)) / (MANY - FEW))
                plain.append((plain_seconds(data, PLAIN_MANY) - plain_seconds(data, PLAIN_FEW)) / (PLAIN_MANY - PLAIN_FEW))
                print(f"round {repeat + 1}: ours {ours[-1]:.3f} s, plain Tune {plain[-1]:.2f} s for one more trial", flush=True)
    print(Sides(tuple(ours), tuple(plain)).line("one more trial", "plain Tune"))


if __name__ == "__main__":
    main()
