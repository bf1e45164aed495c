"""Effects of settings: planted ones have their sign, what moves together is told apart from what helps, and nothing is invented."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.effects import DESIGNS, is_false, judged
from ledger.trials import TrialFolder
from reports.effects import EFFECT_HELPS, EFFECT_HURTS, EFFECT_UNDECIDED, effects
from reports.ledger_effects import compared, ledger_effects
from reports.trial_table import by_target, trial_table
from system.errors import UserError
from system.paths import CompetitionPaths
from tests.reports.conftest import write_ledger


def made(n: int, seed: int = 0, noise: float = 0.01, planted: float = 0.02) -> tuple[list[float], dict[str, list[str]]]:
    """Scores of n trials: loss `good` adds what is planted, `bad` takes it away, augmentation does nothing."""
    rng = np.random.default_rng(seed)
    losses = [str(loss) for loss in rng.choice(["plain", "plain", "good", "bad"], n)]
    add = {"plain": 0.0, "good": planted, "bad": -planted}
    scores = [0.7 + add[loss] + float(rng.normal(0, noise)) for loss in losses]
    return scores, {"loss": losses, "augmentation": [str(one) for one in rng.choice(["light", "strong"], n)]}


def test_planted_effects_have_their_sign_and_interval() -> None:
    scores, settings = made(80)
    found = {(one.setting, one.level): one for one in effects(scores, [0] * 80, range(80), settings)}
    assert found["loss", "good"].verdict == EFFECT_HELPS
    assert found["loss", "bad"].verdict == EFFECT_HURTS
    assert {one.reference for one in found.values() if one.setting == "loss"} == {"plain"}
    assert [one.verdict for one in found.values() if one.setting == "augmentation"] == [EFFECT_UNDECIDED]
    for one in found.values():
        assert one.low is not None
        assert one.high is not None
        assert one.low < (one.effect or 0.0) < one.high


@pytest.mark.parametrize("design", DESIGNS)
def test_no_design_makes_verdicts_out_of_nothing(design: str) -> None:
    told = [one for n in range(12) for one in judged(np.random.default_rng([7, n]), design, 120, 0.01)]
    called = [one for one in told if one["verdict"] != EFFECT_UNDECIDED]
    assert sum(map(is_false, called)) <= 0.1 * len(called) + 1
    assert sum(one["true"] != 0 for one in called) > 10, "planted ones are found"


def test_one_change_at_a_time_is_the_mean_difference_of_pairs() -> None:
    scores = [0.70, 0.72, 0.69, 0.80, 0.83, 0.79, 0.60, 0.61, 0.59, 0.75, 0.77, 0.74]
    blocks = [n // 3 for n in range(12)]
    loss = ["base", "better", "base"] * 4
    lr = [1, 1, 2] * 4
    found = {one.setting: one for one in effects(scores, blocks, range(12), {"loss": loss, "lr": lr})}
    pairs = np.array(scores).reshape(4, 3)
    assert found["loss"].effect == pytest.approx((pairs[:, 1] - pairs[:, 0]).mean())
    assert found["lr"].effect == pytest.approx((pairs[:, 2] - pairs[:, 0]).mean())
    assert (found["loss"].pairs, found["lr"].pairs) == (4, 4)
    assert found["loss"].verdict == EFFECT_HELPS


def test_what_always_moves_together_gets_no_number() -> None:
    scores, settings = made(60)
    settings["sampler"] = ["odd" if loss == "good" else "even" for loss in settings["loss"]]
    found = {(one.setting, one.level): one for one in effects(scores, [0] * 60, range(60), settings)}
    assert found["sampler", "odd"].effect is None
    assert "always changed together with loss" in found["sampler", "odd"].why
    assert found["loss", "bad"].verdict == EFFECT_HURTS, "what can be told is told"


def test_another_unit_order_or_name_of_a_fold_changes_nothing() -> None:
    scores, settings = made(60)
    rng = np.random.default_rng(1)
    first = effects(scores, [n % 3 for n in range(60)], range(60), settings)
    order = rng.permutation(60).tolist()
    shuffled = {name: [values[n] for n in order] for name, values in settings.items()}
    again = effects([100 * scores[n] + 5 for n in order], ["abc"[n % 3] for n in order], order, shuffled)
    assert {(one.setting, one.level, one.verdict, one.pairs) for one in first} == {
        (one.setting, one.level, one.verdict, one.pairs) for one in again
    }
    by_name = {(one.setting, one.level): one for one in again}
    assert all(100 * (one.effect or 0.0) == pytest.approx(by_name[one.setting, one.level].effect) for one in first)


def test_five_folds_of_one_configuration_are_not_five_witnesses() -> None:
    """Two configurations differ by luck; asked five times each, they still are two."""
    rng = np.random.default_rng(3)
    members = [n // 5 for n in range(50)]
    luck = rng.normal(0, 0.03, 10)
    loss = ["a" if member % 2 else "b" for member in members]
    scores = [0.7 + luck[member] + float(rng.normal(0, 0.002)) for member in members]
    (one,) = effects(scores, [n % 5 for n in range(50)], members, {"loss": loss})
    (naive,) = effects(scores, [n % 5 for n in range(50)], range(50), {"loss": loss})
    assert one.low is not None
    assert naive.low is not None
    assert (one.effect or 0.0) - one.low > 2 * ((naive.effect or 0.0) - naive.low)


def test_a_ledger_tells_its_effects_and_the_next_command(tmp_path: Path) -> None:
    paths = CompetitionPaths(tmp_path / "made")
    write_ledger(paths, 60)
    rows = ledger_effects(paths, "age")
    assert {row["target"] for row in rows} == {"age"}
    assert {row["setting"] for row in rows} == {"backbone", "loss", "lr"}
    trials, scores, epoch = compared(by_target(trial_table(paths))["age"])
    assert epoch == 2, "few finished, so pruned trials count by what they reached"
    assert len(trials) == rows[0]["of"] > 20
    assert scores == [max(trial.curve[:2]) for trial in trials]
    for row in rows:
        if row["verdict"] == EFFECT_UNDECIDED:
            assert row["next"].startswith("run_search.py made --base ")
            assert TrialFolder(paths.trials / row["next"].split()[3]).record() is not None
    with pytest.raises(UserError, match="unknown target 'agee'; did you mean age"):
        ledger_effects(paths, "agee")
