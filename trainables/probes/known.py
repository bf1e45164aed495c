"""Features of a competition's photos for whoever fits no probe: those that are kept already, or those of the first probe.

Rows are the manifest's, `float32 (N, D)`; photos that nobody asks about (broken, unlabelled) are NaN.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competitions.prepare import Prepared, by_each_split
from system.files import read_json
from trainables.attach import features_of
from trainables.probes.features import PART_ROWS, FrozenSettings, PhotoFeatures
from trainables.start.published import WEIGHT_PACKAGES

FIRST_BACKBONE, FIRST_SIZE = "tf_efficientnet_lite0", 128
"""What `search_spaces/probe.py` begins with, so that its probes find the same features."""
PARTS_AT_ONCE = 4
"""Parts of features between two words about how far they are."""
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class KnownFeatures:
    """Features of the usable training photos and of the decoded test photos.

    Attributes:
        table: `float32 (N, D)` in manifest order.
        made_of: Backbone and size in one word, for people.
    """

    table: NDArray[np.float32]
    made_of: str


def known_features(prepared: Prepared) -> KnownFeatures | None:
    """Features that probes have left for all of these photos, cut by any split of the competition; `None` where some are missing.

    Of several the first by name is taken.
    """
    rows = asked_rows(prepared)
    for frozen, device in _kept(prepared):
        for one in by_each_split(prepared).values():
            found = features_of(one, frozen, device=device)
            if found.place("identity").is_dir() and found.has(rows):
                return KnownFeatures(_table(found, rows), f"{frozen.backbone} at {frozen.image_size} px")
    return None


def compute_features(prepared: Prepared, progress: Progress = lambda done, total: None) -> KnownFeatures:
    """Those that are kept, else those of the first probe: computed, kept and shared with all probes of this split.

    Args:
        prepared: The competition's data.
        progress: Told (done, total) photos.

    Raises:
        UserError: The weights cannot be had.
    """
    if (known := known_features(prepared)) is not None:
        return known
    frozen = FrozenSettings(FIRST_BACKBONE, WEIGHT_PACKAGES[FIRST_BACKBONE].sha256, FIRST_SIZE)
    found, rows = features_of(prepared, frozen), asked_rows(prepared)
    by_place = rows[np.argsort(np.argsort(found.order)[rows], kind="stable")]
    for start in range(0, len(rows), step := PARTS_AT_ONCE * PART_ROWS):
        found.of(by_place[start : start + step])
        progress(min(start + step, len(rows)), len(rows))
    return KnownFeatures(_table(found, rows), f"{FIRST_BACKBONE} at {FIRST_SIZE} px")


def asked_rows(prepared: Prepared) -> NDArray[np.int64]:
    """Rows of the usable training photos and of the test photos that could be decoded."""
    test = [row for row in prepared.manifest.rows("test").tolist() if prepared.pixels[row]]
    rows: NDArray[np.int64] = np.union1d(np.flatnonzero(prepared.usable()), np.array(test, dtype=np.int64))
    return rows


def _kept(prepared: Prepared) -> Iterator[tuple[FrozenSettings, str]]:
    """What the folders of features say they are made of."""
    for path in sorted(prepared.paths.features.glob("*-identity-*/made_of.json")):
        try:
            said = read_json(path)
            device = str(said["device"])
            yield FrozenSettings(*(said[name] for name in ("backbone", "weights", "image_size", "threads"))), device
        except (OSError, ValueError, KeyError, TypeError):
            continue  # the folder is a cache: what does not say what it is helps nobody


def _table(found: PhotoFeatures, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    seen = found.of(rows)
    table = np.full((len(found.names), seen.shape[1]), np.nan, np.float32)
    table[rows] = seen
    return table
