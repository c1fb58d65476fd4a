"""Where to compute and in which type: chosen with a reason, or as asked and checked."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from edgetune.errors import RecipeError, ResourceError

#: Fastest first.
DEVICES = ("cuda", "xpu", "mps", "cpu")


@dataclass(frozen=True)
class Choice:
    """An automatic choice and why it was made."""

    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.value} ({self.reason})"


def choose_device(wanted: str) -> Choice:
    """The device to train on.

    Raises:
        ResourceError: the device asked for is not on this machine.
    """
    present = [name for name in DEVICES if _is_present(name)]
    if wanted != "auto":
        if wanted not in present:
            raise ResourceError(
                f"no {wanted} device on this machine; present: {', '.join(present)}",
                hint="set train.device: auto, or install a torch build that supports it",
            )
        return Choice(wanted, "as asked")
    missing = [name for name in DEVICES[: DEVICES.index(present[0])] if name != present[0]]
    reason = f"no {' or '.join(missing)} found" if missing else "the fastest present"
    return Choice(present[0], reason)


def _is_present(name: str) -> bool:
    import torch

    if name == "cuda":
        return torch.cuda.is_available()
    if name == "xpu":
        return hasattr(torch, "xpu") and torch.xpu.is_available()
    if name == "mps":
        return torch.backends.mps.is_available()
    return True


def choose_dtype(wanted: str, device: str) -> Choice:
    """The compute type on a device: ``float32`` or ``bfloat16``.

    Raises:
        RecipeError: bfloat16 asked for where it is emulated and many times slower.
    """
    native, reason = _bfloat16(device)
    if wanted == "auto":
        return Choice("bfloat16" if native else "float32", reason)
    if wanted == "bfloat16" and not native and device != "cpu":
        raise RecipeError(f"train.dtype is bfloat16, but {reason}", hint="set train.dtype: auto")
    return Choice(wanted, "as asked" if wanted == "float32" or native else f"as asked, although {reason}")


def _bfloat16(device: str) -> tuple[bool, str]:
    import torch

    if device == "cuda":
        native = torch.cuda.get_device_capability()[0] >= 8
        name = torch.cuda.get_device_name()
        return native, f"{name} {'multiplies' if native else 'does not multiply'} bfloat16 natively"
    if device == "cpu":
        native = _cpu_has_bfloat16()
        return native, f"this CPU {'has' if native else 'has no'} bfloat16 instructions"
    return device == "xpu", f"{device} {'multiplies bfloat16 natively' if device == 'xpu' else 'is safest in float32'}"


def _cpu_has_bfloat16() -> bool:
    if platform.system() != "Linux":
        return False
    from edgetune.machine import this_machine

    return bool({"AVX-512 BF16", "AMX BF16", "NEON BF16"} & set(this_machine().features))
