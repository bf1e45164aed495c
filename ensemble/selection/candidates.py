"""Where voters of one subtask are compared: members' probabilities `(M, V, N, C)`, labels and groups -> votes and scores, many times over.

A choice is made anew in hundreds of resamples, mostly among the same votes. What those share (what each voter names, each member's votes
through some views) is counted once and kept. Votes equal those of `ensemble.votes` to the last bit: counts and sums are whole numbers.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from competitions.metrics import label_margins, metric_of
from ensemble.log_probs import share_logs
from ensemble.metric_sums import defined
from ensemble.plan.spec import Spec, decide_by, decide_together, mean_of_models, prepare_rows
from ensemble.postprocess.assignment import prices_at
from ensemble.postprocess.calibration import Calibration
from ensemble.postprocess.offsets import with_offsets
from ensemble.selection.ballots import calibrated_ballots
from ensemble.selection.greedy import Library
from ensemble.selection.kernels import ONE, name_largest, units_of
from ensemble.votes import Ints, Vote, hard_by_ballots, hard_outcome, to_half

Made = TypeVar("Made")
Part = tuple[int, tuple[int, ...], int]
"""A member, its views and its weight."""
MOST_CELLS = 30_000_000
"""Groups' confusion matrices are kept up to so many numbers (120 MB): a resample of whole groups is then one product with them."""
MOST_PRICED = 1500
"""Labelled photos that the prices of a quota are found on: more hardly move them."""
WHOLE = ("hard", "soft")
"""Rules whose sums are kept per member."""


@dataclass(frozen=True)
class Sample:
    """The photos a choice is made on.

    Attributes:
        rows: `int64 (n,)`, different photos, each with a label.
        times: `int64 (n,)`, how often each counts.
    """

    rows: Ints
    times: Ints


@dataclass(frozen=True)
class Candidates:
    """The members that may answer one subtask, on the photos they share.

    Attributes:
        members: M names; of equal scores the first goes first.
        views: V names, the identity first.
        probs: `float16 (M, V, N, C)`, out of fold.
        labels: `int64 (N,)`, -1 for none.
        groups: N group names, an array of texts.
        metric: One of `competitions.metrics.METRICS`.
        models: `int64 (N,)`: which of a member's models gave a photo's row, where folds have one each; all 0 for `None`.
        width: How many of a sample's best a strategy sees that looks at everybody (`contenders`); all for `None`.
        always: Numbers of members that it sees besides.
    """

    members: tuple[str, ...]
    views: tuple[str, ...]
    probs: NDArray[np.float16]
    labels: Ints
    groups: NDArray[np.str_]
    metric: str
    models: Ints | None = None
    width: int | None = None
    always: frozenset[int] = frozenset()
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "probs", to_half(self.probs))

    @property
    def n_classes(self) -> int:
        """C."""
        return int(self.probs.shape[3])

    @property
    def named(self) -> NDArray[np.integer[Any]]:
        """What each voter names: `int (M, V, N)`."""
        return self._once("named", self._ballots)

    @property
    def group_numbers(self) -> Ints:
        """The number of each photo's group, `int64 (N,)`, groups in the order of their names."""
        return self._once("group_numbers", lambda: np.unique(self.groups, return_inverse=True)[1])

    def at(self, rows: Ints) -> "Candidates":
        """The same members on some of the photos."""
        return replace(
            self,
            probs=self.probs[:, :, rows],
            labels=self.labels[rows],
            groups=self.groups[rows],
            models=None if self.models is None else self.models[rows],
            _kept={},
        )

    def fewer(self, most: int) -> "Candidates":
        """The same members on the photos of every k-th labelled group, in the order of names, so that about `most` are left.

        At least two groups are, where there are as many: what is judged needs groups to leave out.
        """
        known = self.labels >= 0
        groups = np.unique(self.group_numbers[known])
        step = min(-(-int(known.sum()) // most), len(groups) // 2)
        if step < 2:
            return self
        return self._once(("every", step), lambda: self.at(np.flatnonzero(np.isin(self.group_numbers, groups[::step]))))

    def sample(self, rows: Ints | None = None) -> Sample:
        """The labelled ones of these rows, a row as often as it stands; each labelled photo once for `None`."""
        if rows is None:
            used = np.flatnonzero(self.labels >= 0)
            return Sample(used, np.ones(len(used), dtype=np.int64))
        times = np.where(self.labels >= 0, np.bincount(rows, minlength=len(self.labels)), 0)
        used = np.flatnonzero(times)
        return Sample(used, times[used])

    def score(self, vote: Vote, sample: Sample) -> float:
        """The metric of a vote on the sample's photos; minus infinity where it is undefined: nothing is worse to choose by."""
        metric, labels = metric_of(self.metric), self.labels[sample.rows]
        if metric.judges_labels:
            score = metric.of_named(vote.labels, labels, self.n_classes, sample.times)
        else:
            score = metric.of(vote.shares, labels, sample.times)
        return float(defined(np.asarray(score)))

    def member_scores(self, sample: Sample) -> NDArray[np.float64]:
        """Each member's score alone, through the first view: `float64 (M,)`; minus infinity where it is undefined."""
        metric, labels = metric_of(self.metric), self.labels[sample.rows]
        if metric.of_counts is None:
            return defined(np.array([metric.of(member[0][sample.rows], labels, sample.times) for member in self.probs]))
        n, cells = len(self.members), self.n_classes**2
        drawn = self._drawn(sample)
        if drawn is not None and n * cells * len(drawn) <= MOST_CELLS:
            counts = drawn @ self._once("of groups", self._of_groups)
            return defined(metric.of_counts(np.rint(counts).astype(np.int64).reshape(n, self.n_classes, -1)))
        named = (member[sample.rows] for member in self.named[:, 0])
        if metric.of_margins is None:
            return defined(np.array([metric.of_named(one, labels, self.n_classes, sample.times) for one in named]))
        return metric.of_margins(np.stack([label_margins(one, labels, self.n_classes, sample.times) for one in named]))

    def ranked(self, sample: Sample) -> list[int]:
        """The member numbers, best first; of equal scores the smaller name goes first. All as they stand where the sample is empty."""
        if not len(sample.rows):
            return list(range(len(self.members)))
        key = ("ranked", hashlib.blake2b(sample.rows.tobytes() + sample.times.tobytes(), digest_size=16).digest())
        return list(self._once(key, lambda: self._ranked(sample)))  # several strategies ask about the same resample

    def contenders(self, sample: Sample) -> list[int]:
        """Whom a strategy sees that does not only take the best: the sample's best `width`, and `always`, best first.

        Who is seen is asked of the sample, so that nobody is seen for having been lucky on groups that are left out.
        """
        ranked = self.ranked(sample)
        if self.width is None:
            return ranked
        seen = self.always | set([member for member in ranked if member not in self.always][: self.width])
        return [member for member in ranked if member in seen]

    def _ranked(self, sample: Sample) -> list[int]:
        scores = self.member_scores(sample)
        return sorted(range(len(self.members)), key=lambda member: (-scores[member], self.members[member]))

    def vote(self, spec: Spec, rows: Ints) -> Vote:
        """What a spec answers for these photos `int64 (n,)`."""
        if self._is_plain(spec):
            return next(self.votes_of([spec], rows))
        if spec.rule == "hard" and spec.stacking is None:
            vote = hard_by_ballots(self._ballots_of(spec, rows), self.n_classes, spec.weights)
            return self._finished(vote if spec.offsets is None else with_offsets(vote.shares, spec.offsets), spec, rows)
        return self._finished(decide_by(spec, self._cube(spec, rows)), spec, rows)

    def votes_of(self, specs: Sequence[Spec], rows: Ints) -> Iterator[Vote]:
        """The votes of several specs, cheap where each has the members of the one before and more of them."""
        before: list[Part] = []
        rule, total = "", np.zeros((len(rows), self.n_classes), dtype=np.int64)
        for spec in specs:
            if not self._is_plain(spec):
                yield self.vote(spec, rows)
                continue
            parts = _parts(spec)
            if rule != spec.rule or parts[: len(before)] != before:
                before, total[:] = [], 0
            for member, views, times in parts[len(before) :]:
                total += times * self._votes(spec.rule, member, views)[rows].astype(np.int64)
            rule, before = spec.rule, parts
            yield self._finished(self._outcome(rule, parts, total, rows), spec, rows)

    def lately(self, key: Any, make: Callable[[], Made], *, most: int) -> Made:
        """What was made for this key; made anew where `most` other things were asked for since: large things are not kept for ever."""
        kept: dict[Any, Any] = self._once("lately", dict)
        made: Made = kept.pop(key) if key in kept else make()
        kept[key] = made
        for oldest in list(kept)[:-most]:
            del kept[oldest]
        return made

    def library(self, views: Sequence[int]) -> tuple[Library, Ints]:
        """The labelled photos laid out for greedy selection, each member as the mean of these views, and their rows."""
        return self._once(("library", tuple(views)), lambda: self._library(tuple(views)))

    def _finished(self, vote: Vote, spec: Spec, rows: Ints) -> Vote:
        """What is decided for photos together.

        Known shares are those of many photos, and what these few are would tell their answers. So they are answered with the prices
        at which all labelled photos here, weighed to these shares, are answered in them.
        """
        if spec.quota is not None:
            known = np.flatnonzero(self.labels >= 0)
            known = known[:: -(-len(known) // MOST_PRICED)]
            shares = self.vote(replace(spec, quota=None, same_group=None), known).shares
            prices = prices_at(share_logs(shares), self.labels[known], spec.quota)
            return Vote((share_logs(vote.shares) + prices).argmax(axis=1), vote.shares)
        if spec.same_group is None:
            return vote
        return decide_together(vote, [str(row) for row in rows], self.groups[rows], same_group=spec.same_group, quota=None)

    def _outcome(self, rule: str, parts: Sequence[Part], total: Ints, rows: Ints) -> Vote:
        weight = sum(times * len(views) for _, views, times in parts)
        if rule == "soft":
            shares = total.astype(np.float64) / ONE / weight
            return Vote(shares.argmax(axis=1), shares)
        voters = [(member, view) for member, views, times in parts for view in views if times]
        members, of_views = (np.array(numbers) for numbers in zip(*voters, strict=True))
        return hard_outcome(total / weight, lambda tied: self.named[members[:, None], of_views[:, None], rows[tied]])

    def _votes(self, rule: str, member: int, views: tuple[int, ...]) -> NDArray[np.integer[Any]]:
        """A member's votes, or sums in units of 2^-24, over some of its views: `int (N, C)`."""
        return self._once(
            (rule, member, views), lambda: self._counted(member, views) if rule == "hard" else self._summed(member, views)
        )

    def _counted(self, member: int, views: tuple[int, ...]) -> NDArray[np.integer[Any]]:
        counts, photos = np.zeros((len(self.labels), self.n_classes), dtype=np.int8), np.arange(len(self.labels))
        for view in views:
            counts[photos, self.named[member, view]] += 1
        return counts

    def _summed(self, member: int, views: tuple[int, ...]) -> NDArray[np.integer[Any]]:
        units = np.zeros((len(self.labels), self.n_classes), dtype=np.int32)
        for view in views:
            units += units_of(self.probs[member, view])
        return units

    def _library(self, views: tuple[int, ...]) -> tuple[Library, Ints]:
        rows = np.flatnonzero(self.labels >= 0)
        means = [self._votes("soft", member, views)[rows] / np.float32(ONE * len(views)) for member in range(len(self.members))]
        return Library.of(np.stack([mean.astype(np.float16) for mean in means]), self.labels[rows]), rows

    def _cube(self, spec: Spec, rows: Ints) -> NDArray[np.float16]:
        """The voters' rows as they vote, `(K, n, C)`; a member's views are calibrated and corrected together."""
        cube = np.empty((len(spec.voters), len(rows), self.n_classes), dtype=np.float16)
        for member, positions in _positions(spec).items():
            views = [spec.voters[position][1] for position in positions]
            cube[positions] = self._prepared(member, views, rows, spec)
        return cube

    def _ballots_of(self, spec: Spec, rows: Ints) -> NDArray[np.integer[Any]]:
        """What the voters name of these photos, `int (K, n)`; a member's views are calibrated and corrected together."""
        named: NDArray[np.integer[Any]] = np.empty((len(spec.voters), len(rows)), dtype=self.named.dtype)
        for member, positions in _positions(spec).items():
            views = [spec.voters[position][1] for position in positions]
            calibration = spec.calibration.get(member)
            if calibration is None and spec.correction is None:
                named[positions] = self.named[member, views][:, rows]
                continue
            for here, model in self._by_model(rows, calibration):
                of = self.probs[member] if views == list(range(len(self.views))) else self.probs[member][views]
                made = calibrated_ballots(of.take(rows[here], axis=1), model, spec.correction)
                if len(here) == len(rows):
                    named[positions] = made
                else:
                    named[np.array(positions)[:, None], here] = made
        return named

    def _by_model(self, rows: Ints, calibration: Sequence[Calibration] | None) -> Iterator[tuple[Ints, Calibration | None]]:
        """Positions among these photos, and the calibration of the model that their rows are from."""
        if calibration is None:
            yield np.arange(len(rows)), None
            return
        models = np.zeros(len(rows), dtype=np.int64) if self.models is None else self.models[rows]
        for number, own in enumerate(calibration):
            yield np.flatnonzero(models == number), own

    def _prepared(self, member: int, views: Sequence[int], rows: Ints, spec: Spec) -> NDArray[np.float16]:
        """A member's rows `(V, n, C)`, calibrated by the model that each photo's row is from, and corrected."""
        probs, calibration = self.probs[member][views][:, rows], spec.calibration.get(member)
        if calibration is None and spec.correction is None:
            return to_half(probs)
        prepared = np.empty(probs.shape, dtype=np.float16)
        for here, own in self._by_model(rows, calibration):
            flat = probs[:, here].reshape(-1, self.n_classes)
            made = mean_of_models([prepare_rows(flat, own, spec.correction)])
            prepared[:, here] = made.reshape(len(views), len(here), self.n_classes)
        return prepared

    def _is_plain(self, spec: Spec) -> bool:
        bare = spec.stacking is None and not spec.calibration and spec.correction is None and spec.offsets is None
        return bare and spec.rule in WHOLE and _is_uniform(spec)

    def _ballots(self) -> NDArray[np.integer[Any]]:
        n_members, n_views, n_photos, n_classes = self.probs.shape
        named = np.empty((n_members, n_views, n_photos), dtype=np.int8 if n_classes <= np.iinfo(np.int8).max else np.int16)
        for probs, own in zip(self.probs, named, strict=True):
            name_largest(np.ascontiguousarray(probs).view(np.uint16), own)
        return named

    def _drawn(self, sample: Sample) -> NDArray[np.float32] | None:
        """How often each group was drawn, `float32 (G,)`, where the sample is of whole groups; else `None`."""
        times = np.zeros(len(self.labels), dtype=np.int64)
        times[sample.rows] = sample.times
        known = self.labels >= 0
        drawn = np.zeros(int(self.group_numbers.max()) + 1, dtype=np.int64)
        drawn[self.group_numbers[known]] = times[known]
        return drawn.astype(np.float32) if (drawn[self.group_numbers] == times)[known].all() else None

    def _of_groups(self) -> NDArray[np.float32]:
        """Each group's confusion matrices of all members, `float32 (G, M * C * C)`: whole numbers, and so are sums below 2^24."""
        cells = self.n_classes**2
        known, n_groups = np.flatnonzero(self.labels >= 0), int(self.group_numbers.max()) + 1
        first_cell = self.group_numbers[known] * cells + self.labels[known] * self.n_classes
        matrices = np.empty((n_groups, len(self.members), cells), dtype=np.float32)
        for member, named in enumerate(self.named[:, 0]):
            matrices[:, member] = np.bincount(first_cell + named[known], minlength=n_groups * cells).reshape(n_groups, cells)
        return matrices.reshape(n_groups, -1)

    def _once(self, key: Any, make: Callable[[], Made]) -> Made:
        if key not in self._kept:
            self._kept[key] = make()
        made: Made = self._kept[key]
        return made


def _positions(spec: Spec) -> dict[int, list[int]]:
    """Member -> the positions of its voters."""
    positions: dict[int, list[int]] = {}
    for position, (member, _) in enumerate(spec.voters):
        positions.setdefault(member, []).append(position)
    return positions


def _is_uniform(spec: Spec) -> bool:
    """Whether a member's voters stand together and weigh alike, in whole numbers."""
    firsts = [n for n, (member, _) in enumerate(spec.voters) if n == 0 or spec.voters[n - 1][0] != member]
    if len(firsts) != len(spec.members):
        return False
    if spec.weights is None:
        return True
    if any(not isinstance(weight, int | float) or weight != int(weight) for weight in spec.weights):
        return False
    of: dict[int, set[Any]] = {}
    for (member, _), weight in zip(spec.voters, spec.weights, strict=True):
        of.setdefault(member, set()).add(weight)
    return all(len(weights) == 1 for weights in of.values())


def _parts(spec: Spec) -> list[Part]:
    """Member, its views and its weight, most senior first."""
    views: dict[int, list[int]] = {}
    weights: dict[int, int] = {}
    for position, (member, view) in enumerate(spec.voters):
        views.setdefault(member, []).append(view)
        weights[member] = 1 if spec.weights is None else int(spec.weights[position])  # type: ignore[arg-type]  # _is_uniform holds
    return [(member, tuple(of), weights[member]) for member, of in views.items()]
