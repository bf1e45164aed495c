"""Features of frozen backbones: computed once per (weights, size, view) for all photos, and shared by all tasks, folds and trials.

`<data>/features/<name>/00000.npy`, ...: `(256, D) float32` each, sealed together with the ids and pixel hashes of its photos. Photos of one
role and fold stand side by side, so that a view of the fold that judges costs no other photos. `made_of.json` says what decides the bits;
the folder's name ends with its hash. A part is written whole, under a claim of its own: processes share the work, and a kill loses a part.

Batches go through the same code as those of a prediction, and are filled up as there, so that a photo's features do not depend on how many
others there are. The folder is a cache: it may be deleted at any time.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ledger.predictions import photo_list, read_sealed_npy, sealed_npy
from system.claims import claim, holder, works_here
from system.errors import UserError
from system.files import fingerprint, replace_bytes, replace_sealed, sweep
from system.quarantine import quarantine
from trainables import backbones
from trainables.backbones import Preprocessing
from trainables.batches import normalise, to_unit
from trainables.devices import compute_with
from trainables.prediction import BATCH, deep_features, filled
from trainables.start.initial_weights import last_layer
from trainables.views import VIEWS

log = logging.getLogger("podium.trial")
PART_ROWS = 4 * BATCH
MEMORY_LAYOUT = torch.channels_last
"""Half as fast again on a CPU core as torch's own layout (EfficientNet-Lite0, 128 px: 72 photos a second, not 49); the last bits differ."""
MOST_HELD = 1 << 29
"""Bytes of features that a process keeps in memory; those used longest ago go first."""
POLL_S = 0.1
AGREES = 1e-4
"""How far the last layer on features may be from the network's own logits, relative to the largest."""
_HELD: OrderedDict[Path, NDArray[np.float32]] = OrderedDict()


@dataclass(frozen=True)
class FrozenSettings:
    """What says which backbone looks at the photos, and how; fields of `TrialConfig` with the same names and meanings."""

    backbone: str
    weights: str
    image_size: int
    threads: int = 1


@dataclass(frozen=True)
class Frozen:
    """A backbone as it begins.

    Attributes:
        model: In evaluation mode; its last layer means nothing.
        wanted: Its preprocessing.
        head: The name of its last layer, one `nn.Linear`.
        width: D, how many features that layer sees.
    """

    model: nn.Module
    wanted: Preprocessing
    head: str
    width: int

    def tensors(self, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> dict[str, Tensor]:
        """The state of the network with this last layer, weights `(C, D)` and bias `(C,)`."""
        ours = {f"{self.head}.weight": torch.from_numpy(weights), f"{self.head}.bias": torch.from_numpy(bias)}
        return {**self.model.state_dict(), **ours}


@dataclass(frozen=True)
class PhotoFeatures:
    """The features of all photos through one backbone as it begins.

    Attributes:
        folder: Where features are kept.
        store: Folder of kept start weights.
        images: `(N, S, S, 3) uint8` of all photos, a memory map.
        names: N pairs of image id and pixel hash.
        groups: N names.
        order: `(N,) int64`, the order in which features are kept.
        backbone: A timm name.
        weights: `TrialConfig.weights`, not empty.
        image_size: S.
        threads: Compute threads.
        device: `cpu` or `cuda`.
    """

    folder: Path
    store: Path | None
    images: NDArray[np.uint8]
    names: Sequence[tuple[str, str]]
    groups: Sequence[str]
    order: NDArray[np.int64]
    backbone: str
    weights: str
    image_size: int
    threads: int
    device: str

    def frozen(self) -> Frozen:
        """The backbone.

        Raises:
            UserError: The weights cannot be had, or its last layer is not one linear layer.
        """
        return frozen(self.backbone, self.weights, self.image_size, self.store, self.device)

    def of(self, rows: NDArray[np.int64], view: str = "identity") -> NDArray[np.float32]:
        """What the last layer sees of these photos, `(n, D)`; what is not there yet is computed and kept."""
        asked = self._kept_at[rows]
        parts = np.unique(asked // PART_ROWS).tolist()
        place = self.place(view)
        table = _HELD.pop(place, None)
        waiting = [part for part in parts if table is None or np.isnan(table[part * PART_ROWS, 0])]
        if waiting:
            _describe(place, self.made_of(view), parts)
        while waiting:
            before = len(waiting)
            for part in list(waiting):
                found = self._part(place, view, part)
                if found is not None:
                    table = _put(table, found, part, len(self.names))
                    waiting.remove(part)
            if len(waiting) == before:
                time.sleep(POLL_S)
        if table is None:  # nobody is asked for, so no part says how wide features are
            return np.zeros((0, self.frozen().width), np.float32)
        _hold(place, table)
        return table[asked]

    def has(self, rows: NDArray[np.int64], view: str = "identity") -> bool:
        """Whether the features of these photos are kept already."""
        place = self.place(view)
        return all((place / f"{part:05d}.npy").exists() for part in np.unique(self._kept_at[rows] // PART_ROWS).tolist())

    def place(self, view: str) -> Path:
        """The folder of one view's features."""
        made_of = self.made_of(view)
        return self.folder / f"{self.backbone}-{self.image_size}-{view}-{fingerprint(made_of)}"

    def made_of(self, view: str) -> dict[str, Any]:
        """What decides the bits of a view's features."""
        import timm

        versions = {"torch": torch.__version__, "timm": timm.__version__}
        kind = torch.device(self.device).type
        asked = {"backbone": self.backbone, "weights": self.weights, "image_size": self.image_size, "view": view}
        computed = {"dtype": "float32", "layout": str(MEMORY_LAYOUT), "threads": self.threads, "device": kind}
        return {**asked, **versions, **computed, "photos": self._photos}

    @cached_property
    def _photos(self) -> str:
        return fingerprint([list(self.names[row]) for row in self.order])

    @cached_property
    def _kept_at(self) -> NDArray[np.int64]:
        """Row of a photo `(N,)` -> where its features are kept."""
        return np.argsort(self.order)

    def _part(self, place: Path, view: str, part: int) -> NDArray[np.float32] | None:
        """One part, read or computed; `None` while somebody else computes it."""
        path, rows = place / f"{part:05d}.npy", self.order[part * PART_ROWS : (part + 1) * PART_ROWS]
        names = photo_list([self.names[row] for row in rows])
        if path.exists() and (found := self._read(path, names)) is not None:
            return found
        seen = holder(lock := path.with_suffix(".claim"))
        held = None if seen is not None and works_here(seen) else claim(lock)
        if held is None:
            return None
        with held:
            if path.exists() and (found := self._read(path, names)) is not None:
                return found
            found = self._compute(view, rows)
            replace_bytes(path, sealed_npy(found, names), durable=False)
        return found

    def _read(self, path: Path, names: bytes) -> NDArray[np.float32] | None:
        """A part that is there; one that is damaged, or of other photos, goes to quarantine."""
        try:
            return read_sealed_npy(path, names)
        except FileNotFoundError:
            return None
        except ValueError as error:
            quarantine(self.folder.parents[1], path, error, did="computed again")
            return None

    def _compute(self, view: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        found = self.frozen()
        parts = []
        with _settings(self.threads, self.device), torch.inference_mode():
            for start in range(0, len(rows), BATCH):
                some = self.images[rows[start : start + BATCH]]
                seen = normalise(VIEWS[view](to_unit(filled(some), self.device)), found.wanted).to(memory_format=MEMORY_LAYOUT)
                parts.append(deep_features(found.model, seen)[: len(some)].float().cpu().numpy())
        return np.concatenate(parts)


@lru_cache(2)
def frozen(backbone: str, weights: str, image_size: int, store: Path | None, device: str) -> Frozen:
    """The backbone with its start weights, kept by this process.

    Raises:
        UserError: The weights cannot be had, or no probe fits the network: its last layer is not one linear layer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = backbones.build(backbone, {"any": 2}, image_size, weights=weights, store=store).eval()
        model.to(device).to(memory_format=MEMORY_LAYOUT)
        photo = torch.rand(2, 3, image_size, image_size, device=device)
    names = last_layer(model, model.state_dict())
    head = min(names, default="").rpartition(".")[0]
    layer = dict(model.named_modules()).get(head)
    if names != {f"{head}.weight", f"{head}.bias"} or not isinstance(layer, nn.Linear):
        raise UserError(f"no probe fits backbone {backbone!r}: its last layer is not one linear layer; give another backbone")
    with torch.inference_mode():
        ours, theirs = layer(deep_features(model, photo)), model(photo)
    if ours.shape != theirs.shape or float((ours - theirs).abs().max()) > AGREES * float(theirs.abs().max() + 1):
        raise UserError(
            f"no probe fits backbone {backbone!r}: its answer is not its last layer on its features; give another backbone"
        )
    return Frozen(model, backbones.preprocessing(model, image_size), head, layer.in_features)


@contextmanager
def _settings(threads: int, device: str) -> Iterator[None]:
    """As when a network trains or predicts: so many threads, and deterministic."""
    before = torch.get_num_threads()
    compute_with(threads)
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    try:
        yield
    finally:
        compute_with(before)


def _describe(place: Path, made_of: dict[str, Any], parts: Sequence[int]) -> None:
    """Say in the folder what its features are made of, and which parts are asked for now; remove what killed writers left."""
    if not (place / "made_of.json").exists():
        replace_sealed(place / "made_of.json", made_of, durable=False)
    replace_sealed(place / "asked.json", {"parts": list(parts)}, durable=False)
    sweep(place)


def _put(table: NDArray[np.float32] | None, found: NDArray[np.float32], part: int, n: int) -> NDArray[np.float32]:
    """A part in the table of all N photos, in which rows that nobody asked for are NaN."""
    if table is None:
        table = np.full((n, found.shape[1]), np.nan, np.float32)
    table[part * PART_ROWS : part * PART_ROWS + len(found)] = found
    return table


def _hold(place: Path, table: NDArray[np.float32]) -> None:
    _HELD[place] = table
    while len(_HELD) > 1 and sum(one.nbytes for one in _HELD.values()) > MOST_HELD:
        _HELD.popitem(last=False)
