"""What a trial costs is measured once per architecture, within a bounded time, and says nothing that is not there."""

import time
from pathlib import Path

import pytest
import torch

from bundle.cost import FEW, SECONDS, measure_costs
from competitions.prepare import Prepared
from competitions.targets import targets
from ledger.trials import TrialFolder
from trainables.attach import OpenedTrial
from trainables.config import Question, TrialConfig, resolve


def folders(prepared: Prepared, where: Path, *given: tuple[str, int, int]) -> list[TrialFolder]:
    """A trial folder with a weights file of n bytes per (backbone, image size, n)."""
    target = targets(prepared.competition)["both"]
    made = []
    for seed, (backbone, size, n) in enumerate(given):
        question = Question(
            "tiny", "both", target.heads, target.metric, prepared.data_fingerprint(target), "groups", 0, seed, size
        )
        config: TrialConfig = resolve({"backbone": backbone}, question)
        folder = TrialFolder(where / config.trial_id)
        folder.write_config(config.json())
        folder.best.write_bytes(bytes(n))
        made.append(folder)
    return made


def test_one_architecture_is_timed_once_and_a_larger_one_costs_more(tiny: Prepared, tmp_path: Path) -> None:
    given = folders(tiny, tmp_path, ("test_vit", 32, 1_000_000), ("test_vit", 32, 2_500_000), ("test_vit", 128, 10))
    threads, chance = torch.get_num_threads(), torch.get_rng_state()
    started = time.monotonic()
    costs = measure_costs(tiny, [OpenedTrial(folder) for folder in given])
    taken = time.monotonic() - started
    first, second, larger = (costs[folder.id] for folder in given)
    assert first.seconds_per_1000 == second.seconds_per_1000 > 0, "two clocks never agree to the last digit"
    assert (first.megabytes, second.megabytes, larger.megabytes) == (1.0, 2.5, 0.00001)
    assert larger.seconds_per_1000 > 2 * first.seconds_per_1000
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), chance)
    most = sum(2 * SECONDS + 3 * FEW * cost.seconds_per_1000 / 1000 for cost in (first, larger))
    assert taken < 3 * most + 5, "networks are built in that, too"


def test_a_trial_without_weights_has_no_cost(tiny: Prepared, tmp_path: Path) -> None:
    (folder,) = folders(tiny, tmp_path, ("test_vit", 32, 1))
    folder.best.unlink()
    with pytest.raises(FileNotFoundError):
        measure_costs(tiny, [OpenedTrial(folder)])
    assert measure_costs(tiny, []) == {}
