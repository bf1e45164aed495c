"""Preparation: a competition and its photos to one checked, split and decoded `Prepared`.

Every verb that needs the data prepares them; what has been decoded once is attached, not decoded again. The result is also kept
as one JSON file named by its fingerprint, from which a trial on any node attaches.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from competitions.competition import Competition, Split, with_split
from competitions.images.decode import CONTAINER_BITS
from competitions.images.image_cache import ImageCache, open_or_build
from competitions.images.near_duplicates import NearDuplicates, near_findings, open_or_find
from competitions.manifest import Manifest
from competitions.metrics import metric_of
from competitions.readers.read import READERS, read
from competitions.splits import UNUSABLE, Finding, Folds, contradictions, given_folds, leaks, make_folds
from competitions.targets import Target
from competitions.twins.cluster_file import Clusters, matched_file, read_clusters
from ledger.trials import ALL_DATA
from system.errors import UserError, listed
from system.files import fingerprint, read_json, replace_json, sweep
from system.paths import CompetitionPaths, data_root
from system.quarantine import quarantine_copy

Progress = Callable[[int, int], None]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Prepared:
    """Photos that are ready to be learned from.

    Attributes:
        competition: What is asked; its submission is complete, also where the file left it to a sample.
        manifest: N photos; the test photos stand in the order of the sample submission, where there is one.
        folds: Where each photo stands.
        pixels: N hashes of the decoded photos, `""` for a broken one.
        broken: Photo id -> why it could not be decoded.
        findings: Leaks, near-duplicates and contradictions; none of them stops a study.
        paths: The competition's folders in the storage.
        near: Near-duplicates, wherever they stand; `None` in what a trial attaches to.
        bits: How many bits of 16-bit grey values are used, in all photos alike.
    """

    competition: Competition
    manifest: Manifest
    folds: Folds
    pixels: tuple[str, ...]
    broken: dict[str, str]
    findings: tuple[Finding, ...]
    paths: CompetitionPaths
    near: NearDuplicates | None = None
    bits: int = CONTAINER_BITS
    _caches: dict[int, ImageCache] = field(default_factory=dict, compare=False, repr=False)
    _made: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False, init=False)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made of these data under this key; it is made once, and to be read only."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def cache(self, size: int, progress: Progress | None = None) -> ImageCache:
        """All photos decoded at this side in pixels; built on this node where it is not there yet, attached once per process."""
        if size not in self._caches:
            root = root_of(self.competition, self.paths)
            self._caches[size] = self._same(open_or_build(self.manifest, root, size, self.paths.cache(), progress=progress))
        return self._caches[size]

    def _same(self, cache: ImageCache) -> ImageCache:
        pairs = zip(self.manifest.image_ids, self.pixels, cache.hashes, strict=True)
        others = [image_id for image_id, then, now in pairs if then != now]
        if others:
            raise UserError(
                f"{len(others)} photos on this machine are missing or differ from those that were prepared, e.g. "
                f"{', '.join(others[:5])}; copy them again, or start the search anew from the photos as they are"
            )
        return cache

    def usable(self) -> NDArray[np.bool_]:
        """`(N,) bool`: training photos that could be decoded."""
        known: NDArray[np.bool_] = self.folds.fold != UNUSABLE
        return known

    def rows(self, target: Target, fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The row numbers a trial of this target learns from, and those it is judged on, both in manifest order.

        With `ALL_DATA` for a fold it learns from all labelled photos and is judged on none.
        """
        labelled = target.rows(self.manifest, self.usable())
        if fold == ALL_DATA:
            return labelled, labelled[:0]
        of = self.folds.fold[labelled]
        return labelled[of != fold], labelled[of == fold]

    def empty_heads(self, target: Target, fold: int) -> list[str]:
        """The target's heads without a labelled photo on one side of the fold: nothing to learn, or to be judged on."""
        labels, sides = self.labels(target), self.rows(target, fold)
        return [head for head, numbers in labels.items() if not all((numbers[side] >= 0).any() for side in sides)]

    def undefined_heads(self, target: Target, fold: int) -> dict[str, str]:
        """Head -> why the metric says nothing about the photos that judge it, e.g. ROC-AUC of those of one class."""
        metric, labels, judging = metric_of(target.metric), self.labels(target), self.rows(target, fold)[1]
        known = {head: numbers[judging][numbers[judging] >= 0].astype(np.int64) for head, numbers in labels.items()}
        even = {head: np.full((len(known[head]), n_classes), 1 / n_classes) for head, n_classes in target.heads.items()}
        asked = [head for head, numbers in known.items() if len(numbers)]
        return {head: metric.undefined(known[head]) for head in asked if np.isnan(metric.of(even[head], known[head]))}

    def labels(self, target: Target) -> dict[str, NDArray[np.int16]]:
        """Per head of the target the class numbers `(N,) int16` of all photos, -1 where there is nothing to learn."""
        return target.labels(self.manifest)

    def outside(self, target: Target, fold: int) -> NDArray[np.int64]:
        """The row numbers `(n,)` of the fold's photos that a target on a subset is not judged on, and a cascade may ask it all the same."""
        rows = target.outside(self.manifest, self.usable())
        here: NDArray[np.int64] = rows[self.folds.fold[rows] == fold]
        return here

    def data_fingerprint(self, target: Target) -> str:
        """A name for what the target's trials can learn: ids, labels, pixels and folds of its rows, in any order."""
        heads = list(target.heads.items())
        return self.once(("fingerprint", target.name), lambda: fingerprint([heads, self._facts(target)]))

    def _facts(self, target: Target) -> list[list[str | int]]:
        labels, rows = self.labels(target), target.rows(self.manifest, self.usable())
        return sorted(
            [
                self.manifest.image_ids[row],
                self.pixels[row],
                int(self.folds.fold[row]),
                *(int(labels[head][row]) for head in target.heads),
            ]
            for row in rows
        )

    def priors(self, target: Target, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Per head of the target the class shares `(C,)` among these rows."""
        known = {head: labels[rows][labels[rows] >= 0] for head, labels in self.labels(target).items()}
        counts = {head: np.bincount(known[head], minlength=n) for head, n in target.heads.items()}
        return {head: count / max(1, count.sum()) for head, count in counts.items()}

    def key(self) -> str:
        """The name of this preparation's file."""
        return fingerprint(_to_json(self))

    def save(self) -> str:
        """Keep everything a trial needs to attach; returns the key for `load_prepared`."""
        value = _to_json(self)
        key = fingerprint(value)
        path = _file(self.paths, key)
        sweep(path.parent)
        if path.exists() and (fault := _fault(path, key)):
            quarantine_copy(self.paths.root, path, fault, did="written again")
            replace_json(path, value)
        elif not path.exists():
            replace_json(path, value)
        return key


def root_of(competition: Competition, paths: CompetitionPaths) -> Path:
    """The folder that holds the competition's photos."""
    if READERS[competition.reader].draws:
        return paths.data / "photos"
    return data_root() / (competition.root or competition.name)


def prepare(competition: Competition, paths: CompetitionPaths, *, progress: Progress | None = None) -> Prepared:
    """Read, check, decode once, split.

    Args:
        competition: What is asked.
        paths: The competition's folders.
        progress: Told (done, total) while photos are decoded.

    Raises:
        UserError: With every fault of the table, or the groups that stand on both sides, or classes that cannot be split.
    """
    competition, manifest = read(competition, root_of(competition, paths))
    _keep_classes(paths, manifest.classes)
    stops = [finding.text for finding in leaks(manifest) if finding.stops]
    if stops:
        raise UserError(*_few(stops), "mend the groups or the roles in the table, or take the group column out of the YAML")
    cache = open_or_build(manifest, root_of(competition, paths), competition.image_size, paths.cache(), progress=progress)
    pixels = tuple(cache.hashes)
    usable = np.array([image_id not in cache.broken for image_id in manifest.image_ids], dtype=bool)
    _require_photos(manifest, cache.broken)
    folds = cut(competition, competition.split, manifest, usable, pixels, paths)
    near = open_or_find(cache, manifest)
    findings = (*leaks(manifest, pixels), *near_findings(near, manifest, folds), *contradictions(manifest, pixels))
    return Prepared(competition, manifest, folds, pixels, dict(cache.broken), findings, paths, near, cache.bits)


def _keep_classes(paths: CompetitionPaths, classes: Mapping[str, Sequence[str]]) -> None:
    """Write down the classes that were read from labels the first time, and refuse others later: every trial's numbers mean the first ones.

    Raises:
        UserError: A task's labels name other classes than before.
    """
    if not classes:
        return
    file = paths.data / "classes.json"
    kept: dict[str, list[str]] = read_json(file) if file.is_file() else {}
    faults = []
    for task, names in classes.items():
        came, went = [n for n in names if n not in kept.get(task, names)], [n for n in kept.get(task, ()) if n not in names]
        change = [f"{len(some)} {what} ({listed(some)})" for some, what in ((came, "came"), (went, "went")) if some]
        if change:
            faults.append(
                f"task {task}: its labels name other classes than when they were first read: {' and '.join(change)}; copy the data "
                f"again, write `classes` in the YAML if they are right, or remove {file} to begin anew"
            )
    if faults:
        raise UserError(*faults)
    if new := {task: list(names) for task, names in classes.items() if task not in kept}:
        replace_json(file, kept | new)


def _require_photos(manifest: Manifest, broken: Mapping[str, str]) -> None:
    """Refuse data of which no training photo can be decoded, as a download that broke off leaves them: the folds are not what is wrong."""
    ids = [manifest.image_ids[row] for row in manifest.rows("train")]
    if not ids or any(image_id not in broken for image_id in ids):
        return
    reasons = Counter(broken[image_id] for image_id in ids)
    told = "; ".join(f"{reason} ({n})" for reason, n in reasons.most_common(3))
    raise UserError(f"none of the {len(ids)} training photos can be decoded: {told}; look at {ids[0]}, copy or download it again")


def cut(
    competition: Competition,
    split: Split,
    manifest: Manifest,
    usable: NDArray[np.bool_],
    pixels: Sequence[str | None],
    paths: CompetitionPaths,
) -> Folds:
    """The folds of one of the competition's splits: N photos, which of them are usable `(N,) bool`, and their N pixel hashes.

    Raises:
        UserError: They cannot be made, or the file of the split's clusters is missing or does not know the photos.
    """
    if split.given is not None:
        return given_folds(manifest, usable, manifest.given[split.given], split.n_folds)
    clusters = clusters_of(competition, split, manifest, usable, paths)
    folds = make_folds(
        manifest,
        usable,
        n_folds=split.n_folds,
        holdout=split.holdout,
        seed=split.seed,
        tasks={name: task.classes for name, task in competition.tasks.items()},
        composed=competition.composed,
        by_group=split.by_group,
        same_pixels=pixels,
        clusters=None if clusters is None else clusters.names,
    )
    return folds if clusters is None else replace(folds, notes=(clusters.note, *folds.notes))


def clusters_of(
    competition: Competition, split: Split, manifest: Manifest, usable: NDArray[np.bool_], paths: CompetitionPaths
) -> Clusters | None:
    """What a split keeps whole beside the table's groups; `None` where its YAML names nothing.

    Raises:
        UserError: The file is missing or does not know the photos.
    """
    if split.matched is None and split.groups is None:
        return None
    file = matched_file(paths, split.matched) if split.matched else root_of(competition, paths) / str(split.groups)
    return read_clusters(file, competition.name, split, manifest, usable)


def cut_again(prepared: Prepared, name: str) -> Prepared:
    """The same photos by another of the competition's splits; nothing is read or decoded anew, and each split is cut once.

    Raises:
        UserError: There is no such split, or it cannot be made.
    """

    def made() -> Prepared:
        competition = with_split(prepared.competition, name)
        folds = cut(competition, competition.split, prepared.manifest, prepared.usable(), prepared.pixels, prepared.paths)
        return replace(prepared, competition=competition, folds=folds)

    return prepared.once(("cut", name), made)


def by_each_split(prepared: Prepared) -> dict[str, Prepared]:
    """Split -> the same photos by it, its own first; splits that cannot be made are left out, `compare_splits` says why."""
    found = {prepared.competition.split.name: prepared}
    for name in prepared.competition.all_splits:
        if name not in found:
            with suppress(UserError):
                found[name] = cut_again(prepared, name)
    return found


def load_prepared(paths: CompetitionPaths, key: str) -> Prepared:
    """The preparation that `Prepared.save` kept under this key."""
    value = read_json(_file(paths, key))
    given = value["manifest"]
    labels = {task: np.array(numbers, dtype=np.int16) for task, numbers in given.pop("labels").items()}
    texts: dict[str, Any] = {name: tuple(some) for name, some in given.items()}
    manifest = Manifest(**texts, labels=labels)
    folds = Folds(np.array(value["fold"], dtype=np.int8), tuple(value["pinned"]), tuple(value["reasons"]), tuple(value["notes"]))
    competition = Competition.model_validate(value["competition"])
    bits = value.get("bits", CONTAINER_BITS)
    return Prepared(competition, manifest, folds, tuple(value["pixels"]), value["broken"], (), paths, bits=bits)


def _few(faults: list[str], most: int = 10) -> list[str]:
    return faults[:most] + ([f"and {len(faults) - most} more"] if len(faults) > most else [])


def _file(paths: CompetitionPaths, key: str) -> Path:
    return paths.data / "prepared" / f"{key}.json"


def _fault(path: Path, key: str) -> str | None:
    """What is wrong with a kept preparation: its name is the hash of what is in it."""
    try:
        return None if fingerprint(read_json(path)) == key else "its content is not what its name says"
    except ValueError as error:
        return str(error)


def _to_json(prepared: Prepared) -> dict[str, Any]:
    manifest, folds = prepared.manifest, prepared.folds
    return {
        "competition": prepared.competition.model_dump(mode="json"),
        "manifest": {
            "image_ids": list(manifest.image_ids),
            "paths": list(manifest.paths),
            "groups": list(manifest.groups),
            "roles": list(manifest.roles),
            **({"units": list(manifest.units)} if manifest.units else {}),
            "labels": {task: numbers.tolist() for task, numbers in manifest.labels.items()},
        },
        "fold": folds.fold.tolist(),
        "pinned": list(folds.pinned),
        "reasons": list(folds.reasons),
        "notes": list(folds.notes),
        "pixels": list(prepared.pixels),
        "broken": prepared.broken,
        **({} if prepared.bits == CONTAINER_BITS else {"bits": prepared.bits}),  # only where it is so: other names stay
    }
