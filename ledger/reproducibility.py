"""What may be expected of one trial that was trained twice: the same bits, or the same score within a stated tolerance.

Bit-equality is promised on CPUs for the same versions of Python and of the packages that compute, the same number of compute threads and
the same kind of processor. Elsewhere sums are rounded in another order, and training carries that on like another seed would. Then
two best scores on n photos agree when they differ by at most 0.5 / sqrt(n), the largest standard error that a share of n photos can
have: those photos cannot tell the two runs apart. On 100 photos that is 0.05, on 2,500 it is 0.01.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import Any, Literal

Promise = Literal["bits", "tolerance"]

SCHEDULING = ("ray", "optuna")
"""Packages that decide when a trial runs and not what it learns."""
LOSS_TOLERANCE = 0.05
"""Share by which the last training losses of two trials that nobody judges may differ where bits are not promised."""


def tolerance(n_photos: int | None) -> float:
    """By how much two best scores on the same n photos may differ where bits are not promised; 0 where n is not known.

    >>> tolerance(100), tolerance(None)
    (0.05, 0.0)
    """
    return 0.5 / sqrt(n_photos) if n_photos else 0.0


def computing(packages: Mapping[str, Any]) -> dict[str, Any]:
    """The packages that compute, with their versions."""
    return {name: version for name, version in packages.items() if name not in SCHEDULING}


def device_of(session: Mapping[str, Any], precision: str = "fp32") -> str:
    """`cpu` or `cuda`; a session that does not say it ran on the GPU where it had one and mixed precision."""
    hardware = session.get("hardware") or {}
    return str(session.get("device") or ("cuda" if hardware.get("gpu") and precision != "fp32" else "cpu"))


def hardware_of(session: Mapping[str, Any], precision: str = "fp32") -> dict[str, Any]:
    """What computed: the kind of machine and processor, and on a GPU its name."""
    hardware, device = dict(session.get("hardware") or {}), device_of(session, precision)
    gpu = hardware.pop("gpu", None)
    return {**hardware, "device": device, **({"gpu": gpu} if device != "cpu" else {})}


def promise(sessions: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], precision: str = "fp32") -> Promise:
    """What is promised of two trainings of one trial.

    Args:
        sessions: Provenance of all sessions of the one.
        others: Of the other.
        precision: The trial's.

    Returns:
        `bits` where all of them ran on CPUs of one kind with one set of versions and threads; a training of unknown origin has no
        promise but the tolerance.
    """
    kinds = [_kind(session, precision) for session in (*sessions, *others)]
    if not sessions or not others or any(kind["device"] != "cpu" for kind in kinds):
        return "tolerance"
    return "tolerance" if any(differing(kinds[0], kind) for kind in kinds) else "bits"


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ; what one of the two never recorded is not compared."""
    return [key for key in then if key in now and then[key] != now[key]]


def _kind(session: Mapping[str, Any], precision: str) -> dict[str, Any]:
    facts = {**computing(session.get("packages") or {}), **hardware_of(session, precision)}
    return facts | {key: session[key] for key in ("python", "threads") if key in session}


def trace(
    curve: Iterable[float], losses: Iterable[float | None], *, diverged: bool, judged: bool
) -> tuple[float | str | None, ...]:
    """What a trial went through, one entry per epoch: validation scores, or training losses where nobody judges, and `diverged` at its end.

    Of two trainings that learned the same, the trace of the shorter is the beginning of the other's.
    """
    return (*(curve if judged else losses), *(["diverged"] if diverged else []))
