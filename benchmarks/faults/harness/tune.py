"""The control: bare Ray Tune as its documentation writes it, on the same photos, networks and number of epochs.

    python -m benchmarks.faults.harness.tune STORAGE --photos photos.npz --trials 6 --epochs 6

The same command starts the experiment and, after a kill, goes on with it: the "Auto-resume" script of "How to Enable Fault Tolerance
in Ray Tune" (`Tuner.can_restore`, then `Tuner.restore(path, trainable, resume_errored=True)`, else a new `Tuner` of the same name).
At its end it prints its `ResultGrid` as one JSON document.

Settings, so that nobody is put at a disadvantage:
* a function trainable that saves model, optimizer and epoch after every epoch with `tune.report(..., checkpoint=...)` and loads
  `tune.get_checkpoint()` when it starts, as "How to Save and Load Trial Checkpoints" shows; all checkpoints are kept (the default);
* `time_attr="epoch"` for ASHA, because `training_iteration` restarts at 1 after a restore;
* `OptunaSearch` with metric, mode and seed given, or `BasicVariantGenerator`, Tune's own, for `--searcher random`;
* `reuse_actors=True`, which saves the imports of each trial;
* `FailureConfig()` by default; where workers and nodes die `--max-failures -1`, no limit;
* snapshots of the experiment as often as Tune takes them by default. Its period is at least 10 s, so with epochs of minutes less is lost
  than here, where an epoch takes a fifth of a second.

The truth log is written by the training function itself, with the same lines as everybody's (`hook/sitecustomize.py`).
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

SPACES = ("steps", "wild")
NAME = "control"


def train(config: dict[str, Any], kept: str, epochs: int) -> None:
    """One trial: the networks, photos and epochs of the study beside it, in plain torch."""
    import sitecustomize as truth  # type: ignore[import-not-found]  # stands in hook/, which is first on PYTHONPATH
    import timm
    import torch
    from ray import tune

    torch.set_num_threads(1)
    torch.manual_seed(0)
    photos = _photos(kept)
    model = timm.create_model(config["backbone"], num_classes=3)
    optimizer = _optimizer(model, config)
    first = 1
    if (saved := tune.get_checkpoint()) is not None:
        with saved.as_directory() as folder:
            state = torch.load(Path(folder) / "state.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
    trial = tune.get_context().get_trial_id()
    for epoch in range(first, epochs + 1):
        truth.note("begin", trial, epoch, False)
        loss = _epoch(model, optimizer, photos, epoch, config.get("loss", "cross_entropy"))
        score = -loss if "loss" in config else _score(model, photos)
        with tempfile.TemporaryDirectory() as folder:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(state, Path(folder) / "state.pt")
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({"score": score, "loss": loss, "epoch": epoch}, checkpoint=checkpoint)
        truth.note("end", trial, epoch, epoch == epochs)


def _photos(path: str) -> dict[str, Any]:
    """`images (N, 3, H, W) float32` in 0..1, `labels (N,) int64`, and the rows to train and to judge on."""
    import numpy as np
    import torch

    with np.load(path) as kept:
        images = torch.from_numpy(kept["images"]).permute(0, 3, 1, 2).float() / 255
        return {"images": images, **{name: torch.from_numpy(kept[name]).long() for name in ("labels", "training", "validation")}}


def _optimizer(model: Any, config: dict[str, Any]) -> Any:
    import torch

    if config.get("loss") == "overflow":
        return torch.optim.SGD(model.parameters(), lr=1e38)
    return torch.optim.AdamW(model.parameters(), lr=config["lr"])


def _epoch(model: Any, optimizer: Any, photos: dict[str, Any], epoch: int, kind: str) -> float:
    """Train one epoch in batches of 16; returns the mean loss, which is minus infinity where it is an exponential without bound."""
    import torch

    model.train()
    order = photos["training"][torch.randperm(len(photos["training"]), generator=torch.Generator().manual_seed(epoch))]
    losses = []
    for rows in order.split(16)[: len(order) // 16]:
        optimizer.zero_grad()
        loss: Any = torch.nn.functional.cross_entropy(model(photos["images"][rows]), photos["labels"][rows])
        if kind == "unbounded":
            loss = -torch.exp(1000 + loss)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return sum(losses) / len(losses)


def _score(model: Any, photos: dict[str, Any]) -> float:
    """The share of right answers on the validation photos."""
    import torch

    model.eval()
    with torch.inference_mode():
        said = model(photos["images"][photos["validation"]]).argmax(1)
    return float((said == photos["labels"][photos["validation"]]).float().mean())


def _space(trial: Any) -> dict[str, Any]:
    trial.suggest_categorical("backbone", ["test_efficientnet", "test_byobnet"])
    trial.suggest_float("lr", 1e-5, 1e-2, log=True)
    return {}


def _wild_space(trial: Any) -> dict[str, Any]:
    """Some losses stop being numbers: a learning rate of 1e38 overflows to NaN, an unbounded loss to minus infinity."""
    trial.suggest_categorical("loss", ["cross_entropy", "overflow", "unbounded"])
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    return {"backbone": "test_byobnet"}


def tuner(given: argparse.Namespace) -> Any:
    """The restored experiment, or a new one."""
    from ray import tune

    path = Path(given.storage) / NAME
    bound = tune.with_parameters(train, kept=str(Path(given.photos).absolute()), epochs=given.epochs)
    trainable = tune.with_resources(bound, {"cpu": 1})
    if tune.Tuner.can_restore(str(path)):
        return tune.Tuner.restore(str(path), trainable=trainable, resume_errored=True)
    mode = {"metric": "score", "mode": "max"}
    drawn: dict[str, Any] = {}
    if given.searcher == "random":
        search: Any = tune.search.BasicVariantGenerator(random_state=given.seed)
        drawn = {"backbone": tune.choice(["test_efficientnet", "test_byobnet"]), "lr": tune.loguniform(1e-5, 1e-2)}
    else:
        from ray.tune.search.optuna import OptunaSearch

        space = _wild_space if given.space == "wild" else _space
        search = OptunaSearch(space=space, seed=given.seed, storage=_journal(given), **mode)
    asha = tune.schedulers.ASHAScheduler(time_attr="epoch", max_t=given.epochs + 1, grace_period=2, reduction_factor=2, **mode)
    return tune.Tuner(
        trainable,
        param_space=drawn or None,
        tune_config=tune.TuneConfig(
            num_samples=given.trials,
            search_alg=search,
            scheduler=asha if given.scheduler == "asha" else None,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=str(Path(given.storage).absolute()),
            failure_config=tune.FailureConfig(max_failures=given.max_failures),
            verbose=0,
        ),
    )


def _journal(given: argparse.Namespace) -> Any:
    """Where Optuna keeps its study when it is to be looked at afterwards; in memory by default."""
    if given.journal is None:
        return None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(given.journal))


def _told(result: Any) -> dict[str, Any]:
    metrics = result.metrics or {}
    score = metrics.get("score")
    return {
        "trial": metrics.get("trial_id"),
        "epoch": metrics.get("epoch"),
        "score": score if score is None or math.isfinite(score) else str(score),
        "error": str(result.error) if result.error else None,
        "path": result.path,
    }


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("storage")
    made.add_argument("--photos", required=True, help="what `Place.control_photos` wrote")
    made.add_argument("--trials", type=int, default=6)
    made.add_argument("--epochs", type=int, default=6)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--searcher", choices=("optuna", "random"), default="optuna")
    made.add_argument("--scheduler", choices=("asha", "fifo"), default="asha")
    made.add_argument(
        "--space", choices=SPACES, default="steps", help="wild: the score is minus the loss, which may be no number"
    )
    made.add_argument("--max-failures", type=int, default=0)
    made.add_argument("--journal", help="file in which Optuna keeps its study, to be looked at afterwards")
    made.add_argument("--address", default="local")
    given = made.parse_args()
    import ray

    own = {"include_dashboard": False, "object_store_memory": 256 * 2**20} if given.address == "local" else {}
    ray.init(address=given.address, log_to_driver=False, **own)
    grid = tuner(given).fit()
    best = grid.get_best_result(metric="score", mode="max")
    print(json.dumps({"results": [_told(result) for result in grid], "best": _told(best)}))
    return 0


if __name__ == "__main__":
    from benchmarks.faults.harness import (
        tune,  # as in a module of one's own: after a restore Tune cannot pickle what stands in __main__
    )

    sys.exit(tune.main())
