"""Simulated competitions with known truth: a vote gives way to the best trial where that is right, and hardly ever where it is not."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from competitions.labels import Composition
from competitions.metrics import METRICS
from ensemble.choose import Choice, choose
from ensemble.label.cascade import Subtask
from ensemble.options import Options
from ensemble.plan.plan import SubmissionForm, decide
from ensemble.pool import AskedPhotos, CompetitionFacts, LabelledPhotos, Member, Pool, Pools
from ensemble.selection.candidates import Candidates

SEEN_THROUGH, KINDS = ("identity", "second", "third"), ("a", "b", "c")
N_GROUPS, NEW_GROUPS, EACH = 30, 1000, 3
COMPETITIONS = 60
EQUAL, ONE_GOOD = (1.5,) * 4, (2.5, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class SimulatedVote:
    """Whether the vote was set aside, what the exported choice and the vote score in truth, and whether the honest interval holds it."""

    aside: bool
    truth: float
    vote: float
    covered: bool


def said(rng: np.random.Generator, labels: np.ndarray, n_groups: int, strength: tuple[float, ...], hurt: float) -> np.ndarray:
    """`float16 (M, V, N, C)`: what members say, views sharing a photo's and a group's noise; all but the first lose `hurt` of it."""
    n_members, n_classes, group = len(strength), len(KINDS), np.repeat(np.arange(n_groups), EACH)
    sight = np.stack([one * np.eye(n_classes)[labels] for one in strength])[:, None]
    sight = sight * np.array([1, 1 - hurt, 1 - hurt])[None, :, None, None]
    of_group = rng.normal(0, 0.7, (n_members, n_groups, n_classes))[:, None, group]
    of_photo = rng.normal(0, 0.7, (n_members, 1, len(labels), n_classes))
    logits = sight + of_photo + of_group + rng.normal(0, 0.5, (n_members, len(SEEN_THROUGH), len(labels), n_classes))
    odds = np.exp(logits)
    return (odds / odds.sum(axis=-1, keepdims=True)).astype(np.float16)


def simulated(seed: int, strength: tuple[float, ...], hurt: float) -> SimulatedVote:
    """One competition of 90 labelled photos of 30 groups; the truth is that of 3,000 photos of other groups."""
    rng = np.random.default_rng(seed)
    labels, new = rng.integers(0, 3, N_GROUPS * EACH), rng.integers(0, 3, NEW_GROUPS * EACH)
    ids, names = tuple(f"p{n}" for n in range(len(labels))), tuple(f"m{n}" for n in range(len(strength)))
    new_ids = tuple(f"t{n}" for n in range(len(new)))
    groups = np.array([f"g{n // EACH:03}" for n in range(len(labels))])
    known, fresh = said(rng, labels, N_GROUPS, strength, hurt), said(rng, new, NEW_GROUPS, strength, hurt)
    candidates = Candidates(names, SEEN_THROUGH, known, labels, groups, "macro_f1", width=len(names))
    members = tuple(Member(name, (name,), "kind") for name in names)
    pool = Pool(Subtask("kind"), candidates, members, (0.0,) * len(names), ids, len(names), prior=(1 / 3,) * 3)
    form, table = SubmissionForm("id", (("y", "kind"),), "index"), Composition(("kind",), (KINDS,))
    facts = CompetitionFacts("drawn", "macro_f1", {"kind": KINDS, "label": KINDS}, table, form)
    labelled = LabelledPhotos(ids, {"kind": labels, "label": labels}, np.ones(len(labels), dtype=bool))
    pools = Pools(facts, {Subtask("kind"): pool}, labelled, AskedPhotos(), (1 / 3,) * 3)

    def truth(choice: Choice) -> float:
        probs: Any = {key: (new_ids, fresh[names.index(key[0]), SEEN_THROUGH.index(key[2])]) for key in choice.plan.keys}
        return METRICS["macro_f1"](np.eye(3)[decide(choice.plan, probs, new_ids)["kind"]], new)

    followed = choose(pools, Options(plain=True))
    aside, honest = "set_aside" in followed.scores["kind"], followed.scores["kind"]["honest"]
    score = truth(followed)
    vote = truth(choose(pools, Options(plain=True, vote="hard"))) if aside else score
    return SimulatedVote(aside, score, vote, honest["low"] <= score <= honest["high"])


@pytest.mark.long
@pytest.mark.parametrize(
    ("strength", "hurt", "worse"), [(EQUAL, 0.0, False), (ONE_GOOD, 0.0, False), (EQUAL, 0.4, False), (EQUAL, 1.0, True)]
)
def test_a_worse_vote_gives_way_and_a_good_one_stays(strength: tuple[float, ...], hurt: float, worse: bool) -> None:
    found = [simulated(seed, strength, hurt) for seed in range(COMPETITIONS)]
    aside = [one for one in found if one.aside]
    print(len(aside), [round(float(np.mean([getattr(one, name) for one in found])), 4) for name in ("truth", "vote", "covered")])
    assert np.mean([one.covered for one in found]) >= 0.87
    if worse:
        assert len(aside) > COMPETITIONS / 2
        assert min(one.truth - one.vote for one in aside) > 0
    else:
        assert len(aside) <= 0.075 * COMPETITIONS
