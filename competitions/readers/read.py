"""Readers: a competition's folder, laid out in one of the known ways, to a checked `Manifest`.

A reader looks at tables, at folder listings and at array headers, never at pixels, and raises one `UserError` with every fault it
found. To add one is a function in a file of its own and a line in `READERS`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from competitions.competition import Competition, with_classes
from competitions.images.decode import scaled_path
from competitions.manifest import Manifest
from competitions.readers.folders import read_folders
from competitions.readers.idx import read_idx
from competitions.readers.mask import read_mask
from competitions.readers.sample_submission import with_sample
from competitions.readers.table import read_coco, read_csv, read_demo, read_files, read_npz, read_pixels
from system.errors import UserError


@dataclass(frozen=True)
class Reader:
    """One layout, called as `reader(competition, root)`, where `root` is the competition's own folder.

    Attributes:
        function: What reads it; fills `competitions.readers.rows.PhotoRows` with texts and leaves every check to `manifest_of`.
        unused: Settings that mean nothing to it (`table`, `images`, `columns`, `roles`, ...; of a task `column`, `cuts`): to write one is a
            mistake. With `columns` among them it has no table.
        one_task: It knows one class per photo, so one task, and no groups.
        draws: It draws its photos; they live in the storage, not below `PODIUM_DATA`.
    """

    function: Callable[[Competition, Path], Manifest]
    unused: tuple[str, ...] = ()
    one_task: bool = False
    draws: bool = False

    def __call__(self, competition: Competition, root: Path) -> Manifest:
        """The competition's photos.

        Raises:
            UserError: With every fault of the data.
        """
        return self.function(competition, root)


TABLE_SETTINGS = ("table", "test_table", "join", "pattern")
"""Settings of readers that have a table."""
READERS: dict[str, Reader] = {
    "csv": Reader(read_csv),
    "npz": Reader(read_npz),
    "coco": Reader(read_coco),
    "pixels": Reader(read_pixels, unused=("images", "pattern")),
    "files": Reader(read_files, unused=("table", "test_table", "join")),
    "demo": Reader(read_demo, draws=True),
    "folders": Reader(read_folders, unused=(*TABLE_SETTINGS, "columns", "column", "cuts"), one_task=True),
    "idx": Reader(read_idx, unused=(*TABLE_SETTINGS, "columns", "roles", "column", "cuts"), one_task=True),
    "mask": Reader(read_mask, unused=(*TABLE_SETTINGS, "columns", "roles", "images")),
}


def read(competition: Competition, root: Path) -> tuple[Competition, Manifest]:
    """Read the competition's data and, where it names one, its sample submission.

    Returns:
        The competition, whose classes and submission are complete from here on, and the manifest, whose test photos stand in the
        sample's order.

    Raises:
        UserError: With every fault of the data, then with every fault of the sample.
    """
    manifest = READERS[competition.reader](competition, root)
    complete, found = with_sample(with_classes(competition, manifest.classes), manifest, root)
    if competition.values is None:
        return complete, found
    paths = tuple(scaled_path(path, competition.values) for path in found.paths)
    if paths == found.paths:
        raise UserError("values has no effect: no photo is a .npy array; leave it out")
    return complete, replace(found, paths=paths)
