"""Steps that refine a spec on the photos that chose it: other views, calibration, other class shares, offsets, one answer per group.

Each is kept only where it wins on groups that were left out (`ensemble.scoring.gain`), and each is fitted anew in every resample.
"""

from dataclasses import replace

import numpy as np

from ensemble.plan.spec import Correction, Spec
from ensemble.postprocess.calibration import Calibration, fit_calibration
from ensemble.postprocess.label_shift import whole_shares
from ensemble.postprocess.offsets import fit_offsets
from ensemble.selection.candidates import Candidates, Sample
from ensemble.votes import Ints

FEWEST, PHOTOS_PER_CLASS, MOST_FITTED = 1000, 60, 3000
"""Calibration and offsets have a few parameters per class; they are fitted on the photos of so many at most, whole groups of them."""
SMOOTH = 0.5
"""Photos added to each class when shares are counted, so that a class a resample missed does not have share 0."""


def calibrated(candidates: Candidates, sample: Sample, spec: Spec) -> Spec:
    """Each model of each member calibrated on its own out-of-fold photos, through the first view, before folds are averaged."""
    fitted = {}
    for member in spec.members:
        models = range(1 if candidates.models is None else int(candidates.models.max()) + 1)
        fitted[member] = tuple(_calibration(candidates, sample, member, model) for model in models)
    return replace(spec, calibration=fitted)


def corrected(candidates: Candidates, sample: Sample, spec: Spec, *, new: tuple[float, ...], source: str) -> Spec:
    """Probabilities brought from the sample's class shares to the test photos'."""
    counts = np.bincount(candidates.labels[sample.rows], sample.times, candidates.n_classes).astype(np.float64) + SMOOTH
    return replace(spec, correction=Correction(whole_shares(counts), new, source))


def offset(candidates: Candidates, sample: Sample, spec: Spec) -> Spec:
    """Offsets per class, shrunk to what holds on held-out groups of the sample."""
    rows = _thin(candidates, sample)
    groups = candidates.groups[rows]
    if len(np.unique(groups)) < 2:
        return spec
    shares = candidates.vote(spec, rows).shares
    offsets = fit_offsets(shares, candidates.labels[rows], groups, metric=candidates.metric)
    return replace(spec, offsets=offsets) if any(offsets) else spec


def same_for_group(candidates: Candidates, sample: Sample, spec: Spec) -> Spec:
    """One answer for all photos of a group, where the competition allows it and the task is the same within one."""
    return replace(spec, same_group="logs")


def with_quota(candidates: Candidates, sample: Sample, spec: Spec, *, shares: tuple[float, ...]) -> Spec:
    """Answers that have exactly the shares the test photos are known to have, photo by photo: groups then need not agree."""
    return replace(spec, quota=shares)


def _calibration(candidates: Candidates, sample: Sample, member: int, model: int) -> Calibration:
    rows = _thin(candidates, sample)
    if candidates.models is not None:
        rows = rows[candidates.models[rows] == model]
    if not len(rows):  # no drawn photo of this model's fold: it stays as it is
        return Calibration((1.0,) * candidates.n_classes, (0.0,) * candidates.n_classes)
    return fit_calibration(candidates.probs[member, 0, rows], candidates.labels[rows])


def _thin(candidates: Candidates, sample: Sample) -> Ints:
    """The sample's rows, as often as they count; of many the photos of every k-th group, in the order of names."""
    rows = np.repeat(sample.rows, sample.times)
    most = min(MOST_FITTED, max(FEWEST, PHOTOS_PER_CLASS * candidates.n_classes))
    if len(rows) <= most:
        return rows
    names, group_numbers = np.unique(candidates.group_numbers[rows], return_inverse=True)
    step = -(-len(rows) // most)
    kept: Ints = rows[group_numbers % min(step, len(names)) == 0]
    return kept
