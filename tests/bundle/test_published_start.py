"""Published weights for real, fine-tuned and probed: trained again, merged by a team-mate, exported, and they predict."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.answer import answer
from bundle.export import export
from bundle.gather import gather
from bundle.opened import Opened
from bundle.predict import open_bundle
from competitions.competition import Competition
from competitions.prepare import prepare
from competitions.targets import choose_targets
from ensemble.choose import choose
from ensemble.options import Options
from ledger.merge.ledgers import merge
from search.space_check import StartWeights
from system.files import read_json
from system.paths import CompetitionPaths
from trainables.attach import attach
from trainables.config import Question, resolve
from trainables.probes.run import open_run
from trainables.reproduce.retrain import reproduce
from trainables.start.published import WEIGHT_PACKAGES

LITE = "tf_efficientnet_lite0"
DRAWN: dict[str, dict[str, Any]] = {
    "fine-tuned": {"backbone": LITE, "pretrained": True, "epochs": 2, "batch_size": 16, "augmentation": "none", "lr": 1e-3},
    "probe": {"backbone": LITE, "pretrained": True, "probe": "logistic", "class_weights": "sqrt"},
}


@pytest.mark.parametrize("kind", DRAWN)
def test_a_trial_on_published_weights_is_reproduced_merged_exported_and_predicts(
    kind: str, tiny_data: Path, tiny_competition: Competition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_DATA", str(tiny_data))
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    prepared = prepare(tiny_competition, CompetitionPaths(tmp_path / "ours/tiny"))
    prepared.save()
    (target,) = choose_targets(tiny_competition, ["both"])
    question = Question("tiny", "both", target.heads, target.metric, prepared.data_fingerprint(target), "groups", 0, 0, 64)
    config = resolve(DRAWN[kind], question)
    StartWeights(prepared)(DRAWN[kind])  # as a search does for each suggestion
    run = open_run(config, attach(prepared, config))
    while not run.record.ended:
        run.step()
    record = run.record
    assert record.finished
    assert record.score is not None
    assert np.isfinite(record.score)

    theirs = CompetitionPaths(tmp_path / "theirs/tiny")
    report = merge(theirs, {"ours": prepared.paths})
    assert (report.weights, len(report.new_trials)) == (1, 1)
    package = WEIGHT_PACKAGES[LITE]
    monkeypatch.setitem(WEIGHT_PACKAGES, LITE, replace(package, package="no-such-package-of-podium"))
    verdict = reproduce(tiny_competition, theirs, config.trial_id)
    assert (verdict.verdict, verdict.equal_bits) == ("PASS", True), verdict.reason
    monkeypatch.setitem(WEIGHT_PACKAGES, LITE, package)

    options = Options(targets=("both",), top=1, plain=True)
    choice = choose(gather(Opened(prepared), options), options)
    export(Opened(prepared), choice, tmp_path / "exported")
    bundle = tmp_path / "exported/bundle"
    told = read_json(bundle / "models.json")["models"][config.trial_id]["preprocessing"]
    assert (told["mean"], told["std"]) == ([0.5] * 3, [0.5] * 3)
    assert (
        f"published weights of package `{package.package}`, licence by its own word: Apache-2.0"
        in (bundle / "LICENCES.md").read_text()
    )
    names = [f"{name}.png" for name in choice.image_ids]
    answers = open_bundle(bundle).predict(tiny_data / "tiny", choice.image_ids, names)
    for task, labels in answer(Opened(prepared), choice.plan, choice.image_ids).items():
        np.testing.assert_array_equal(answers.labels[task], labels, err_msg=task)
