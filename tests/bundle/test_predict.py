"""What a bundle is asked and what it says of its answers, on the tiny competition: one trial per task, and colour's on all folds."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import predict
from bundle.answer import cached_test_probs
from bundle.export import export
from bundle.layout import checksums
from bundle.opened import Opened
from bundle.predict import Answers, Bundle, open_bundle
from competitions.competition import Competition
from ensemble.choose import Choice
from ensemble.options import Options
from ensemble.plan.plan import decide
from ensemble.plan.task_ensemble import TaskEnsemble, vote_task
from ensemble.votes import FIRST_CLASS
from system.errors import UserError
from system.files import read_json, replace_json
from tests.bundle.test_bundle import choose, train_on_other_folds, trained
from tests.conftest import BROKEN_TEST

TASKS = ("colour", "shape")
Ask = Callable[..., Answers]


@pytest.fixture(scope="module")
def here(tiny_data: Path, tiny_competition: Competition, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(prepared with one trial per task on fold 0 and colour's on all four folds, `PODIUM_DATA`)."""
    with trained(tiny_data, tiny_competition, tmp_path_factory.mktemp("runs"), 1, TASKS) as prepared:
        train_on_other_folds(prepared, TASKS)
        yield prepared, tiny_data


@pytest.fixture(scope="module")
def exported(here: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Choice, Path]:
    """(one trial per task, its bundle)."""
    prepared, _ = here
    to = tmp_path_factory.mktemp("exported")
    choice = choose(prepared, Options(top=1, plain=True))
    export(Opened(prepared), choice, to)
    return choice, to / "bundle"


def spec_of(ensemble: TaskEnsemble, *, tie_rule: str | None = None, **changes: Any) -> TaskEnsemble:
    """The ensemble with another spec."""
    return replace(ensemble, spec=replace(ensemble.spec, **changes), tie_rule=tie_rule or ensemble.tie_rule)


def changed(choice: Choice, colour: TaskEnsemble) -> Choice:
    """The choice with another ensemble for colour."""
    return replace(choice, plan=replace(choice.plan, tasks=(colour, *choice.plan.tasks[1:])))


def ask(data: Path, bundle: Bundle, ids: Sequence[str], groups: Sequence[str] | None = None) -> Answers:
    """What a bundle says of photos of the tiny competition."""
    return bundle.predict(data / "tiny", ids, [f"{name}.png" for name in ids], groups=groups)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """`predict.py` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
    return predict.main()


def table(path: Path, ids: Sequence[str]) -> Path:
    """A table of photos with ids, paths and groups of four."""
    path.write_text("image,file,person\n" + "".join(f"{name},{name}.png,p{n // 4}\n" for n, name in enumerate(ids)))
    return path


def test_a_plan_that_decides_by_groups_says_where_it_was_given_none(
    here: Any, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    prepared, data = here
    choice, _ = exported
    by_group = changed(choice, spec_of(choice.plan.tasks[0], same_group="logs"))
    export(Opened(prepared), by_group, tmp_path)
    bundle, ids = open_bundle(tmp_path / "bundle"), choice.image_ids
    assert ask(data, bundle, ids).without_groups == ("colour",)
    grouped = ask(data, bundle, ids, [str(n // 4) for n in range(len(ids))])
    assert grouped.without_groups == ()
    assert [len(set(grouped.labels["colour"][n : n + 4])) for n in (0, 4, 8)] == [1, 1, 1]
    options = (tmp_path / "bundle", data / "tiny", "--out", tmp_path / "a.csv", "--ids", table(tmp_path / "ids.csv", ids))
    told = "colour: a group gets one answer, and no groups were given"
    assert run(monkeypatch, *options, "--path-column", "file") == 0
    assert told in capsys.readouterr().out
    assert run(monkeypatch, *options, "--path-column", "file", "--group-column", "person") == 0
    assert told not in capsys.readouterr().out
    assert run(monkeypatch, *options, "--path-column", "file", "--json") == 0
    assert '"without_groups": [\n  "colour"\n ]' in capsys.readouterr().out


@pytest.mark.parametrize("text", ["null", "[1]", '[["plan.json", "0"]]', '{"plan.json": 1}', "{"])
def test_a_list_of_checksums_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "checksums.json").write_text(text)
    with pytest.raises(UserError, match=r"is damaged: checksums\.json .*; copy it again"):
        open_bundle(tmp_path)


def test_photos_whose_names_are_no_utf8_are_named_before_a_network_runs(
    here: Any, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    _, data = here
    (tmp_path / "photos").mkdir()
    for name in ("t00.png", os.fsdecode(b"t\xff1.png")):
        shutil.copy(data / "tiny" / "t00.png", tmp_path / "photos" / name)
    assert run(monkeypatch, exported[1], tmp_path / "photos", "--out", tmp_path / "a.csv") == 2
    told = capsys.readouterr().err
    assert "image ids must be UTF-8 text, 1 are not: 't\\udcff1.png'; rename these photos" in told
    assert "predicting photos" not in told
    with pytest.raises(UserError, match="1 image ids stand more than once, among them t00"):
        ask(data, open_bundle(exported[1]), ["t00", "t00"])


def test_a_bundle_of_ids_without_endings_answers_a_folder_and_a_table_alike(here: Any, exported: Any, tmp_path: Path) -> None:
    _, data = here
    (tmp_path / "photos").mkdir()
    for name in ("t00.png", "t01.png"):
        shutil.copy(data / "tiny" / name, tmp_path / "photos" / name)
    bundle = open_bundle(exported[1])
    assert bundle.ids_without_endings  # its table says t00 of t00.png
    as_before = replace(bundle, ids_without_endings=False).predict(tmp_path / "photos")
    assert as_before.image_ids == ("t00.png", "t01.png")
    for answers in (bundle.predict(tmp_path / "photos"), bundle.predict(tmp_path / "photos", ["t00", "t01"])):
        assert answers.image_ids == ("t00", "t01")
        assert answers.labels["label"].tolist() == as_before.labels["label"].tolist()


def test_a_bundle_reads_photos_with_the_bits_it_was_trained_with(
    here: Any, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, data = here
    run_model = Bundle._run
    choice, folder = exported
    assert "bits" not in read_json(folder / "models.json")
    export(Opened(replace(prepared, bits=12)), choice, tmp_path)
    bundle = open_bundle(tmp_path / "bundle")
    assert (open_bundle(folder).bits, bundle.bits) == (16, 12)
    photo = np.asarray(Image.open(data / "tiny/t00.png").convert("L")).astype(np.uint16)
    (tmp_path / "photos").mkdir()
    for name, shift in (("grey", 0), ("deep", 4), ("whole", 8)):
        Image.fromarray(photo << shift if shift else photo.astype(np.uint8)).save(tmp_path / f"photos/{name}.png")
    shown: list[Any] = []
    monkeypatch.setattr(Bundle, "_run", lambda self, model, images: shown.append(images.copy()) or run_model(self, model, images))
    bundle.predict(tmp_path / "photos", ["grey", "deep"])
    open_bundle(folder).predict(tmp_path / "photos", ["grey", "whole"])
    assert shown
    for images in shown:  # (2, S, S, 3)
        np.testing.assert_array_equal(images[0], images[1])


def test_a_broken_photo_votes_with_what_each_fold_s_trial_learned_from_as_in_the_cache(here: Any, tmp_path: Path) -> None:
    prepared, data = here
    choice = choose(prepared, Options(fold="all", top=1, plain=True))
    colour, at = choice.plan.tasks[0], choice.image_ids.index(BROKEN_TEST)
    own = vote_task(
        spec_of(colour, rule="soft", tie_rule=FIRST_CLASS), cached_test_probs(Opened(prepared), choice.plan), choice.image_ids
    )
    folds, whole = own.shares[at], np.array(colour.prior)
    apart = np.log(folds[:2] / folds[2]) - np.log(whole[:2] / whole[2])
    one = int(np.abs(apart).argmax())
    assert abs(apart[one]) > 1e-3, "the folds' shares of two classes differ from those of all photos"
    offsets = np.full(3, -9.0)
    offsets[[one, 2]] = 0, np.log(folds[one] / folds[2]) - apart[one] / 2  # where the two answers part
    decided = changed(choice, spec_of(colour, rule="soft", tie_rule=FIRST_CLASS, offsets=tuple(offsets.tolist())))
    expected = decide(decided.plan, cached_test_probs(Opened(prepared), decided.plan), choice.image_ids)
    export(Opened(prepared), decided, tmp_path)
    bundle = open_bundle(tmp_path / "bundle")
    answers = ask(data, bundle, choice.image_ids)
    assert set(answers.broken) == {BROKEN_TEST}
    for task, labels in expected.items():
        np.testing.assert_array_equal(answers.labels[task], labels)
    for trial, model in bundle.models.items():
        for head in model.config.heads:
            _, cached = Opened(prepared).trial(trial).predictions.read("test", head, "identity")
            np.testing.assert_array_equal(model.priors[head], cached[at])


def test_a_bundle_that_does_not_say_what_its_trials_learned_from_takes_the_plan_s_shares(exported: Any, tmp_path: Path) -> None:
    choice, bundle = exported
    shutil.copytree(bundle, tmp_path / "b")
    said = read_json(tmp_path / "b/models.json")
    for facts in said["models"].values():
        del facts["priors"]
    replace_json(tmp_path / "b/models.json", said)
    replace_json(tmp_path / "b/checksums.json", checksums(tmp_path / "b"))
    old = open_bundle(tmp_path / "b")
    for ensemble in choice.plan.tasks:
        for trial, head, _ in ensemble.keys:
            np.testing.assert_array_equal(old.models[trial].priors[head], np.array(ensemble.prior).astype(np.float16))


def test_a_decision_whose_two_best_classes_are_close_is_a_close_call_though_no_voter_is(here: Any, exported: Any) -> None:
    prepared, data = here
    choice, folder = exported
    colour, ids = spec_of(choice.plan.tasks[0], rule="soft", tie_rule=FIRST_CLASS), choice.image_ids
    both = [
        vote_task(one, cached_test_probs(Opened(prepared), choice.plan), ids).shares for one in (colour, choice.plan.tasks[1])
    ]
    lead = np.min([np.diff(np.sort(shares, axis=1)[:, -2:])[:, 0] for shares in both], axis=0)
    sure, shares = int(lead.argmax()), both[0]
    first, second, third = np.argsort(-shares[sure])
    offsets = np.zeros(3)
    offsets[[second, third]] = np.log(shares[sure, first] / shares[sure, second]), -9.0
    assert lead[sure] > 1e-3
    bundle, closes = open_bundle(folder), []
    for moved in (None, tuple(offsets.tolist())):
        plan = changed(choice, spec_of(colour, offsets=moved)).plan
        closes.append(ask(data, replace(bundle, plan=plan), [ids[sure]]).close)
    assert closes == [0, 1]


def test_a_broken_photo_is_no_close_call_however_even_the_classes_are(here: Any, exported: Any) -> None:
    _, data = here
    _, folder = exported
    bundle = open_bundle(folder)
    even = {"colour": np.full(3, 1 / 3, np.float16), "shape": np.full(2, 1 / 2, np.float16)}
    models = {trial: replace(model, priors=even) for trial, model in bundle.models.items()}
    answers = ask(data, replace(bundle, models=models), [BROKEN_TEST])
    assert (set(answers.broken), answers.close) == ({BROKEN_TEST}, 0)
