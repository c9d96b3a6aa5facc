"""Private parts of PyTorch that the method uses; a release that moves them fails here."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from study.method.torch_internals import multiplies_bfloat16
from tests.case_tables import from_table

ON_X86 = platform.machine() in ("x86_64", "AMD64")
ASK = "from study.method.torch_internals import multiplies_bfloat16; print(multiplies_bfloat16())"


def test_every_cpu_is_asked_without_an_error():
    assert multiplies_bfloat16() in (True, False)


@pytest.mark.skipif(not ON_X86, reason="the variables name instructions of x86")
@from_table
def test_instructions_that_are_switched_off_do_not_count(variable: str, value: str):
    """Whether they are there is asked once a process, so another one is asked."""
    asked = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**os.environ, variable: value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout == "False\n", asked.stderr


@pytest.mark.skipif(not ON_X86, reason="the names of the instructions are those of x86")
@from_table
def test_wide_registers_and_instructions_for_bfloat16_are_both_needed(
    wide: bool, bfloat16: bool, amx: bool, multiplies: bool, monkeypatch: pytest.MonkeyPatch
):
    capability = "AVX512" if wide else "AVX2"
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: bfloat16)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    assert multiplies_bfloat16() is multiplies


def test_a_pytorch_without_onednn_converts_each_number(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    assert not multiplies_bfloat16()
