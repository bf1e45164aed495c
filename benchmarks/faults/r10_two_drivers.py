"""R10: two drivers at once on one storage.

Two studies draw from one small space with one seed, each with a Ray of its own, so that they ask for the same configurations at the
same time: each must be trained once, and both must have its score. Meanwhile a second driver of one of them is refused.
"""

from benchmarks.faults.harness import short_form, truth
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import TARGET, Child, Place, document, eventually, place
from benchmarks.faults.harness.two_drivers import once_row, refused_row, second

SPACE = """
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 12, 2, 2
def suggest(trial):
    return {
        "backbone": "test_byobnet",
        "epochs": MAX_EPOCHS,
        "batch_size": 16,
        "lr": trial.suggest_categorical("lr", [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]),
        "augmentation": "none",
    }
"""
TWO_STUDIES = ("a", "b")


def run(seed: int, short: bool) -> list[RuleRow]:
    """Both in one launch, with successive halving and the control."""
    if short:
        return [short_form.refused(seed), short_form.once(seed)]
    trials = 4
    with place() as where:
        where.space("few", SPACE)
        drivers = {name: _start(where, name, trials, seed) for name in TWO_STUDIES}
        first = drivers["a"]
        eventually(lambda: (where.kept / "studies/a/plan.json").exists(), "the plan of a", child=first)
        refused = [second(where, "a", first) for _ in range(5)]
        for driver in drivers.values():
            driver.wait()
        control = _control(seed)
        return [refused_row(refused, control=control[0]), once_row(where, TWO_STUDIES, trials, control=control[1])]


def _start(where: Place, name: str, trials: int, seed: int) -> Child:
    asked = ("--space", "few", "--targets", TARGET, "--trials", trials, "--seed", seed, "--scheduler", "asha", "--json")
    return where.start("run_search.py", where.yaml, *asked, "--study", name)


def _control(seed: int) -> tuple[str, str]:
    """Bare Ray Tune: the same command twice, the second while the first runs, as after a connection that only seemed to be lost."""
    with place() as where:
        asked = ("--trials", 4, "--epochs", 60, "--seed", seed, "--scheduler", "fifo")  # so long that the second meets the first
        first = where.control(*asked)
        eventually(lambda: len(truth.begun(where.truth())) >= 3, "the third epoch of the control", child=first)
        second = where.control(*asked)
        codes = []
        for child in (first, second):
            child.wait(code=None)
            codes.append(child.process.returncode)
        lines = where.truth()
        ends = [line for line in lines if line.at == "end" and line.last]
        told = [len(document(child.out.read_text())["results"]) for child in (first, second) if child.process.returncode == 0]
        refused = "not refused" if codes[1] == 0 else f"exit {codes[1]}"
        begun = [(line.trial, line.epoch) for line in lines if line.at == "begin"]
        repeated = len(begun) - len(set(begun))
        return refused, f"{len(ends)} trained to their end for 4 asked, {repeated} epochs repeated, results tell of {told} trials"
