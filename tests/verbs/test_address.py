"""A search on a Ray that runs already, behind its token; and addresses where none answers."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.verbs.conftest import Desk, eventually


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class RayHead:
    """A Ray head of our own and a user's place beside it."""

    desk: Desk
    address: str
    token: Path


@pytest.fixture(scope="module")
def head(new_desk: Callable[[], Desk]) -> Iterator[RayHead]:
    desk = new_desk()
    token = desk.root / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    port = free_port()
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port", str(port)]
    command += ["--num-cpus", "2", "--include-dashboard=false", "--temp-dir", str(desk.root / "h")]
    environment = {**desk.environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    child = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=desk.root
    )
    try:
        eventually(lambda: _answers(port), what="the head's start", timeout=60)
        yield RayHead(desk, f"127.0.0.1:{port}", token)
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.long
@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "nowhere.invalid:6379", "6379", "auto"])
def test_an_address_where_no_ray_answers_is_refused_soon_and_leaves_no_study(address: str, desk: Desk) -> None:
    if address == "auto" and _gcs_here():
        pytest.skip("a Ray head of somebody else runs on this machine; auto would find it")
    began = time.monotonic()
    there = address.format(port=free_port())
    done = desk.run("run_search.py", desk.yaml, "--space", "smoke", "--address", there, "--json", code=2, timeout=60)
    assert time.monotonic() - began < 40  # most of it imports torch and ray
    assert f"no Ray answers at {there!r}" in done.err
    assert "ray start --head" in done.err
    assert "Traceback" not in done.err
    assert (done.out, list((desk.kept / "studies").iterdir())) == ("", [])


@pytest.mark.long
def test_a_search_runs_on_a_ray_that_is_there_with_its_token(head: RayHead) -> None:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(head.token)}
    search = ("--space", "smoke", "--trials", 1, "--targets", "shape", "--scheduler", "fifo", "--address", head.address, "--json")
    said = head.desk.run("run_search.py", head.desk.yaml, *search, **token).json
    assert said["targets"]["shape"]["trials"] == {"finished": 1}
    again = ("--resume", said["study"], "--trials", 2, "--address", head.address, "--json")
    assert head.desk.run("run_search.py", head.desk.yaml, *again, **token).json["targets"]["shape"]["trials"] == {"finished": 2}


@pytest.mark.long
@pytest.mark.parametrize("token", ["", "0" * 64])
def test_without_its_token_a_ray_does_not_answer(token: str, head: RayHead) -> None:
    given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {}
    search = ("--space", "smoke", "--trials", 1, "--address", head.address, "--study", "stranger")
    done = head.desk.run("run_search.py", head.desk.yaml, *search, code=2, **given)
    assert f"no Ray answers at '{head.address}'" in done.err
    assert "RAY_AUTH_TOKEN_PATH" in done.err
    assert "Traceback" not in done.err
    assert not (head.desk.kept / "studies/stranger").exists()


def _gcs_here() -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"gcs_server" in path.read_bytes():
                return True
        except OSError:
            continue
    return False
