"""Verdicts: a trial's record, and that of its second training -> PASS or DIFFERS, with the reason in one sentence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ledger.reproducibility import LOSS_TOLERANCE, Promise, tolerance, trace
from ledger.trials import ALL_DATA, Record
from trainables.reproduce.ingredients import Ingredient, ordered

Losses = tuple[list[Any], str | None]
"""One training loss per epoch, or none and what is wrong with the file (`ledger.reading.readable_losses`)."""
Trace = tuple[float | str | None, ...]
"""One entry per epoch (`ledger.reproducibility.trace`)."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of it.

    Attributes:
        verdict: PASS or DIFFERS after training; SAME or DIFFERS where the ingredients alone were compared.
        promised: `bits` or `tolerance`: what equal ingredients would have to give on this machine.
        tolerance: By how much scores may differ; 0 where bits are promised.
        equal_bits: Whether curve, best epoch and weights are equal bit for bit; `None` without training.
        epochs: How many were compared.
        reason: One sentence.
        score_then: `None` for a trial that diverged or learned from all photos.
        score_now: `None` as well where nothing was trained.
        restored: Whether the weights were put back.
    """

    trial_id: str
    target: str
    verdict: Literal["PASS", "DIFFERS", "SAME"]
    promised: Promise
    tolerance: float = 0.0
    equal_bits: bool | None = None
    epochs: int
    reason: str
    score_then: float | None
    score_now: float | None = None
    ingredients: tuple[Ingredient, ...]
    restored: bool = False

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "ingredients": [part.json() for part in self.ingredients]}


def judged(
    then: Record,
    now: Record,
    losses: tuple[Losses, Losses],
    *,
    promised: Promise,
    known: bool,
    n_photos: int,
    parts: list[Ingredient],
) -> Verdict:
    """The verdict on a trial that was trained again.

    Args:
        then: Its record in the ledger.
        now: The record of the second training.
        losses: Those of the first and of the second training: what is compared where nobody judges a trial by scores.
        promised: What may be expected of the two.
        known: Whether it is known what the first one was made of.
        n_photos: How many photos the scores are of.
        parts: The ingredients that differ.
    """
    by_scores = then.fold != ALL_DATA
    (losses_then, fault), (losses_now, _) = losses
    before = trace(then.curve, losses_then, diverged=then.diverged, judged=by_scores)
    after = trace(now.curve, losses_now[: then.epochs_done], diverged=now.diverged, judged=by_scores)
    no_losses = not by_scores and not losses_then
    unread = f"; its losses are not compared ({fault})" if no_losses and fault and losses_now else ""
    same_trace = before == after or no_losses
    bits = (then.weights, then.best_epoch, then.epochs_done) == (now.weights, now.best_epoch, now.epochs_done) and same_trace
    allowed = 0.0 if promised == "bits" else tolerance(n_photos)
    between = "between these two machines" if known else "where it is not known what the trial was made of"
    if bits:
        reason = "weights are equal bit for bit" if unread else "curve, best epoch and weights are equal bit for bit"
        reason += "" if promised == "bits" else f", more than is promised {between}"
    elif promised == "bits":
        parting = "the weights are not equal" if no_losses else _parting(before, after)
        reason = f"bit-equality is promised here (same versions, threads and kind of CPU) and {parting}"
    else:
        apart = "the weights are not equal" if unread else _distance(then, now, before, after, allowed)
        reason = f"bit-equality is not promised {between}: {apart}"
    passed = bits or (promised == "tolerance" and _within(then, now, before, after, allowed))
    verdict: Literal["PASS", "DIFFERS"] = "PASS" if passed else "DIFFERS"
    return _verdict(then, verdict, promised, reason + unread, parts, tolerance=allowed, equal_bits=bits, score_now=now.score)


def untrained(then: Record, promised: Promise, parts: list[Ingredient], *, check: bool) -> Verdict:
    """The verdict where the ingredients alone were compared, as `check` asks, or because they rule training out."""
    if not check:
        reason = "the trial learned from other photos, labels or folds than there are today, so nothing was trained"
    elif parts:
        reason = f"{len(parts)} ingredients differ; nothing was trained"
    else:
        reason = "all ingredients are the same; nothing was trained"
    return _verdict(then, "DIFFERS" if parts else "SAME", promised, reason, parts)


def _parting(before: Trace, after: Trace) -> str:
    """Where two traces part that should be equal."""
    epoch = next((n for n, (a, b) in enumerate(zip(before, after, strict=False), start=1) if a != b), None)
    return f"the two part at epoch {epoch}" if epoch else "the curves are equal and the weights are not"


def _within(then: Record, now: Record, before: Trace, after: Trace, allowed: float) -> bool:
    """Whether the two are no further apart than may be expected."""
    if then.diverged != now.diverged:
        return False
    if then.score is not None and now.score is not None:
        return abs(then.score - now.score) <= allowed
    last_then, last_now = _last(before), _last(after)
    if isinstance(last_then, float) and isinstance(last_now, float):
        return abs(last_then - last_now) <= LOSS_TOLERANCE * abs(last_then)
    return then.diverged


def _distance(then: Record, now: Record, before: Trace, after: Trace, allowed: float) -> str:
    """How far apart the two are, in words."""
    if then.score is not None and now.score is not None:
        return f"best scores are {abs(then.score - now.score):.4f} apart, up to {allowed:.4f} may be expected"
    if then.diverged or now.diverged:
        return "both diverged" if then.diverged and now.diverged else "one of the two diverged"
    return f"last training losses {_last(before)} and {_last(after)}, up to {LOSS_TOLERANCE:.0%} apart may be expected"


def _last(way: Sequence[float | str | None]) -> float | str | None:
    return way[-1] if way else None


def _verdict(
    then: Record,
    verdict: Literal["PASS", "DIFFERS", "SAME"],
    promised: Promise,
    reason: str,
    parts: list[Ingredient],
    **trained: Any,
) -> Verdict:
    """The verdict on a recorded trial; `trained` is what only a second training says."""
    return Verdict(
        trial_id=then.trial_id,
        target=then.target,
        verdict=verdict,
        promised=promised,
        epochs=then.epochs_done,
        reason=reason,
        score_then=then.score,
        ingredients=tuple(ordered(parts)),
        **trained,
    )
