"""Which weights llama.cpp keeps a second copy of, rearranged for the instructions of a processor.

Source: ``ggml_repack_get_optimal_repack_type`` in ggml-cpu/repack.cpp, as in llama-cpp-python 0.3.36. The copy is made
while the file is loaded and stays. The file's own pages are not read again, so the system can take them back, but until
it does both count.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.devices.device import DeviceClass
from edgetune.machine import this_machine

#: Ids of ggml's types that some processor has an arrangement for.
TYPES = {2: "q4_0", 8: "q8_0", 10: "q2_k", 12: "q4_k", 13: "q5_k", 14: "q6_k", 20: "iq4_nl", 39: "mxfp4"}
#: A matrix is rearranged by groups of rows, and only if none are left over. Arm makes do with 4 for some types.
ROWS = 8

NOTHING: frozenset[str] = frozenset()
AVX2 = frozenset({"q4_0", "q4_k", "iq4_nl", "mxfp4"})
AVX512 = AVX2 | {"q2_k"}
DOTPROD = AVX2 | {"q8_0", "q5_k", "q6_k"}
#: An iPhone's weights go to its GPU, as they are; an Arm core without dot products has no arrangement.
_OF_A_CLASS: dict[DeviceClass, frozenset[str]] = {
    "a72-no-dotprod": NOTHING,
    "a76-dotprod": DOTPROD,
    "a78-dotprod": DOTPROD,
    "x1c-dotprod": DOTPROD,
    "a720-many-core": DOTPROD,
    "arm-i8mm": DOTPROD,
    "x86-avx2": AVX2,
    "npu-hexagon": DOTPROD,
    "gpu-apple": NOTHING,
}


def kinds_of_class(device_class: DeviceClass) -> frozenset[str]:
    """Types that devices of a class rearrange."""
    return _OF_A_CLASS[device_class]


def kinds_of_features(features: Sequence[str]) -> frozenset[str]:
    """Types that a processor rearranges, by the names that :class:`~edgetune.machine.Machine` gives its features.

    >>> sorted(kinds_of_features(["AVX2"]) - kinds_of_features([]))
    ['iq4_nl', 'mxfp4', 'q4_0', 'q4_k']
    """
    if "NEON dot product" in features:
        return DOTPROD
    if "AVX2" in features:
        return AVX512 if "AVX-512" in features else AVX2
    return NOTHING


def kinds_here() -> frozenset[str]:
    """Types that the processor of this machine rearranges."""
    return kinds_of_features(this_machine().features)
