"""What one export has opened: each trial and each import once, from `bundle.gather` to `bundle.export`."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from competitions.labels import Composition, decompose_probs
from competitions.manifest import LABEL
from competitions.prepare import Prepared
from ensemble.align import Rows
from ledger.imports import Import, imports_of
from ledger.predictions import PARTS
from ledger.reading import readable_record
from ledger.stopped import is_gone
from ledger.trials import Record, TrialFolder
from system.disk import FullDiskError
from system.errors import UserError
from trainables.attach import OpenedTrial
from trainables.best_weights import went_on

VALIDATION, TEST = PARTS


@dataclass(frozen=True)
class Opened:
    """A competition's data, and what was read of its ledger; what nobody has asked for yet is opened when somebody does.

    Attributes:
        prepared: The competition's data.
    """

    prepared: Prepared
    _trials: dict[str, OpenedTrial] = field(default_factory=dict)
    _aligned: dict[tuple[str, str, str], tuple[NDArray[np.float16], NDArray[np.bool_]]] = field(default_factory=dict)

    def trial(self, name: str) -> OpenedTrial:
        """The trial of this id."""
        return self._trials.setdefault(name, OpenedTrial(TrialFolder(self.prepared.paths.trials / name)))

    def cut_off(self, names: Iterable[str]) -> list[Record]:
        """The records of those among these trials that were stopped before their last epoch, by id."""
        records = [self.trial(name).record for name in sorted(names)]
        return [record for record in records if record is not None and not record.finished]

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Whatever goes wrong in this block because a stopped trial is trained on, one sentence says so.

        Raises:
            UserError: Naming the trials.
        """
        try:
            yield
        except FullDiskError:
            raise
        except (OSError, ValueError, UserError) as error:
            moved = [
                record.trial_id for record in self.cut_off(self._trials) if _goes_on(self.trial(record.trial_id).folder, record)
            ]
            if not moved:
                raise
            raise UserError(went_on(moved)) from error

    @cached_property
    def imports(self) -> dict[str, Import]:
        """Id -> import, in the order of their names."""
        return {one.id: one for one in imports_of(self.prepared.paths)}

    @cached_property
    def imports_by_name(self) -> dict[str, Import]:
        """Name -> import."""
        return {one.name: one for one in self.imports.values()}

    def rows_of_import(self, name: str, part: str, task: str) -> Rows:
        """Ids and probabilities `float16 (N, C)` of the import of this id for a task; where it answers the label, the task's share."""
        found, competition, manifest = self.imports[name], self.prepared.competition, self.prepared.manifest
        head = task if task in found.heads or LABEL not in found.heads else LABEL
        rows = manifest.rows("test" if part == TEST else "train")
        if (name, head, part) not in self._aligned:
            photos = [(manifest.image_ids[row], self.prepared.pixels[row]) for row in rows]
            self._aligned[name, head, part] = found.aligned(head, part, photos, competition.classes(head))
        probs, answered = self._aligned[name, head, part]
        if head != task:
            probs = decompose_probs(Composition.of(competition), probs)[task].astype(np.float16)
        return [manifest.image_ids[row] for row in rows[answered]], probs[answered]

    def all_test_rows(self, name: str, task: str, prior: Sequence[float]) -> Rows:
        """As `rows_of_import` for the test photos; one that cannot be decoded and has no answer gets the prior, as from a trial.

        Rows stand in the manifest's order for every task: a bundle keeps one list of photos for all that an import answers.
        """
        ids, probs = self.rows_of_import(name, TEST, task)
        seat = {image_id: at for at, image_id in enumerate(ids)}
        test = [self.prepared.manifest.image_ids[row] for row in self.prepared.manifest.rows("test")]
        there = [image_id for image_id in test if image_id in seat or image_id in self.prepared.broken]
        filled = np.concatenate([probs, np.array([prior]).astype(np.float16)])
        return there, filled[[seat.get(image_id, len(ids)) for image_id in there]]


def _goes_on(folder: TrialFolder, record: Record) -> bool:
    """Whether somebody trains this trial now, or has since its record was read."""
    return not is_gone(folder.claim) or readable_record(folder) != record
