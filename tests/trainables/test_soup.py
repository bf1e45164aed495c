"""A soup is the mean of its ingredients, a trial like all others, and there only where it is better than the best of them."""

import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from competitions.competition import Competition
from competitions.prepare import Prepared, prepare
from competitions.targets import targets
from ledger.merge.versions import read_version
from ledger.predictions import best_predictions
from ledger.query import best_trials, leaderboard
from ledger.repair.trials import needs_repair
from ledger.trials import TrialFolder, trial_folders
from search.refit import members_of
from search.request import Request
from search.variations import base_config
from system.claims import claim
from system.errors import UserError
from system.files import file_hash
from system.paths import CompetitionPaths
from trainables import soup as soups_of
from trainables.attach import attach, complete_trial, is_complete, start_of, weights_store
from trainables.best_weights import best_header
from trainables.checkpoint import read_tensors, write_tensors
from trainables.config import DEFAULTS, Question, TrialConfig, check_parameters, name_of, resolve
from trainables.families import Relative, TriedFamily, ranked, relative
from trainables.reproduce.retrain import reproduce
from trainables.soup import average, greedy, mean_of, soups
from trainables.training import TrialRun, run_trial

TARGET = "colour"


def family_of(paths: CompetitionPaths, trials: Sequence[str]) -> list[Relative]:
    return ranked([one for trial in sorted(set(trials)) if (one := relative(paths, trial)) is not None])


def make_soup(prepared: Prepared, trials: Sequence[str]) -> TrialFolder | None:
    return soups_of.make_soup(prepared, family_of(prepared.paths, trials))


@dataclass(frozen=True)
class Kitchen:
    """A storage with trials of one start: two that stand on either side of better weights, one that spoils every mean; and one alone."""

    prepared: Prepared
    pair: tuple[str, str]
    bad: str
    alone: str

    @property
    def paths(self) -> CompetitionPaths:
        return self.prepared.paths

    def folder(self, trial: str) -> TrialFolder:
        return TrialFolder(self.paths.trials / trial)

    def score(self, trial: str) -> float:
        record = self.folder(trial).record()
        assert record is not None
        assert record.score is not None
        return record.score

    def put(self, trial: str, tensors: dict[str, Tensor]) -> None:
        """Let a trial have these best weights, and the score that is theirs."""
        folder, config = self.folder(trial), TrialConfig.from_json(self.folder(trial).config())
        record = folder.record()
        assert record is not None
        weights = write_tensors(folder.best, tensors, best_header(config, 1))
        folder.last.unlink(missing_ok=True)
        folder.write_record(replace(record, weights=weights))
        one = relative(self.paths, trial)
        assert one is not None
        score = mean_of(self.prepared, [one], "cpu").score
        folder.write_record(replace(record, weights=weights, score=score, curve=[score]))

    def mean(self, *trials: str) -> float:
        """The score of the mean of their weights."""
        return mean_of(self.prepared, family_of(self.paths, trials), "cpu").score

    def forget(self) -> None:
        """No soup was ever made or tried."""
        shutil.rmtree(self.paths.data / "soups", ignore_errors=True)
        for folder in list(trial_folders(self.paths.trials)):
            if folder.config().get("soup"):
                shutil.rmtree(folder.path)


def plant(kitchen: Kitchen, tries: int = 20) -> None:
    """Weights on either side of the first trial's that are worse than it, and weights that spoil every mean.

    What a network answers under noise differs from processor to processor, so noise is drawn until it does what it is there for.
    """
    middle, _ = read_tensors(kitchen.folder(kitchen.pair[0]).best)
    score = kitchen.score(kitchen.pair[0])
    for seed in range(tries):
        chance = np.random.default_rng(seed)
        draw = {name: torch.from_numpy(chance.standard_normal(tensor.shape)).to(tensor.dtype) for name, tensor in middle.items()}
        for trial, sign in zip(kitchen.pair, (1, -1), strict=True):
            kitchen.put(trial, {name: tensor + 3 * sign * tensor.std() * draw[name] for name, tensor in middle.items()})
        kitchen.put(kitchen.bad, {name: 100 * tensor for name, tensor in draw.items()})
        worst, *pair = (kitchen.score(trial) for trial in (kitchen.bad, *kitchen.pair))
        spoilt = all(kitchen.mean(trial, kitchen.bad) < kitchen.score(trial) for trial in kitchen.pair)
        if worst < min(pair) and max(pair) < min(score, kitchen.mean(*kitchen.pair)) and spoilt:
            return
    raise AssertionError(f"no noise of {tries} makes weights that score {score:.3f} worse")


def question_of(prepared: Prepared) -> Question:
    target = targets(prepared.competition)[TARGET]
    return Question("tiny", TARGET, target.heads, target.metric, prepared.data_fingerprint(target), "groups", 0, 0, 32)


@pytest.fixture(scope="module")
def built(tiny_data: Path, tiny_competition: Competition, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODIUM_DATA", str(tiny_data))
        patch.delenv("PODIUM_CACHE", raising=False)
        prepared = prepare(tiny_competition, CompetitionPaths(tmp_path_factory.mktemp("storage") / "tiny"))
        prepared.save()
        question = question_of(prepared)
        settings = {"backbone": "test_vit", "epochs": 1, "batch_size": 16, "augmentation": "none", "lr": 3e-3}

        def train(start: str = "", seed: int = 0, **more: Any) -> str:
            config = replace(resolve({**settings, **more}, replace(question, seed=seed)), weights=start)
            assert run_trial(config, attach(prepared, config)).finished
            return config.trial_id

        _, start = start_of(TrialFolder(prepared.paths.trials / train()), weights_store(prepared))
        better, other = train(start, 1, lr=1e-3), train(start, 2, lr=2e-3)
        bad = train(start, 3)
        kitchen = Kitchen(prepared, (better, other), bad, train(seed=4))
        plant(kitchen)
        yield kitchen


@pytest.fixture
def kitchen(built: Kitchen) -> Iterator[Kitchen]:
    """Everything as it was built, before and after each test."""
    built.forget()
    kept = {path: path.read_bytes() for path in built.paths.root.rglob("*") if path.is_file() and "cache" not in path.parts}
    yield built
    built.forget()
    for path, data in kept.items():
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def test_a_planted_soup_is_found_and_is_a_trial_like_all_others(kitchen: Kitchen) -> None:
    family = [*kitchen.pair, kitchen.bad]
    folder = make_soup(kitchen.prepared, family)
    assert folder is not None
    record, config = folder.record(), TrialConfig.from_json(folder.config())
    assert record is not None
    assert config.soup == tuple(sorted(kitchen.pair)), "the one that spoils every mean joined"
    assert config.trial_id == record.trial_id == folder.id
    assert (record.finished, record.diverged, record.weights) == (True, False, file_hash(folder.best))
    assert record.score == record.curve[0] > max(kitchen.score(trial) for trial in family)
    assert not needs_repair(folder, name_of)
    assert not read_version(folder.path, folder.id).faults
    assert is_complete(kitchen.prepared, folder, ["identity"], parts=["validation"])
    before = best_predictions(folder, record).read("validation", TARGET, "identity")[1].copy()
    shutil.rmtree(folder.predictions)
    complete_trial(kitchen.prepared, folder, kitchen.prepared.competition.views)
    after = best_predictions(folder, record).read("validation", TARGET, "identity")[1]
    assert before.tobytes() == after.tobytes(), "the score is not that of the weights in the folder"
    best = best_trials(kitchen.paths, TARGET, config.data, 0, config.metric)
    assert best[0] == (folder.id, record.score)
    (row,) = (row for row in leaderboard(kitchen.paths).rows if row.trial_id == folder.id)
    assert (row.status, row.study, row.config["soup"]) == ("finished", None, sorted(kitchen.pair))


def test_the_order_of_the_trials_changes_nothing_and_nothing_is_made_twice(kitchen: Kitchen) -> None:
    family = [*kitchen.pair, kitchen.bad]
    made = []
    for order in (family, family[::-1]):
        folder = make_soup(kitchen.prepared, order)
        assert folder is not None
        made.append({path.relative_to(folder.path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()})
        kitchen.forget()
    assert made[0] == made[1]
    first = make_soup(kitchen.prepared, family)
    assert first is not None
    written = {path: path.stat().st_mtime_ns for path in kitchen.paths.trials.rglob("*") if path.is_file()}
    assert make_soup(kitchen.prepared, family) == first
    assert {path: path.stat().st_mtime_ns for path in kitchen.paths.trials.rglob("*") if path.is_file()} == written


@pytest.mark.parametrize("k", [2, 3, 7])
def test_the_mean_of_equal_weights_is_each_of_them_bit_for_bit(kitchen: Kitchen, k: int, tmp_path: Path) -> None:
    best = kitchen.folder(kitchen.bad).best
    tensors, header = read_tensors(best)
    tensors |= {"half": torch.rand(50).half(), "batches": torch.tensor(5), "tiny": torch.tensor([-0.0, 1e-45, 3e38, 1 / 3])}
    write_tensors(tmp_path / "one.safetensors", tensors, header)
    mean = average([tmp_path / "one.safetensors"] * k)
    assert mean.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert mean[name].dtype == tensor.dtype
        assert mean[name].numpy().tobytes() == tensor.numpy().tobytes(), name


def test_a_mean_that_is_no_better_is_not_taken_and_not_tried_again(kitchen: Kitchen) -> None:
    for trials in ((kitchen.pair[0], kitchen.bad), (kitchen.pair[1], kitchen.bad)):
        family = family_of(kitchen.paths, trials)
        _, mean = greedy(kitchen.prepared, family, "cpu")
        assert mean is None
        assert make_soup(kitchen.prepared, trials) is None
        assert TriedFamily.of(kitchen.paths, family).chosen() == ()
    twin, _ = read_tensors(kitchen.folder(kitchen.pair[0]).best)
    kitchen.put(kitchen.pair[1], twin)
    kitchen.forget()
    assert make_soup(kitchen.prepared, kitchen.pair) is None, "two equal trials are no better than one"


def test_each_step_of_the_recipe_keeps_or_raises_the_score(kitchen: Kitchen) -> None:
    """Against recipe 1 written out: every subset that it visits, scored anew."""
    family = family_of(kitchen.paths, [*kitchen.pair, kitchen.bad])
    joined, score = [family[0]], family[0].score
    for one in family[1:]:
        new = mean_of(kitchen.prepared, [one, *joined], "cpu").score
        joined, score = ([*joined, one], new) if new >= score else (joined, score)
    chosen, mean = greedy(kitchen.prepared, family, "cpu")
    assert mean is not None
    assert (chosen, mean.score) == (tuple(sorted(one.folder.id for one in joined)), score)


def test_families_are_found_and_what_belongs_to_none_is_passed_over(kitchen: Kitchen) -> None:
    everything = [folder.id for folder in trial_folders(kitchen.paths.trials)]
    found = soups(kitchen.prepared, {TARGET: everything}, fold=0)
    folder = make_soup(kitchen.prepared, [*kitchen.pair, kitchen.bad])
    assert folder is not None
    assert found == {TARGET: (folder.id,)}
    again = {TARGET: [*everything, folder.id, "0123456789ab"]}
    assert soups(kitchen.prepared, again, fold=0) == found, "a soup became an ingredient"
    assert soups(kitchen.prepared, again, fold=1) == {}
    assert soups(kitchen.prepared, {TARGET: [kitchen.alone, kitchen.pair[0]]}, fold=0) == {}


def test_a_trial_that_lost_its_weights_is_named(kitchen: Kitchen) -> None:
    kitchen.folder(kitchen.bad).best.unlink()
    with pytest.raises(UserError, match=rf"trial {kitchen.bad} is left out.*--restore"):
        make_soup(kitchen.prepared, [*kitchen.pair, kitchen.bad])


def test_a_soup_is_reproduced_by_averaging_again(kitchen: Kitchen) -> None:
    folder = make_soup(kitchen.prepared, kitchen.pair)
    assert folder is not None
    competition = kitchen.prepared.competition
    verdict = reproduce(competition, kitchen.paths, folder.id)
    assert (verdict.verdict, verdict.equal_bits, verdict.ingredients) == ("PASS", True, ())
    assert verdict.score_then == verdict.score_now
    best = folder.best.read_bytes()
    folder.best.unlink()
    assert reproduce(competition, kitchen.paths, folder.id, restore=True).restored
    assert folder.best.read_bytes() == best
    tensors, _ = read_tensors(kitchen.folder(kitchen.bad).best)
    kitchen.put(kitchen.pair[0], tensors)
    changed = reproduce(competition, kitchen.paths, folder.id)
    assert changed.verdict == "DIFFERS"
    assert [part.ingredient for part in changed.ingredients] == ["soup"]
    assert list(changed.ingredients[0].then) == [kitchen.pair[0]]
    kitchen.folder(kitchen.pair[0]).best.unlink()
    with pytest.raises(UserError, match=rf"needs trial {kitchen.pair[0]}, whose weights.*tiny {kitchen.pair[0]} --restore"):
        reproduce(competition, kitchen.paths, folder.id)
    shutil.rmtree(kitchen.folder(kitchen.pair[0]).path)
    with pytest.raises(UserError, match=rf"needs trial {kitchen.pair[0]}, which is not in this storage"):
        reproduce(competition, kitchen.paths, folder.id)


def test_a_damaged_soup_is_made_again(kitchen: Kitchen) -> None:
    folder = make_soup(kitchen.prepared, kitchen.pair)
    assert folder is not None
    whole = {name: (folder.path / name).read_bytes() for name in ("best.safetensors", "record.json", "config.json")}
    for name, data in whole.items():
        (folder.path / name).write_bytes(data[: len(data) // 2])
        assert make_soup(kitchen.prepared, kitchen.pair) == folder
        assert {name: (folder.path / name).read_bytes() for name in whole} == whole, name
    assert any((kitchen.paths.root / "quarantine").rglob("best.safetensors.*"))


def test_a_soup_is_neither_trained_nor_searched_around(kitchen: Kitchen) -> None:
    folder = make_soup(kitchen.prepared, kitchen.pair)
    assert folder is not None
    config = TrialConfig.from_json(folder.config())
    with pytest.raises(UserError, match=rf"trial {folder.id} is the mean of .* and is not trained"):
        TrialRun(config, attach(kitchen.prepared, config))
    with pytest.raises(UserError, match=rf"trial {folder.id} is the mean of .* give one of these"):
        base_config(kitchen.paths, folder.id)
    question = question_of(kitchen.prepared)
    best, *_ = members_of(Request("tiny", trials=2, all_data=True), kitchen.prepared, {TARGET: question})[TARGET]
    assert not best.soup
    assert "soup" not in DEFAULTS
    assert check_parameters({"soup": list(kitchen.pair)})
    backbone, weights = start_of(folder, weights_store(kitchen.prepared))
    assert (backbone, weights) == ("test_vit", file_hash(folder.best)), "a soup may be the start of a trial"


def test_a_claim_that_somebody_holds_is_waited_for(kitchen: Kitchen) -> None:
    folder = make_soup(kitchen.prepared, kitchen.pair)
    assert folder is not None
    shutil.rmtree(folder.path)
    held = claim(folder.claim)
    assert held is not None
    threading.Timer(0.5, held.release).start()
    assert make_soup(kitchen.prepared, kitchen.pair) == folder
    assert not folder.claim.exists()
    assert folder.best.is_file()
