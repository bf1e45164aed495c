"""Close calls: voters' rows `(K, N, C)` and a decision's shares `(N, C)` -> the photos whose answer another kind of device may turn `(N,)`.

Between kinds of device a probability may round to the next float16, 2**-11 further near 1/2, so the lead of the best class over the second
moves by nearly 1e-3 (`MARGIN`). Means and products of such probabilities, with offsets or class shares weighed in, move by no more, so
one margin holds for a voter's rows and for whatever shares a decision is the greatest of. What a calibration or a stacking stretches
moves as many times as far (`steepness`). Counts of votes do not move: they change only
where a voter's own word may turn, and a tie of them is decided by its rule on every device.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.labels import Composition
from ensemble.label.cascade import Subtask
from ensemble.label.decode import LabelDecoder, route_votes
from ensemble.label.decoders import LABEL_DECODERS, ROUTES, SubtaskVotes, routes
from ensemble.log_probs import share_logs
from ensemble.plan.spec import VotingSpec
from ensemble.resampling import Groups
from ensemble.votes import EQUAL, RULES, Floats, Ints, Vote

Bools = NDArray[np.bool_]
MARGIN = 1e-3


def is_close(shares: Floats, margin: float = MARGIN) -> Bools:
    """Where the two best classes of `(N, C)` are nearer than `margin`, `(N,)`."""
    if shares.shape[1] < 2:
        return np.zeros(len(shares), dtype=bool)
    top = np.partition(shares.astype(np.float64), -2, axis=1)
    near: Bools = top[:, -1] - top[:, -2] < margin
    return near


def counts(spec: VotingSpec[Any]) -> bool:
    """Whether a decision counts what voters say, and does not sum how probable they find it."""
    return spec.stacking is None and RULES[spec.rule].counts


def steepness(spec: VotingSpec[Any]) -> float:
    """How many times as far as a probability what is decided by may move: at least 1, more where logarithms are stretched."""
    slopes = [float(slope) for fitted in spec.calibration.values() for one in fitted for slope in one.slopes]
    columns = [] if spec.stacking is None else np.abs(np.array(spec.stacking.coefficients)).sum(axis=0).tolist()
    return max([1.0, *slopes]) * max([1.0, *map(float, columns)])


def may_turn(spec: VotingSpec[Any], cube: Floats, vote: Vote, exact: Sequence[bool], steep: float = 1.0) -> Bools:
    """The photos whose own answer may turn, `(N,)`.

    Args:
        spec: How they are decided.
        cube: Voters' rows `(K, N, C)`, calibrated and corrected, most senior first.
        vote: What came of them.
        exact: K times whether a voter is the same on every device: a file is, a network is not.
        steep: See `steepness`.
    """
    if not counts(spec):
        return is_close(vote.shares, MARGIN * steep)
    if spec.rule == "rank":
        return _order_may_turn(spec, cube, vote.labels, exact)
    found = np.zeros(cube.shape[1], dtype=bool)
    for rows, same in zip(cube, exact, strict=True):
        found |= False if same else is_close(rows, MARGIN * steep)
    return found


def together_may_turn(
    own: Bools, vote: Vote, spec: VotingSpec[Any], groups: Groups | None, *, same_group: str | None, quota: Sequence[float] | None
) -> Bools:
    """The photos whose answer may turn after what is decided for N photos together (`ensemble.plan.spec.decide_together`), `(N,)`.

    Where one photo's vote may turn that of its group, all of them may. A quota passes one photo's change on to another: counted are those
    for which an exchange costs less than the margins of the two photos in it. Exchanges among counted votes are not looked into.

    Args:
        own: Whether each photo's own answer may turn.
        vote: What came of all of them.
        spec: How photos are decided alone.
        groups: N group names, or `None`.
        same_group: See `ensemble.plan.spec.Spec`.
        quota: See `ensemble.plan.spec.Spec`.
    """
    counted, found = counts(spec), own.copy()
    if same_group is not None and groups is not None and quota is None:
        counted |= same_group == "votes"
        _, group = np.unique(np.asarray(groups), return_inverse=True)
        found = np.bincount(group, weights=own)[group] > 0 if counted else own | is_close(vote.shares)
    if quota is not None and not counted and len(own):
        found |= exchange_costs(share_logs(vote.shares), vote.labels) < 4 * MARGIN  # each logarithm moves by up to MARGIN
    return found


def exchange_costs(scores: NDArray[np.float64], labels: Ints) -> NDArray[np.float64]:
    """By how much the sum of scores falls at least if a photo has another class and each class as many photos as before, `(N,)`.

    Args:
        scores: `(N, C)`.
        labels: `(N,)`, of the greatest sum (`ensemble.postprocess.assignment.assign`).
    """
    n_photos, n_classes = scores.shape
    rows = np.arange(n_photos)
    moves = scores[rows, labels][:, None] - scores
    paths = np.full((n_classes, n_classes), np.inf)
    for one in np.unique(labels):
        paths[one] = moves[labels == one].min(axis=0)
    np.fill_diagonal(paths, 0)
    for via in range(n_classes):  # Floyd 1962: the cheapest ways from class to class, one photo a step
        paths = np.minimum(paths, paths[:, via : via + 1] + paths[via])
    costs = moves + paths[:, labels].T
    costs[rows, labels] = np.inf
    least: NDArray[np.float64] = costs.min(axis=1)
    return least


def label_may_turn(
    decoder: LabelDecoder,
    table: Composition,
    subtasks: Sequence[Subtask],
    votes: Sequence[Vote],
    classes: Mapping[str, Sequence[str]],
    label: Vote,
) -> Bools:
    """The photos whose composed label may turn although no subtask's vote does, `(N,)`: the label is the greatest of joint shares.

    Args:
        decoder: How votes become the label.
        table: How tasks and label belong together.
        subtasks: Of P ensembles.
        votes: Their P votes on the same N photos.
        classes: Task -> class names.
        label: The vote on the label that came of them.
    """
    said = SubtaskVotes(table, dict(zip(subtasks, votes, strict=True)), classes, decoder.joint)
    combination, turning = LABEL_DECODERS[decoder.way], [label]
    taken = combination.takes(routes(subtasks, table))
    if combination.counts:
        turning = [vote for name, vote in route_votes(said, taken).items() if not ROUTES[name].keeps]
    elif decoder.way in ROUTES and ROUTES[decoder.way].keeps:
        turning = []
    found = np.zeros(len(label.labels), dtype=bool)
    for vote in turning:
        found |= is_close(vote.shares)
    return found


def _order_may_turn(spec: VotingSpec[Any], cube: Floats, labels: Ints, exact: Sequence[bool]) -> Bools:
    """As `may_turn` for a vote of ranks: whether some class can come to no fewer points than the one that was decided.

    A voter's classes that are nearer than `MARGIN` may change places, and each of them is given both of its places at once.
    """
    n_voters, n_photos, n_classes = cube.shape
    weights = np.ones(n_voters) if spec.weights is None else np.asarray(spec.weights, dtype=np.float64)
    weights = weights.reshape(n_voters, -1) * np.ones((1, n_classes))
    weights /= weights.sum(axis=0)
    fewest, most = np.zeros((n_photos, n_classes)), np.zeros((n_photos, n_classes))  # classes found more probable
    for rows, same, weight in zip(cube.astype(np.float64), exact, weights, strict=True):
        lead, others = rows[:, None, :] - rows[:, :, None], ~np.eye(n_classes, dtype=bool)  # of each other class over each class
        fewest += weight * (lead > 0 if same else lead >= MARGIN).sum(axis=2)
        most += weight * ((lead > (0 if same else -MARGIN)) & others).sum(axis=2)
    speaking = int(np.flatnonzero(weights.any(axis=1))[0])
    senior = cube[speaking].astype(np.float64)
    at, offsets = (np.arange(n_photos), labels), np.asarray(spec.offsets or np.zeros(n_classes), dtype=np.float64)
    best, worst = (np.log(n_classes - behind) + offsets for behind in (fewest, most))
    gain = best - worst[at][:, None]
    liked = senior > senior[at][:, None] - (0 if exact[speaking] else MARGIN)
    turns = (gain > EQUAL) | ((gain >= -EQUAL) & liked)
    turns[at] = False
    found: Bools = turns.any(axis=1)
    return found
