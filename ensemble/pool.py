"""Everything that a choice is made on: arrays with their ids, and what the competition says of them. No path, no file, no network.

`bundle.gather` collects it, and `ensemble.choose` turns it into a plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from competitions.labels import Composition
from competitions.manifest import LABEL
from competitions.twins.gap import TwinGap
from ensemble.label.cascade import Subtask
from ensemble.plan.plan import SubmissionForm
from ensemble.selection.candidates import Candidates
from ensemble.selection.pareto import Cost
from ensemble.shift.permutation import Side
from ensemble.votes import Ints

ClassShares = tuple[float, ...]


@dataclass(frozen=True)
class Member:
    """Who votes.

    Attributes:
        name: The id of its first trial, or of an import.
        trials: One per fold, in the order of folds; their mean is what it says of a photo that none learned from.
        target: Of its trials; `""` for an import.
        imported: Name of the file from outside that it is, else empty.
    """

    name: str
    trials: tuple[str, ...]
    target: str = ""
    imported: str = ""

    @property
    def models(self) -> dict[str, tuple[str, ...]]:
        """What `TaskEnsemble.models` says of it: nothing where it is its own trial."""
        return {} if self.trials == (self.name,) else {self.name: self.trials}


@dataclass(frozen=True)
class Pool:
    """The members that may answer one subtask, best first.

    Attributes:
        subtask: What they answer.
        candidates: Their probabilities on the photos they share, all views of the first `n_whole`; the others look through the identity
            only, which stands in each view's place, and are there so that a resample can rank them too.
        members: In the order of the candidates.
        scores: Their validation scores for this subtask, through the identity.
        image_ids: N photos in manifest order; for a subtask with a condition those outside of it as well.
        n_whole: How many have all views: the candidates' `width`, and all imports.
        prior: C class shares of the training photos.
        test_probs: What each model of the best trained member says of the T decoded test photos through the identity, `float16 (T, C)`;
            none for a subtask with a condition.
        unjudged: Id and name of the files from outside that vote without having been judged.
    """

    subtask: Subtask
    candidates: Candidates
    members: tuple[Member, ...]
    scores: tuple[float, ...]
    image_ids: tuple[str, ...]
    n_whole: int
    prior: ClassShares = ()
    test_probs: tuple[NDArray[np.float16], ...] = ()
    unjudged: tuple[tuple[str, str], ...] = ()

    @property
    def best_trained(self) -> int | None:
        """The number of the best member that is no file from outside."""
        return next((number for number, member in enumerate(self.members) if not member.imported), None)


@dataclass(frozen=True)
class CompetitionFacts:
    """What a choice needs to know of a competition.

    Attributes:
        name: Of the competition.
        metric: One of `competitions.metrics.METRICS`.
        classes: Each task, and the composed `label` -> its ordered class names.
        table: How tasks and label belong together.
        submission: The form of the file that is handed in.
        test_shares: Task -> C class shares of the test photos, of those that the competition tells.
        task_weights: Task -> its part of the competition's score, in sum 1, where that is the mean of the tasks' scores; else empty.
        one_per_group: Tasks that are the same for all photos of a group, where the rules allow to use that.
    """

    name: str
    metric: str
    classes: Mapping[str, tuple[str, ...]]
    table: Composition
    submission: SubmissionForm
    test_shares: Mapping[str, ClassShares] = field(default_factory=dict)
    one_per_group: frozenset[str] = frozenset()
    task_weights: Mapping[str, float] = field(default_factory=dict)

    def by_shares(self, task: str) -> bool:
        """Whether shares of this task are handed in, or of another that belongs to the same label: their ensembles vote by shares."""
        handed_in, whole = self.submission.by_shares, {*self.table.tasks, LABEL}
        return task in handed_in or (task in whole and not whole.isdisjoint(handed_in))


@dataclass(frozen=True)
class LabelledPhotos:
    """The labels of all N photos of the manifest.

    Attributes:
        image_ids: N ids.
        labels: Each task that is answered, and the `label` -> class numbers `int64 (N,)`, -1 for none.
        usable: `bool (N,)`: training photos that could be decoded.
    """

    image_ids: tuple[str, ...]
    labels: Mapping[str, Ints]
    usable: NDArray[np.bool_]


@dataclass(frozen=True)
class AskedPhotos:
    """The photos that are to be answered.

    Attributes:
        image_ids: All of them, in the manifest's order.
        decoded: The T of them that could be decoded, in the same order.
        groups: Their T group names.
    """

    image_ids: tuple[str, ...] = ()
    decoded: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class AllData:
    """Trials that learned from all photos, to whom members hand their votes on.

    Attributes:
        siblings: Member -> the trial with its settings; members without one are left out.
        priors: Subtask -> C class shares of all labelled photos.
    """

    siblings: Mapping[str, str]
    priors: Mapping[Subtask, ClassShares]


@dataclass(frozen=True)
class Pools:
    """What was gathered for one choice.

    Attributes:
        facts: Of the competition.
        pools: Subtask -> its members.
        labelled: The labels of all photos.
        test: The photos to be answered.
        joint: C shares of the composed classes among the photos that members learned from.
        seen: What trials see in labelled photos that they did not learn from, and in decoded test photos; no weights are put to the sides
            yet. `None` without decoded test photos.
        looks: Light, colour and sharpness of all labelled and all test photos, of too many those of some groups; `None` likewise.
        looked_at: Target -> how often trials were judged on these validation photos.
        costs: Trial -> what it costs at prediction, of all members with all views; empty unless asked for.
        all_data: Where members hand their votes on.
        twins: Whether held-out photos have nearer twins in training than test photos, where features are known.
    """

    facts: CompetitionFacts
    pools: Mapping[Subtask, Pool]
    labelled: LabelledPhotos
    test: AskedPhotos
    joint: ClassShares
    seen: tuple[Side, Side] | None = None
    looks: tuple[Side, Side] | None = None
    looked_at: Mapping[str, int] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    all_data: AllData | None = None
    twins: TwinGap | None = None

    def labels_of(self, image_ids: Sequence[str], task: str) -> Ints:
        """The labels of these photos, `int64 (n,)`, -1 for none."""
        labels = dict(zip(self.labelled.image_ids, self.labelled.labels[task].tolist(), strict=True))
        return np.array([labels[image_id] for image_id in image_ids], dtype=np.int64)
