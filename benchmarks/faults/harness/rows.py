"""The fault bench's table: one row per rule, what was done, and what came of it on both sides."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RuleRow:
    """What one scenario came to.

    Attributes:
        rule: `R1` to `R14`, as docs/faults.md explains them.
        what: What was done, e.g. "driver killed at 20 random moments".
        cases: How often.
        podium: What came of it here, with numbers, e.g. "0 of 8 lost, 0 trained twice, at most 1 epoch repeated".
        control: The same of a bare Ray Tune in the same run; `-` where it has nothing of the kind.
        held: Whether what is promised held; `None` where the scenario could not run here, and `podium` says why.
    """

    rule: str
    what: str
    cases: int
    podium: str
    control: str
    held: bool | None
