from __future__ import annotations

import pytest
import torch

from lora_magic.base import device as devices
from lora_magic.base.device import choose_device, choose_dtype
from lora_magic.errors import BaseModelError

CPU = torch.device("cpu")
CUDA = torch.device("cuda:0")


def test_a_small_base_on_a_cpu_is_float32_and_a_large_one_stays_as_stored() -> None:
    assert choose_dtype(None, CPU, torch.bfloat16, 10**6)[0] is torch.float32
    assert choose_dtype(None, CPU, torch.bfloat16, 7 * 10**9)[0] is torch.bfloat16
    assert choose_dtype(None, CPU, torch.float16, 7 * 10**9)[0] is torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_bfloat16_only_where_the_gpu_has_it_in_hardware(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    # A T4 says yes here, by emulation: the answer must not count.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    found, reason = choose_dtype(None, CUDA, torch.bfloat16, 10**6)
    assert found is dtype
    assert "bfloat16" in reason


def test_what_is_asked_for_is_given() -> None:
    assert choose_dtype("bf16", CPU, torch.float32, 10)[0] is torch.bfloat16
    assert choose_device("cpu") == CPU


def test_an_unknown_format_or_device_names_the_ones_there_are() -> None:
    with pytest.raises(BaseModelError, match=r"bfloat17.*Did you mean 'bfloat16'"):
        choose_dtype("bfloat17", CPU, torch.float32, 10)
    with pytest.raises(BaseModelError, match="expected cpu"):
        choose_device("gpux")


def test_a_gpu_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BaseModelError, match="--device cpu"):
        choose_device("cuda")
    monkeypatch.setattr(devices, "_mps", lambda: False)
    with pytest.raises(BaseModelError, match="not available"):
        choose_device("mps")
