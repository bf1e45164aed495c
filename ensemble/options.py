"""What is asked of an export: plain settings, checked together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from competitions.manifest import LABEL
from ensemble.label.cascade import Subtask, subtask_faults
from ensemble.label.decode import label_decoders, voting_subtasks
from ensemble.label.decoders import LABEL_DECODERS
from ensemble.pool import CompetitionFacts
from ensemble.postprocess.label_shift import ESTIMATORS
from ensemble.selection.strategies import STRATEGIES
from system.errors import UserError, unknown

BEST, EM = "best", "em"
MOST = 5
"""Without a number of its own, an ensemble takes as many of its best members, up to this, as vote best."""
ALL_FOLDS: Literal["all"] = "all"


@dataclass(frozen=True)
class Options:
    """What an export is asked for.

    Attributes:
        top: Members per subtask; for `None` as many, from 1 to `MOST`, as vote best.
        vote: One of `ensemble.selection.strategies.STRATEGIES`, or `best`: the winner of the tournament. For `None` hard, soft where
            shares are handed in, and the best single trial where that vote is worse (`ensemble.choose`).
        targets: Whose trials vote; one per task for `None`. Together they answer the label: tasks, several heads, the label itself,
            or a task by its subsets. Several targets that answer one subtask share a pool.
        study: Only trials that this study asked for; the whole ledger for `None`.
        fold: The validation fold that members share, or `all`: members are then one trial per fold.
        all_data: Let each member hand its vote on the test photos to the trial that learned with its settings from all labelled
            photos. The scores stay those of the members: their siblings have none.
        imports: Names of files from outside that vote; those that answer every photo of the fold for `None`.
        unjudged: Names of files from outside with answers for the test photos alone: they vote as the most junior, each with the weight
            of one member, and no score knows them.
        together: One of `LABEL_DECODERS`: how the tasks' answers become the label; for `None` by the default, unless
            another decoder wins.
        views: Those of the competition's views that voters may look through; all for `None`.
        thorough: Compare every strategy, over a wider pool.
        plain: No refinements: the votes as they are.
        soup: Average the weights of trials that share backbone and start.
        front: Measure what members cost.
        max_seconds: Per 1,000 photos, of all networks together.
        max_megabytes: Of all weights together.
        estimator: One of `ensemble.postprocess.label_shift.ESTIMATORS`: how the test photos' class shares are estimated if not told.
        device: Where missing predictions are computed.
    """

    top: int | None = None
    vote: str | None = None
    targets: tuple[str, ...] | None = None
    study: str | None = None
    fold: int | Literal["all"] = 0
    all_data: bool = False
    imports: tuple[str, ...] | None = None
    unjudged: tuple[str, ...] = ()
    together: str | None = None
    views: tuple[str, ...] | None = None
    thorough: bool = False
    plain: bool = False
    soup: bool = False
    front: bool = False
    max_seconds: float | None = None
    max_megabytes: float | None = None
    estimator: str = EM
    device: str = "cpu"

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of members that are allowed."""
        return (self.top,) if self.top else tuple(range(1, MOST + 1))

    @property
    def may_follow_verdict(self) -> bool:
        """Whether nobody asked for a vote, for a number of its members or for a limit: then a worse vote gives way to the best trial."""
        return self.vote is None and self.top is None and not (self.has_budget or self.front)

    @property
    def has_budget(self) -> bool:
        """Whether something is limited."""
        return self.max_seconds is not None or self.max_megabytes is not None

    def folds(self, n_folds: int) -> tuple[int, ...]:
        """The folds that a member has a trial of."""
        return tuple(range(n_folds)) if self.fold == ALL_FOLDS else (int(self.fold),)


def heeding(options: Options) -> tuple[str, ...]:
    """The strategies that heed the number of members asked for."""
    return tuple(name for name, one in STRATEGIES.items() if options.top is None or one.most is None or options.top <= one.most)


def option_faults(options: Options, *, n_folds: int, split: str) -> list[str]:
    """What is out of range, unknown, or would have no effect, in words.

    Args:
        options: What is asked for.
        n_folds: Of the split.
        split: Its name.
    """
    votes = {**STRATEGIES, BEST: None}
    faults = [] if options.top is None or options.top >= 1 else [f"top must be 1 or more, got {options.top}; give --top K"]
    faults += [] if options.vote in (None, *votes) else [unknown("voting rule", options.vote, votes)]
    faults += [] if options.estimator in ESTIMATORS else [unknown("estimator of class shares", options.estimator, ESTIMATORS)]
    faults += (
        ["--estimator has no effect with --plain, which looks at no shares; drop one"]
        if options.plain and options.estimator != EM
        else []
    )
    faults += (
        [] if options.together in (None, *LABEL_DECODERS) else [unknown("way to the label", options.together, LABEL_DECODERS)]
    )
    if options.fold != ALL_FOLDS and not 0 <= int(options.fold) < n_folds:
        faults.append(f"fold must be 0..{n_folds - 1} or all, got {options.fold}")
    if options.fold == ALL_FOLDS and n_folds < 2:
        faults.append(f"fold must be 0 here, got all: split {split!r} is a holdout, which has one")
    if options.all_data and options.fold == ALL_FOLDS:
        faults.append(
            "--all-data goes with one fold: with --fold all every labelled photo has taught a vote already; drop one of them"
        )
    if options.soup and options.all_data:
        faults.append(
            "--soup has no effect with --all-data: a mean of weights has no sibling that learned from all photos; drop one"
        )
    if options.soup and options.fold == ALL_FOLDS:
        faults.append(
            "--soup goes with one fold: trials of several folds share no photo that none of them learned; drop one of them"
        )
    if options.all_data and (options.has_budget or options.front):
        faults.append(
            "a budget and --front measure the members themselves, and --all-data hands their votes on; drop one of them"
        )
    for name, given in (("--imports", options.imports), ("--unjudged", options.unjudged)):
        faults += [f"{name} names {one} {n} times; name it once" for one, n in Counter(given or ()).items() if n > 1]
    for name, value in (("--max-seconds-per-1000", options.max_seconds), ("--max-megabytes", options.max_megabytes)):
        faults += [f"{name} must be above 0, got {value:g}"] if value is not None and not value > 0 else []
    if (options.has_budget or options.front) and options.vote not in (None, "hard", "soft"):
        faults.append(
            f"a budget and --front compare hard or soft votes of the best trials, got --vote {options.vote}; give hard or soft"
        )
    if options.vote in STRATEGIES and options.vote not in heeding(options):
        taken = STRATEGIES[options.vote].takes
        faults.append(f"--top {options.top} has no effect with --vote {options.vote}, which takes {taken}; leave --top out")
    return faults


def check_vote(options: Options, subtasks: Sequence[Subtask], facts: CompetitionFacts) -> None:
    """Refuse a strategy or a way to the label that counts ballots where shares are handed in.

    Raises:
        UserError: With both faults.
    """
    shares = [str(subtask) for subtask in subtasks if facts.by_shares(subtask.task)]
    named, faults = ", ".join(dict.fromkeys(shares)), []
    if shares and options.vote in STRATEGIES and STRATEGIES[options.vote].ballots:
        others = ", ".join(name for name in heeding(options) if not STRATEGIES[name].ballots)
        faults.append(
            f"--vote {options.vote} counts what trials name, and of {named} no class is handed in: its shares would be k of K; leave it "
            f"out, or give one of {others}"
        )
    if facts.by_shares(LABEL) and options.together in LABEL_DECODERS and LABEL_DECODERS[options.together].counts:
        faults.append(
            f"--together {options.together} counts what routes name, and shares are handed in; give another, or leave it out"
        )
    if faults:
        raise UserError(*faults)


def check_subtasks(subtasks: Sequence[Subtask], answers: Sequence[str], facts: CompetitionFacts, together: str | None) -> None:
    """Refuse targets that do not answer everything the file asks for, or not by the label decoder asked for, or of which one has no say.

    Args:
        subtasks: What the targets answer.
        answers: The tasks that the submission asks for.
        facts: Of the competition.
        together: The label decoder asked for; any for `None`.

    Raises:
        UserError: With every fault.
    """
    table, tasks = facts.table, [task for task in facts.classes if task != LABEL]
    allowed = label_decoders(subtasks, table)
    answered = {subtask.task for subtask in subtasks}
    wanted = {task for task in answers if task != LABEL and task not in table.tasks}
    if not allowed:
        wanted |= set(table.tasks)
    missing = [task for task in tasks if task in wanted and task not in answered]
    faults = [f"no target answers {', '.join(missing)}"] if missing else []
    split = {subtask.task for subtask in subtasks if subtask.where}
    routed = [subtask for subtask in subtasks if subtask.where or subtask.task not in split]
    faults += subtask_faults(routed, {task: facts.classes[task] for task in tasks})
    voting = {subtask for decoder in allowed for subtask in voting_subtasks(decoder, subtasks, table)}
    idle = [str(subtask) for subtask in subtasks if subtask not in voting] if allowed else []
    if idle:
        named = ", ".join(idle)
        faults.append(f"{named} would have no say: no way to the label asks them; leave them out, or add what is missing")
    faults = [f"--targets: {fault}" for fault in faults]
    if allowed and together is not None and together not in allowed:
        faults.append(f"--together {together}: these targets allow {', '.join(allowed)}")
    if faults:
        raise UserError(*faults)
