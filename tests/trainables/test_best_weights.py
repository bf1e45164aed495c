"""Damaged best weights come back to the same bytes where a checkpoint holds their epoch, and are never used where none does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from competitions.prepare import Prepared
from ledger.trials import TrialFolder
from system.errors import UserError
from trainables.attach import complete_trial, is_complete
from trainables.best_weights import best_is_whole
from trainables.config import TrialConfig
from trainables.training import TrialContext, run_trial

Configure = Callable[..., TrialConfig]
Attach = Callable[..., TrialContext]


def trained(configure: Configure, attached: Attach, *, best_is_last: bool, **settings: Any) -> TrialFolder:
    """A trial of the first few seeds whose last epoch is its best one, or is not."""
    for seed in range(8):
        config = configure(epochs=2, lr=3e-3 if best_is_last else 0.5, seed=seed, **settings)
        record = run_trial(config, attached(config))
        if not record.diverged and (record.best_epoch == record.epochs_done) == best_is_last:
            return attached(config).folder
    pytest.fail("no seed gives such a trial")


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("left", [None, 0, 5000])
def test_best_weights_are_made_again_from_the_checkpoint_of_their_epoch(
    ema_decay: float, left: int | None, tiny: Prepared, configure: Configure, attached: Attach, tmp_path: Path
) -> None:
    folder = trained(configure, attached, best_is_last=True, ema_decay=ema_decay)
    whole = folder.best.read_bytes()
    folder.best.unlink() if left is None else folder.best.write_bytes(whole[:left])
    complete_trial(tiny, folder, ["identity", "hflip"])
    assert is_complete(tiny, folder, ["identity", "hflip"])
    assert folder.best.read_bytes() == whole
    moved = list((tmp_path / "quarantine").rglob("best.safetensors.*"))
    assert [path.read_bytes() for path in moved] == ([] if left is None else [whole[:left]])


def test_best_weights_that_no_checkpoint_holds_are_named_with_the_way_to_get_them_back(
    tiny: Prepared, configure: Configure, attached: Attach
) -> None:
    folder = trained(configure, attached, best_is_last=False)
    damaged = bytearray(folder.best.read_bytes())
    damaged[-7] ^= 1
    folder.best.write_bytes(damaged)
    assert not best_is_whole(folder)
    with pytest.raises(UserError, match=f"reproduce_trial.py .* {folder.id} --restore"):
        complete_trial(tiny, folder, ["identity", "hflip"])
    assert folder.best.read_bytes() == damaged
