"""One run of the runner on a device: started by a script of ours there, watched, and its results fetched."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgetune.devices.report import Watch
from edgetune.devices.transport import Transport, quote
from edgetune.errors import DeviceError

SCRIPT = "measure.sh"
#: POSIX shell as Android's mksh and a Raspberry Pi's dash both have it. The runner is a child whose id is known, so
#: that it can be ended from elsewhere; twice a second its memory and the clocks are looked at.
_TEXT = """cd "$(dirname "$0")" || exit 97
LD_LIBRARY_PATH=.:$LD_LIBRARY_PATH
export LD_LIBRARY_PATH
COMMAND > out.json 2> err.txt &
pid=$!
echo $pid > pid
while kill -0 $pid 2> /dev/null; do
  grep -E '^(VmHWM|RssAnon|RssFile)' /proc/$pid/status >> watch.txt 2> /dev/null
  for f in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq; do
    [ -r $f ] && echo "clock $f $(cat $f)" >> watch.txt
  done
  echo look >> watch.txt
  sleep 0.5 2> /dev/null || sleep 1
done
wait $pid
echo $? > code
"""
_FILES = ("code", "out.json", "err.txt", "watch.txt")
_MARK = "== edgetune file "
#: Exit code of the shell → what it means. {tail} is the runner's last words.
_ENDS = {
    137: (
        "the runner was killed (signal 9): the device ran out of memory, most likely",
        "edgetune fit says what needs how much; close apps there, or take a smaller model or context",
    ),
    126: ("the runner cannot be started there: {tail}", "build it for that processor, and give it with --runner"),
    127: (
        "the runner, or a library it needs, is not there: {tail}",
        "put its .so files beside it, or build it statically (-DBUILD_SHARED_LIBS=OFF)",
    ),
    132: (
        "the runner used an instruction that this processor does not have (signal 4)",
        "build it without -march=native, or with -DGGML_CPU_ALL_VARIANTS=ON -DGGML_BACKEND_DL=ON",
    ),
    139: ("the runner crashed (signal 11)", "build it again, for that processor and system"),
}


def put_script(transport: Transport, folder: str, command: Sequence[str], mask: str | None) -> None:
    """Put the script into the folder; with a mask the runner is pinned to those cores.

    Raises:
        DeviceError: the device cannot be reached.
    """
    words = quote([*(["taskset", mask] if mask else []), *command])
    with tempfile.TemporaryDirectory() as own:
        script = Path(own) / SCRIPT
        script.write_text(_TEXT.replace("COMMAND", words), encoding="utf-8")
        transport.push(script, f"{folder}/{SCRIPT}")


def run(transport: Transport, folder: str, timeout: float) -> tuple[str, Watch]:
    """Run the script.

    Args:
        transport: the device.
        folder: where script, runner and model are.
        timeout: most seconds for the whole run.

    Returns:
        What the runner printed, and what was seen meanwhile.

    Raises:
        DeviceError: the runner failed or was killed, or the device cannot be reached.
    """
    transport.run(f"sh {folder}/{SCRIPT}", timeout=timeout)
    lines = [f"echo; echo '{_MARK}{name}'; cat {folder}/{name} 2>/dev/null" for name in _FILES]
    parts = _parts(transport.run("\n".join(lines), timeout=60.0).out)
    _require_success(parts["code"].strip(), parts["err.txt"])
    return parts["out.json"], watched(parts["watch.txt"])


def _parts(text: str) -> dict[str, str]:
    found = dict.fromkeys(_FILES, "")
    for part in text.split(_MARK)[1:]:
        name, _, content = part.partition("\n")
        found[name.strip()] = content
    return found


def _require_success(code: str, errors: str) -> None:
    if code == "0":
        return
    lines = errors.strip().splitlines()
    tail = lines[-1] if lines else "it printed no reason"
    if code.isdecimal() and int(code) in _ENDS:
        problem, hint = _ENDS[int(code)]
    elif "out of memory" in errors.lower() or "failed to allocate" in errors.lower():
        problem, hint = "the runner could not get its memory: {tail}", _ENDS[137][1]
    else:
        problem, hint = "the runner failed (exit code {code}): {tail}", "is it llama-bench of April 2025 or newer?"
    raise DeviceError(problem.format(tail=tail, code=code or "unknown"), hint=hint, problems=lines[-5:])


def watched(text: str) -> Watch:
    """What the script wrote while it looked. The kernel keeps the peak itself; the other two are the largest seen."""
    sizes: dict[str, int] = {}
    looks: list[dict[int, int]] = []
    clocks: dict[int, int] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"(VmHWM|RssAnon|RssFile):\s+(\d+) kB", line.strip()):
            sizes[match[1]] = max(sizes.get(match[1], 0), int(match[2]) * 1024)
        elif match := re.fullmatch(r"clock \S*/cpu(\d+)/\S+ (\d+)", line.strip()):
            clocks[int(match[1])] = int(match[2])
        elif line.strip() == "look" and clocks:
            looks.append(clocks)
            clocks = {}
    return Watch(
        peak_rss=sizes.get("VmHWM"),
        anonymous=sizes.get("RssAnon"),
        file_backed=sizes.get("RssFile"),
        clocks_khz=tuple(looks),
    )
