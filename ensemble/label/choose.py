"""Which label decoder to take: choices of P subtasks on the same N photos -> the decoder that wins on people it did not see, and accounts.

Every subtask is chosen anew in each resample, once for all decoders (`ensemble.scoring.gain`); the default stays unless another decoder's
gain lies above 0 beyond noise, with as many decoders as are compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from competitions.labels import Composition
from ensemble.label.cascade import Subtask
from ensemble.label.decode import LabelDecoder, default_decoder, label_decoders, needs_joint, route_votes
from ensemble.label.decoders import LABEL_DECODERS, SubtaskVotes, fit_joint, routes
from ensemble.resampling import Groups
from ensemble.scoring.gain import Judge
from ensemble.votes import Choose, Ints, Vote

N_RESAMPLES = 50


@dataclass(frozen=True)
class DecoderAccount:
    """What one label decoder scored on groups that did not choose, and what it won over the default, in the metric's unit.

    Attributes:
        way: Its name in `LABEL_DECODERS`.
        score: Its score on the composed label, greater is better.
        gain: Its score less the default's; 0 for the default itself.
        low: Where the 90 % interval of the gain begins; to be taken a decoder needs a wider one above 0, by Bonferroni.
        high: Where it ends.
        kept: Whether it is the decoder that is taken. More than one may lie above 0; the best of them is taken.
    """

    way: str
    score: float
    gain: float
    low: float
    high: float
    kept: bool

    def to_json(self) -> dict[str, Any]:
        """The account as a JSON value."""
        return asdict(self)


def choose_decoder(
    choices: Mapping[Subtask, Choose],
    table: Composition,
    classes: Mapping[str, Sequence[str]],
    labels: Ints,
    groups: Groups,
    *,
    metric: str,
    seed: int,
    joint: Sequence[float] | None = None,
    n_resamples: int = N_RESAMPLES,
    class_weights: Sequence[float] | None = None,
    shares: bool = False,
) -> tuple[LabelDecoder, tuple[DecoderAccount, ...]]:
    """The decoder by which these subtasks answer the label, and an account of every decoder they allow, the default first.

    Args:
        choices: Subtask -> its choice; rows mean the same photos for all of them.
        table: How tasks and label belong together.
        classes: Task -> class names, of every task that has a subtask.
        labels: Composed labels `int64 (N,)`; photos with -1 take no part.
        groups: N group names.
        metric: One of `competitions.metrics.METRICS`.
        seed: Of the resamples.
        joint: C shares of the composed classes among the training photos; for `None` those of the photos here, counted anew on the
            drawn ones of each resample while decoders are judged.
        n_resamples: How often each subtask is chosen anew.
        class_weights: By which photos of each composed class count (`ensemble.scoring.gain.Judge`).
        shares: Shares are handed in (`default_decoder`).

    Returns:
        The decoder, and one account per decoder; no accounts where only one can be taken, which then needs no choice.

    Raises:
        UserError: No route leads from these subtasks to the label, there are fewer than two groups with labels, or the metric is unknown.
    """
    default = default_decoder(list(choices), table, shares=shares)
    names = label_decoders(list(choices), table, shares=shares)
    if len(names) == 1:
        return LabelDecoder(default, _joint(default, choices, table, labels, joint)), ()
    judge = Judge(labels, groups, metric=metric, seed=seed, n_resamples=n_resamples, class_weights=class_weights)
    before, *others = judge.results_of_several(_all_decoders(names, choices, table, classes, labels, joint))
    gains = [judge.compare(name, before, after, n_compared=len(others)) for name, after in zip(names[1:], others, strict=True)]
    best = max((gain for gain in gains if gain.kept), key=lambda gain: gain.after, default=None)
    chosen = default if best is None else best.step
    first = DecoderAccount(default, gains[0].before, 0.0, 0.0, 0.0, chosen == default)
    rest = [DecoderAccount(one.step, one.after, one.gain, one.low, one.high, one.step == chosen) for one in gains]
    return LabelDecoder(chosen, _joint(chosen, choices, table, labels, joint)), (first, *rest)


def _all_decoders(
    names: Sequence[str],
    choices: Mapping[Subtask, Choose],
    table: Composition,
    classes: Mapping[str, Sequence[str]],
    labels: Ints,
    joint: Sequence[float] | None,
) -> Callable[[Ints], Callable[[Ints], Sequence[Vote]]]:
    """From in-bag rows to the label's votes on other rows, one per decoder: every subtask, and every route, votes once."""
    allowed = routes(list(choices), table)

    def choose(rows: Ints) -> Callable[[Ints], Sequence[Vote]]:
        decisions = {subtask: choice(rows) for subtask, choice in choices.items()}
        prior = fit_joint(table, labels[rows]) if joint is None else joint

        def decide(others: Ints) -> Sequence[Vote]:
            votes = {subtask: decision(others) for subtask, decision in decisions.items()}
            by_route = route_votes(SubtaskVotes(table, votes, classes, prior), allowed)
            combinations = [LABEL_DECODERS[name] for name in names]
            return [one.decide([by_route[route] for route in one.takes(allowed)]) for one in combinations]

        return decide

    return choose


def _joint(
    decoder: str, subtasks: Mapping[Subtask, Choose], table: Composition, labels: Ints, joint: Sequence[float] | None
) -> tuple[float, ...] | None:
    if not needs_joint(decoder, list(subtasks), table):
        return None
    return fit_joint(table, labels) if joint is None else tuple(joint)
