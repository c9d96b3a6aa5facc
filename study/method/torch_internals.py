"""All uses of private parts of PyTorch in the method.

A release may change them without notice. Each has a test that fails then, and is repaired here.
"""

import platform

import torch


def multiplies_bfloat16() -> bool:
    """Return whether PyTorch multiplies bfloat16 by instructions that the CPU has for it.

    On x86 these are AVX-512 BF16 and AMX. Without them the same products take many times as long
    as in float32. Instructions that ``ONEDNN_MAX_CPU_ISA`` or ``ATEN_CPU_CAPABILITY`` switches off
    do not count.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    # On x86, oneDNN also says yes for AVX-512 alone, where it converts each number.
    has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return has_instructions and torch.backends.cpu.get_cpu_capability() == "AVX512"
