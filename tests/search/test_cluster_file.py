"""`cluster.yaml` is checked the way `ray up` checks it, offline, and for what must never stand in it."""

import getpass
import ipaddress
import platform
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "cluster.yaml"


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text()))


@pytest.fixture(scope="module")
def prepared(written: dict[str, Any]) -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(written)
    validate_config(config)
    return dict(config)


def starts(config: dict[str, Any], kind: str) -> list[str]:
    return [command for command in config[f"{kind}_start_ray_commands"] if "ray start" in command]


def test_ray_accepts_it_and_plans_every_worker(prepared: dict[str, Any], written: dict[str, Any]) -> None:
    node = prepared["available_node_types"][prepared["head_node_type"]]
    assert node["min_workers"] == node["max_workers"] == len(written["provider"]["worker_ips"])


def test_ray_refuses_it_with_an_unknown_key(written: dict[str, Any]) -> None:
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(jsonschema.ValidationError, match="start_commands"):
        validate_config(prepare_config({**written, "start_commands": []}))


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_nodes_start_with_the_token_and_a_small_object_store(prepared: dict[str, Any], kind: str) -> None:
    (start,) = starts(prepared, kind)
    exported, _, command = start.partition(";")
    assert {"RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN_PATH=~/.podium/ray_token"} <= set(exported.split())
    found = re.search(r"--object-store-memory=(\d+)", command)
    assert found is not None
    assert int(found[1]) <= 2**30


def test_the_token_is_mounted_by_the_user_and_closed_to_others(prepared: dict[str, Any]) -> None:
    assert prepared["file_mounts"]["~/.podium/ray_token"] == "~/.podium/ray_token"
    assert prepared["setup_commands"][0] == "chmod 600 ~/.podium/ray_token"
    assert any("RAY_AUTH_MODE=token" in command and "> ~/.podium/env" in command for command in prepared["setup_commands"])


def test_the_head_uses_the_autoscaler_that_starts_local_workers_and_shows_its_dashboard_to_itself_alone(
    prepared: dict[str, Any],
) -> None:
    (start,) = starts(prepared, "head")
    assert "RAY_enable_autoscaler_v2=0" in start
    assert "--dashboard-host=127.0.0.1" in start


def test_workers_join_the_port_that_the_head_opens(prepared: dict[str, Any]) -> None:
    (head,), (worker,) = starts(prepared, "head"), starts(prepared, "worker")
    opened = re.search(r"--port=(\d+)", head)
    assert opened is not None
    assert f"--address=$RAY_HEAD_IP:{opened[1]}" in worker


def test_nothing_large_is_copied(prepared: dict[str, Any]) -> None:
    """`ray up` reads every byte of a mount, whatever rsync leaves out, so only git's folder and the token are mounted."""
    assert sorted(prepared["file_mounts"].values()) == [".git", "~/.podium/ray_token"]


def test_the_hosts_are_placeholders_that_no_one_owns(written: dict[str, Any]) -> None:
    documentation = ipaddress.ip_network("192.0.2.0/24")  # RFC 5737
    provider = written["provider"]
    assert all(ipaddress.ip_address(host) in documentation for host in [provider["head_ip"], *provider["worker_ips"]])


def test_no_secret_and_nothing_of_this_machine_stands_inside() -> None:
    text = FILE.read_text()
    assert not re.search(r"[0-9a-fA-F]{24,}|BEGIN [A-Z ]*PRIVATE KEY", text)
    for mine in (str(REPOSITORY), str(Path.home()) + "/", platform.node(), f"{getpass.getuser()}@"):
        assert mine not in text
    assert not re.search(r"/(home|Users|root|work)/", text)
