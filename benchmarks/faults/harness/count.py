"""What came of studies that were killed, counted from the truth log."""

from dataclasses import dataclass, field

from benchmarks.faults.harness import truth


@dataclass
class Count:
    """What came of studies that were killed.

    Attributes:
        finished: Trials trained to their end before a kill.
        lost: Those of them that are not there in the end.
        twice: Trials trained to their end more than once.
        repeats: Per trial that went on elsewhere: epochs begun again.
        begun: Epochs begun, and how many there would have been without repeats.
        broken: Why studies could not be gone on with at all, in the words of whoever could not.
    """

    kills: int = 0
    finished: int = 0
    lost: int = 0
    twice: int = 0
    repeats: list[int] = field(default_factory=list)
    begun: int = 0
    distinct: int = 0
    broken: list[str] = field(default_factory=list)

    def add(self, lines: list[truth.Line], *, kills: int, finished: set[str], there: set[str], known: set[str]) -> None:
        """Add one study: its truth log, the trials finished before a kill, those still there in the end, and all it knows then."""
        self.kills += kills
        self.finished += len(finished)
        self.lost += len(finished - there)
        self.twice += len(truth.trained_twice(lines))
        self.repeats += truth.repeats(lines)
        self.begun += sum(line.at == "begin" for line in lines)
        self.distinct += len({key for key in truth.begun(lines) if key[0] in known})

    @property
    def held(self) -> bool:
        return not self.lost and not self.twice and max(self.repeats, default=0) <= 1

    def __str__(self) -> str:
        again = f"{sum(n > 0 for n in self.repeats)} of {len(self.repeats)} continued trials repeated epochs"
        return (
            f"{self.lost} of {self.finished} finished trials lost, {self.twice} trained twice; {again}, at most "
            f"{max(self.repeats, default=0)}; {self.begun - self.distinct} of {self.begun} epochs for nothing"
            + "".join(f"; a study could not go on: {why}" for why in self.broken)
        )
