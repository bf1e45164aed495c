"""Devices by name: those that are there pass, all others are refused with what there is."""

import pytest
import torch

from trainables.devices import device_faults, devices


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
