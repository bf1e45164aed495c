"""Ray itself: start one here, or join a running one; both with the token that keeps strangers out."""

import atexit
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from system.cores import usable_cores
from system.errors import UserError
from system.paths import data_root, expanded, setting
from trainables.provenance import REPOSITORY

PASSED_ON = ("PODIUM_CACHE", "PODIUM_AUTHOR", "HF_HUB_OFFLINE", "HF_HOME")
QUIET = {
    "RAY_DEDUP_LOGS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait make trials side by side 20 times slower (performance P13)
}
OBJECT_STORE_BYTES = 256 * 2**20
KNOCK_S = 5.0


@contextmanager
def ray_session(address: str | None, *, num_cpus: int | None = None) -> Iterator[None]:
    """A connected Ray for the time of the block: the one at `address`, else one of our own that ends with the block.

    Args:
        address: Of a running Ray.
        num_cpus: How many cores our own Ray hands out; all that this process may use for `None`.

    Raises:
        UserError: No Ray answers at `address`.
    """
    for name, value in {**QUIET, **_passed_on()}.items():
        os.environ.setdefault(name, value)
    if address is None:
        _own_token()
    import ray
    from ray.exceptions import RayError

    try:
        _connect(address, num_cpus)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        where = f"at {address!r}" if address else "on this machine"
        raise UserError(
            f"no Ray answers {where} ({str(error).splitlines()[0]}); start one with `ray up cluster.yaml` or "
            "`ray start --head`, and give its token by RAY_AUTH_TOKEN_PATH (docs/cluster.md)"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def at_once(cpus: float, gpus: float) -> int:
    """How many trials that need so much fit side by side on the machines of this Ray."""
    import ray

    needed = {kind: n for kind, n in (("CPU", cpus), ("GPU", gpus)) if n}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(node.get(kind, 0.0) / n) for kind, n in needed.items()) for node in nodes)


def _connect(address: str | None, num_cpus: int | None) -> None:
    import ray

    environment = {"env_vars": {**QUIET, **_passed_on(), "PYTHONPATH": str(REPOSITORY)}}
    if address is not None:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=environment)
        return
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    ray.init(
        address="local",  # without it Ray joins whatever cluster was started on this machine, a team-mate's too
        num_cpus=usable_cores().n if num_cpus is None else num_cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE_BYTES,
        _metrics_export_port=None,
    )


def _passed_on() -> dict[str, str]:
    """The settings a worker needs, from the environment or `.env`, folders made absolute: workers run in a folder of Ray's own."""
    settings = {name: value for name in PASSED_ON if (value := setting(name))}
    folders = {name: str(expanded(settings[name]).absolute()) for name in ("PODIUM_CACHE",) if name in settings}
    return {**settings, **folders, "PODIUM_DATA": str(data_root())}


def _knock(address: str) -> None:
    """Try the address by TCP: where nobody listens, Ray itself tries for more than two minutes (measured on 2.60)."""
    from ray._private.services import canonicalize_bootstrap_address_or_die  # what knows where "auto" is

    host, _, port = canonicalize_bootstrap_address_or_die(address).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    except OSError as error:
        raise ConnectionError(f"{host}:{port}: {error.strerror or error}") from error


@lru_cache(1)
def _own_token() -> None:
    """A token for this process's own Ray, readable by nobody else; Ray's default stays in the home folder, readable by all.

    It has to be there before ray is imported, which reads mode and token once per process (measured on 2.60).
    """
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH") or os.environ.get("RAY_AUTH_MODE"):
        return
    folder = tempfile.mkdtemp(prefix="podium-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "token"
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(path))
