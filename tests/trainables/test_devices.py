"""Devices by name: those that are there pass, all others are refused with what there is."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainables.devices import device_faults, devices

ROOT = Path(__file__).parents[2]


def test_networks_run_on_every_device_that_is_there() -> None:
    assert devices()[0] == "cpu"
    for device in devices():
        assert not device_faults(device)
        assert torch.zeros(1, device=device).device.type == device.split(":")[0]


@pytest.mark.parametrize("device", ["tpu9", "", "CPU", "cuda:99", "cpu:0", "meta"])
def test_an_unknown_device_is_refused_with_those_there_are(device: str) -> None:
    (told,) = device_faults(device)
    assert f"({', '.join(devices())}), got {device!r}" in told


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused_and_why_is_said() -> None:
    assert device_faults("cuda") == ["device must be one of this machine, where PyTorch finds no GPU (cpu), got 'cuda'"]


FORWARD = """
import resource, sys
import timm, torch
from trainables.devices import compute_with
torch.manual_seed(0)
compute_with(1) if sys.argv[1] == "kept" else torch.set_num_threads(1)
network, images = timm.create_model("tf_efficientnet_lite0").eval(), torch.rand(64, 3, 96, 96)
with torch.inference_mode():
    network(images)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    answer = network(images)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, answer.double().sum().item().hex())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept through mallopt, which glibc has")
def test_memory_is_kept_between_batches_and_no_bit_changes() -> None:
    said = {
        way: subprocess.run([sys.executable, "-c", FORWARD, way], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for way in ("kept", "given back")
    }
    (faults, answer), (faults_before, answer_before) = said["kept"].split(), said["given back"].split()
    assert answer == answer_before
    assert int(faults) < 0.1 * int(faults_before), "each layer asks the system for memory anew"
