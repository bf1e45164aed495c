"""Prediction from a bundle: photos in any number to one answer each, with nothing but the bundle's folder.

Photos go through the decoder and the views that made the cached predictions, and probabilities are rounded to float16 before they
decide, so that the answers equal the cached ones. A photo that cannot be decoded votes with the prior, so no row is missing.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bundle.layout import BUNDLE_SCHEMA, CHECKSUMS, IMPORTED, checksums, set_aside
from bundle.photos import PhotoTable, find_photos, one_row_each, places_below, read_ids, without_endings
from competitions.answers import id_faults
from competitions.images.decode import CONTAINER_BITS, BrokenImage, read_image, resize, scaled_path
from competitions.images.photo_files import passed_over
from competitions.manifest import LABEL
from ensemble.align import Rows
from ensemble.plan.near_ties import Bools, counts, is_close, label_may_turn, may_turn, steepness, together_may_turn
from ensemble.plan.plan import EnsemblePlan, answer_subtasks
from ensemble.plan.spec import decide_by, decide_together
from ensemble.plan.task_ensemble import TaskEnsemble, voter_rows, without
from ensemble.votes import Vote
from ledger.predictions import Predictions
from system.disk import FullDiskError
from system.errors import UserError
from system.files import read_json
from trainables.backbones import Preprocessing
from trainables.config import TrialConfig
from trainables.devices import compute_with, device_faults
from trainables.prediction import BATCH, ViewProbs, load_network, predict

CHUNK = 4 * BATCH


@dataclass(frozen=True)
class Answers:
    """What a bundle says about N photos.

    Attributes:
        image_ids: N ids in the order asked for.
        labels: Task -> class numbers `int64 (N,)`; the composed one is called `label`.
        shares: Task -> class shares `float64 (N, C)`, of those tasks whose shares are handed in.
        broken: Id -> why the photo could not be decoded; it was answered from the prior.
        close: How many photos have a voter, or a decision, whose two best classes are nearer than `ensemble.plan.near_ties.MARGIN`: between
            kinds of device only their answers may differ.
        without_imports: How many photos an imported file has no answer for: there only trained members voted.
        without_quota: Tasks whose class shares are known for all test photos, which these photos are not: each was answered for itself.
        without_groups: Tasks of which the plan gives a group one answer, and no groups were given: each photo was answered for itself.
    """

    image_ids: tuple[str, ...]
    labels: dict[str, NDArray[np.int64]]
    broken: dict[str, str]
    close: int
    without_imports: int = 0
    without_quota: tuple[str, ...] = ()
    without_groups: tuple[str, ...] = ()
    shares: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """One trial's network, ready to run.

    Attributes:
        views: Those that its voters look through.
        priors: Head -> class shares `(C,)` of the photos it learned from: how it votes on one that cannot be read.
    """

    config: TrialConfig
    network: nn.Module
    wanted: Preprocessing
    views: tuple[str, ...]
    priors: Mapping[str, NDArray[np.float16]]


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        plan: Who votes and how.
        models: Trial -> its network.
        imported: (import, head, view) -> ids and probabilities of the photos that a file from outside has answers for.
        device: Where the networks are.
        ids_without_endings: The competition's ids are its photos' paths without the ending.
        bits: How many bits of 16-bit grey values are used, as in training.
        values: The numbers of arrays that are black and white, as in training; `None` where photos are no such arrays.
    """

    plan: EnsemblePlan
    models: dict[str, Model]
    device: str
    imported: Mapping[tuple[str, str, str], Rows] = field(default_factory=dict)
    ids_without_endings: bool = False
    bits: int = CONTAINER_BITS
    values: tuple[float, float] | None = None

    def table_of(self, photos: Sequence[str]) -> PhotoTable:
        """N photos of a folder, with the ids that the competition gives them.

        Raises:
            UserError: Two of them would have one id, or a name is no UTF-8.
        """
        if faults := id_faults(photos):
            raise UserError(*faults)
        return PhotoTable(without_endings(photos) if self.ids_without_endings else tuple(photos), tuple(photos))

    def predict(
        self,
        photos: str | Path,
        ids: Sequence[str] | None = None,
        paths: Sequence[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
        groups: Sequence[str] | None = None,
    ) -> Answers:
        """Answer every photo, a few hundred at a time.

        Args:
            photos: A folder.
            ids: N ids in the order of the answers; for `None` that of every image file, sorted by path.
            paths: Where each photo stands below the folder, its ending may be left out; the ids themselves for `None`.
            progress: Told (done, total).
            groups: N group names, where the plan gives a group one answer; without them each photo is its own group.

        Raises:
            UserError: The folder is missing or has no photos, photos that are asked for are not there, ids are empty, twice or no UTF-8,
                or an imported file would have to answer for some that it does not know.
        """
        root = Path(photos)
        if ids is None:
            table = self.table_of(find_photos(root).photos)
            ids, paths = table.ids, table.paths
        names = tuple(ids)
        if not names:
            raise UserError("ids must name at least one photo, got none; leave them out for every photo of the folder")
        if faults := id_faults(names):  # a file with such rows is refused when it is written, after all the work
            raise UserError(*faults)
        places = [scaled_path(place, self.values) for place in places_below(root, tuple(paths) if paths is not None else names)]
        path_of = dict(zip(names, places, strict=True))
        known = self._known_to_imports(names)
        if not known.all():
            for ensemble in self.plan.tasks:
                without(ensemble, self.plan.imports)  # where nobody else can answer, it says so before the first photo
        parts: list[list[Vote]] = []
        broken: dict[str, str] = {}
        near: list[Bools] = []
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            votes, bad, close = self._chunk(root, chunk, [path_of[name] for name in chunk], known[start : start + CHUNK])
            parts.append(votes if self._keeps_shares else [Vote(vote.labels, vote.shares[:0]) for vote in votes])
            broken |= bad
            near.append(close)
            if progress:
                progress(start + len(chunk), len(names))
        answers, turning = self._answer(parts, np.concatenate(near, axis=1), names, groups)
        others = tuple(e.task for e in self.plan.tasks if e.spec.quota is not None and e.quota_for(names) is None)
        alone = tuple(dict.fromkeys(e.task for e in self.plan.tasks if _lacks_groups(e, names, groups)))
        labels = {task: vote.labels for task, vote in answers.items()}
        shares = {task: answers[task].shares for task in self.plan.submission.written_by_shares}
        return Answers(names, labels, broken, int(turning.sum()), int((~known).sum()), others, alone, shares)

    @property
    def _keeps_shares(self) -> bool:
        """Whether an answer needs the shares of all photos, and not their labels alone."""
        if self.plan.submission.written_by_shares or not self.plan.decodes_by_default:
            return True
        return any(ensemble.decides_together for ensemble in self.plan.tasks)

    def _answer(
        self, parts: Sequence[Sequence[Vote]], near: Bools, names: Sequence[str], groups: Sequence[str] | None
    ) -> tuple[dict[str, Vote], Bools]:
        """Task -> its vote, and which labels may turn: where a photo's own answer may, `near` `(P, N)`, and what that brings with it."""
        votes: list[Vote] = []
        turning: Bools = np.any(near, axis=0)
        for number, ensemble in enumerate(self.plan.tasks):
            labels = np.concatenate([part[number].labels for part in parts])
            if self._keeps_shares:
                whole = Vote(labels, np.concatenate([part[number].shares for part in parts]))
                quota = ensemble.quota_for(names)
                whole = decide_together(whole, names, groups, same_group=ensemble.spec.same_group, quota=quota)
                turning |= together_may_turn(
                    near[number], whole, ensemble.spec, groups, same_group=ensemble.spec.same_group, quota=quota
                )
            else:  # labels are all that is looked at, so these shares are never read
                whole = Vote(labels, np.zeros((len(labels), len(ensemble.classes))))
            votes.append(whole)
        answers = answer_subtasks(self.plan, votes)
        if not self.plan.decodes_by_default and not all(counts(ensemble.spec) for ensemble in self.plan.tasks):
            plan = self.plan
            turning |= label_may_turn(plan.decoder, plan.composition, plan.subtasks, votes, plan.known_classes, answers[LABEL])
        return answers, turning

    def _known_to_imports(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """`(N,) bool`: photos that every import has an answer for."""
        there = set(names)
        for ids, _ in self.imported.values():
            there &= set(ids)
        return np.array([name in there for name in names], dtype=bool)

    def _chunk(
        self, root: Path, names: tuple[str, ...], paths: Sequence[str], known: NDArray[np.bool_]
    ) -> tuple[list[Vote], dict[str, str], Bools]:
        """The P subtasks' votes on n photos, which of these are broken, and `(P, n)` whether a photo's own answer may turn."""
        sizes = {model.config.image_size for model in self.models.values()}
        images, reasons = _decode(root, paths, sizes, self.bits)
        broken = {name: reasons[path] for name, path in zip(names, paths, strict=True) if path in reasons}
        lost = np.array([row for row, name in enumerate(names) if name in broken], dtype=np.int64)
        probs: dict[tuple[str, str, str], Rows] = {}
        with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if self.device == "cpu" else 1) as pool:
            found = pool.map(lambda model: self._run(model, images[model.config.image_size]), self.models.values())
            for trial, arrays in zip(self.models, found, strict=True):
                for (head, view), array in arrays.items():
                    array[lost] = self.models[trial].priors.get(head, 0)
                    probs[trial, head, view] = names, array
        votes, near = [], np.zeros((len(self.plan.tasks), len(names)), dtype=bool)
        for number, ensemble in enumerate(self.plan.tasks):
            vote, near[number] = self._vote(ensemble, {**self.imported, **probs}, names, known)
            votes.append(vote)
            for key in ensemble.keys:
                near[number] |= is_close(probs[key][1]) if key in probs else False
        near[:, lost] = False  # class shares are the same everywhere
        return votes, broken, near

    def _vote(
        self, ensemble: TaskEnsemble, probs: Mapping[tuple[str, str, str], Rows], names: Sequence[str], known: NDArray[np.bool_]
    ) -> tuple[Vote, Bools]:
        """The votes on a chunk, and whether they may turn; where an import has no answer, those of the trained members alone."""
        if known.all() or not set(ensemble.members) & set(self.plan.imports):
            return self._vote_of(ensemble, probs, names)
        labels, shares = np.zeros(len(names), dtype=np.int64), np.zeros((len(names), len(ensemble.classes)))
        near = np.zeros(len(names), dtype=bool)
        for here, voting in ((known, ensemble), (~known, without(ensemble, self.plan.imports))):
            if here.any():
                vote, near[here] = self._vote_of(voting, probs, [name for name, own in zip(names, here, strict=True) if own])
                labels[here], shares[here] = vote.labels, vote.shares
        return Vote(labels, shares), near

    def _vote_of(
        self, ensemble: TaskEnsemble, probs: Mapping[tuple[str, str, str], Rows], names: Sequence[str]
    ) -> tuple[Vote, Bools]:
        rows = voter_rows(ensemble, probs, names)
        vote = decide_by(ensemble.spec, rows)
        exact = [voter.member in self.plan.imports for voter in ensemble.voters]
        return vote, may_turn(ensemble.spec, rows, vote, exact, steepness(ensemble.spec))

    def _run(self, model: Model, images: NDArray[np.uint8]) -> ViewProbs:
        compute_with(model.config.threads)
        return predict(
            model.network,
            lambda start, stop: images[start:stop],
            len(images),
            heads=model.config.heads,
            views=model.views,
            wanted=model.wanted,
            device=self.device,
        )


def open_bundle(folder: str | Path, device: str = "cpu") -> Bundle:
    """A bundle, checked file by file.

    Raises:
        UserError: There is no such device, it is not a bundle, a file is missing, added or changed by as little as one bit.
    """
    if faults := device_faults(device):
        raise UserError(*faults)
    root = Path(folder)
    if not root.exists() and set_aside(root).is_dir():  # an export was killed just as it replaced this one
        root = set_aside(root)
    _check(root)
    plan = EnsemblePlan.from_json(read_json(root / "plan.json"))
    described = read_json(root / "models.json")
    if described["schema"] != BUNDLE_SCHEMA:
        raise UserError(
            f"bundle {root.name} has schema {described['schema']}, this version reads {BUNDLE_SCHEMA}; use the version that wrote it"
        )
    models = {}
    for trial, facts in described["models"].items():
        config = TrialConfig.from_json(facts["config"])
        network, _ = load_network(config, root / "weights" / f"{trial}.safetensors", device)
        stated = facts["preprocessing"]
        wanted = Preprocessing(stated["image_size"], tuple(stated["mean"]), tuple(stated["std"]))
        views = tuple(dict.fromkeys(view for own, _, view in plan.keys if own == trial))
        models[trial] = Model(config, network.eval(), wanted, views, _priors(plan, trial, facts))
    keys = [key for key in plan.keys if key[0] in plan.imports]
    imported = {key: Predictions(root / IMPORTED / key[0]).read("test", key[1], key[2]) for key in keys}
    bare, bits = described.get("ids_without_endings", False), described.get("bits", CONTAINER_BITS)
    low_high = described.get("values")
    return Bundle(plan, models, device, imported, bare, bits, tuple(low_high) if low_high else None)


def predict_to_file(
    folder: Path,
    photos: Path,
    out: Path,
    *,
    ids: Path | None,
    path_column: str | None,
    group_column: str | None,
    device: str,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Answer every photo and write the competition's file; returns the facts `predict.py` prints."""
    from submissions.format import write_submission

    started = time.monotonic()
    columns = {"--path-column": path_column, "--group-column": group_column}
    if ids is None and (idle := [name for name, column in columns.items() if column]):
        raise UserError(
            *(f"{name} names a column of the table that --ids gives, and would have no effect; give --ids" for name in idle)
        )
    bundle = open_bundle(folder, device)
    if group_column and not any(ensemble.spec.same_group for ensemble in bundle.plan.tasks):
        raise UserError("--group-column would have no effect: this bundle answers photo by photo; leave it out")
    others: tuple[str, ...] = ()
    form, unit = bundle.plan.submission, bundle.plan.submission.unit
    if unit and not ids:
        raise UserError(
            f"a row of the file is one for all photos of a {unit.column}; give --ids, a table with the columns {unit.image} and "
            f"{unit.column}"
        )
    if ids:
        id_column = form.id_column if unit is None else unit.image or form.id_column
        table = read_ids(ids, id_column, path_column, group_column, None if unit is None else unit.column)
        table = table if form.rows is None else one_row_each(table, form.rows, [column.header for column in form.columns])
    else:
        listing = find_photos(photos)
        table, others = bundle.table_of(listing.photos), listing.passed_over
    answers = bundle.predict(photos, table.ids, table.paths, progress, table.groups)
    if len(answers.broken) == len(answers.image_ids):
        some = "; ".join(f"{name}: {reason}" for name, reason in list(answers.broken.items())[:3])
        raise UserError(f"not one of {len(answers.image_ids)} photos can be decoded ({some}); is PHOTOS the right folder?")
    try:
        write_submission(out, bundle.plan, answers.image_ids, answers.labels, answers.shares, table.units)
    except FullDiskError:
        raise
    except OSError as error:
        raise UserError(f"the file given by --out must be writable, got {out} ({error.strerror or error})") from error
    return {
        "rows": len(answers.image_ids),
        "broken_photos": answers.broken,
        "close_calls": answers.close,
        "passed_over": passed_over(others),
        "without_imports": answers.without_imports,
        "without_quota": list(answers.without_quota),
        "without_groups": list(answers.without_groups),
        "seconds": round(time.monotonic() - started, 2),
        "out": str(out),
    }


def _lacks_groups(ensemble: TaskEnsemble, names: Sequence[str], groups: Sequence[str] | None) -> bool:
    return ensemble.spec.same_group is not None and groups is None and ensemble.quota_for(names) is None


def _priors(plan: EnsemblePlan, trial: str, facts: Mapping[str, Any]) -> dict[str, NDArray[np.float16]]:
    """Of a bundle that does not say each trial's own, the plan's."""
    stated = facts.get("priors") or {ensemble.task: ensemble.prior for ensemble in plan.tasks if trial in _trials(ensemble)}
    return {head: np.array(shares).astype(np.float16) for head, shares in stated.items()}


def _trials(ensemble: TaskEnsemble) -> set[str]:
    return {trial for trial, _, _ in ensemble.keys}


def _check(root: Path) -> None:
    if not (root / CHECKSUMS).is_file():
        raise UserError(f"{root} is not a bundle: it has no {CHECKSUMS}; export_ensemble.py writes one")
    try:
        stated = read_json(root / CHECKSUMS)
    except ValueError as error:
        raise UserError(f"bundle {root.name} is damaged: {error}; copy it again") from error
    if not isinstance(stated, dict) or not all(isinstance(value, str) for value in stated.values()):
        raise UserError(
            f"bundle {root.name} is damaged: {CHECKSUMS} must name each file's SHA-256; copy it again, or export it again"
        )
    found = checksums(root)
    faults = [f"{name} is missing" for name in sorted(set(stated) - set(found))]
    faults += [f"{name} does not belong to it" for name in sorted(set(found) - set(stated))]
    faults += [
        f"{name} has changed since it was written" for name in sorted(set(found) & set(stated)) if found[name] != stated[name]
    ]
    if faults:
        raise UserError(*(f"bundle {root.name} is damaged: {fault}; copy it again, or export it again" for fault in faults))


def _decode(root: Path, paths: Sequence[str], sizes: set[int], bits: int) -> tuple[dict[int, NDArray[np.uint8]], dict[str, str]]:
    """Per size the photos `(n, S, S, 3) uint8`, zero where broken, and why."""
    images = {size: np.zeros((len(paths), size, size, 3), np.uint8) for size in sizes}
    broken: dict[str, str] = {}

    def one(row: int) -> None:
        try:
            image = read_image(root, paths[row], bits)
        except BrokenImage as error:
            broken[paths[row]] = error.reason
            return
        for size, photos in images.items():
            photos[row] = resize(image, size)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(one, range(len(paths))):
            pass
    return images, broken
