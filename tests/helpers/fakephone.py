"""A phone that is not there: an ``adb`` on PATH that runs what it is told in a sandbox, or fails as asked.

Commands run in the real ``sh``, so the scripts sent to a device are tested as they are; the device's own tools
(getprop, dumpsys, taskset, df) answer with what real ones print, and its paths lie below a folder of the test.
"""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

#: What the tools of a Galaxy-like phone print; shortened where nothing is read.
GETPROP = {
    "ro.soc.model": "SM8450",
    "ro.board.platform": "taro",
    "ro.product.model": "SM-S901B",
    "ro.build.version.release": "14",
}
THERMAL = """IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 4
\tkilled: false
\tbroadcasts count: -1
ThermalStatusListeners:
\tcallbacks: 5
\tkilled: false
\tbroadcasts count: -1
Thermal Status: {status}
Cached temperatures:
\tTemperature{{mValue=41.2, mType=3, mName=SKIN, mStatus=0}}
\tTemperature{{mValue=34.0, mType=2, mName=BAT, mStatus=0}}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Dock powered: false
  Max charging current: 500000
  Charge counter: 2905000
  status: 2
  health: 2
  present: true
  level: {level}
  scale: 100
  voltage: 4263
  temperature: 312
  technology: Li-ion
"""
MEMINFO = "MemTotal:        7542412 kB\nMemFree:          312344 kB\nMemAvailable:    3112344 kB\nBuffers: 4096 kB\n"
HIGHEST = (1785600, 1785600, 1785600, 1785600, 2496000, 2496000, 2496000, 2995200)
SERIAL = "R5CT20ABCDE"


def llama_bench_rows(**changes) -> list[dict]:
    """Rows as llama-bench writes them: the fields of its source, in their order."""
    common = {
        "build_commit": "0c1e570",
        "build_number": 8123,
        "cpu_info": "CPU",
        "gpu_info": "",
        "backends": "CPU",
        "model_filename": "model.gguf",
        "model_type": "llama 135M Q8_0",
        "model_size": 143025408,
        "model_n_params": 134515008,
        "n_batch": 2048,
        "n_ubatch": 512,
        "n_threads": 4,
        "cpu_mask": "0x0",
        "cpu_strict": False,
        "poll": 50,
        "type_k": "f16",
        "type_v": "f16",
        "n_gpu_layers": 0,
        "split_mode": "layer",
        "main_gpu": 0,
        "no_kv_offload": False,
        "flash_attn": -1,
        "devices": "auto",
        "tensor_split": "0.00",
        "embeddings": False,
    }
    prefill = {
        "n_prompt": 128,
        "n_gen": 0,
        "n_depth": 0,
        "test_time": "2026-11-25T18:00:00Z",
        "avg_ns": 512000000,
        "stddev_ns": 2000000,
        "avg_ts": 250.0,
        "stddev_ts": 1.0,
        "samples_ns": [510000000, 512000000, 514000000],
        "samples_ts": [250.98, 250.0, 249.03],
    }
    decode = prefill | {
        "n_prompt": 0,
        "n_gen": 64,
        "avg_ns": 800000000,
        "samples_ns": [800000000, 805000000, 810000000],
        "samples_ts": [80.0, 79.5, 79.0],
    }
    return [common | prefill | changes, common | decode | changes]


RUNNER = """#!/bin/sh
echo "$@" > {log}
{body}
cat <<'END'
{rows}
END
"""


def write_runner(path: Path, log: Path, *, body: str = "sleep 0.2", rows: list[dict] | None = None) -> Path:
    """A llama-bench that notes its options and prints what one prints."""
    text = json.dumps(llama_bench_rows() if rows is None else rows, indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RUNNER.format(log=log, body=body, rows=text))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class FakePhone:
    """The phone and its ``adb``. Change an attribute and call :meth:`save` to make it fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "phone"
        self.tmp = self.root / "data" / "local" / "tmp"
        self.tmp.mkdir(parents=True)
        self.log = folder / "adb.log"
        self.state = {
            "devices": [[SERIAL, "device"]],
            "thermal": [0, 0],
            "level": 83,
            "free_kb": 50_000_000,
            "push_fails": "",
            "dies_at": "",
            "hangs_at": "",
            "old": False,
        }
        self._write_kernel()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self._script("adb", _ADB)
        self.save()

    def save(self, **changes) -> None:
        """Let the tools see the state, changed as given."""
        self.state |= changes
        (self.folder / "state.json").write_text(json.dumps(self.state))

    def leftovers(self) -> list[str]:
        """What lies in the phone's temporary folder."""
        return sorted(path.name for path in self.tmp.iterdir())

    def calls(self) -> list[str]:
        """The words of every call of adb."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def _write_kernel(self) -> None:
        for core, clock in enumerate(HIGHEST):
            cpufreq = self.root / f"sys/devices/system/cpu/cpu{core}/cpufreq"
            cpufreq.mkdir(parents=True)
            (cpufreq / "cpuinfo_max_freq").write_text(f"{clock}\n")
            (cpufreq / "scaling_cur_freq").write_text(f"{clock}\n")
            (cpufreq / "scaling_governor").write_text("walt\n")
        (self.root / "proc").mkdir()
        (self.root / "proc/meminfo").write_text(MEMINFO)
        (self.root / "proc/cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16\n")

    def _script(self, name: str, text: str) -> None:
        file = self.bin / name
        file.write_text(f"#!{sys.executable} -SE\nFOLDER = {str(self.folder)!r}\n{text}")
        file.chmod(0o755)


_ADB = r'''
import json, os, pathlib, shutil, subprocess, sys, time

folder = pathlib.Path(FOLDER)
root = folder / "phone"
state = json.loads((folder / "state.json").read_text())
words = sys.argv[1:]
with (folder / "adb.log").open("a") as log:
    log.write(" ".join(words).replace("\n", " ; ") + "\n")


def lose():
    print(f"error: device '{words[1]}' not found", file=sys.stderr)
    sys.exit(1)


if words == ["devices"]:
    print("* daemon not running; starting now at tcp:5037\n* daemon started successfully", file=sys.stderr)
    print("List of devices attached")
    for serial, how in state["devices"]:
        print(f"{serial}\t{how}")
    print()
    sys.exit(0)

assert words[0] == "-s", words
serial, verb, rest = words[1], words[2], words[3:]
if [serial, "device"] not in state["devices"] or (folder / "unplugged").exists():
    lose()
text = " ".join(rest)
if verb == "shell" and state["hangs_at"] and state["hangs_at"] in text:
    time.sleep(60)
if state["dies_at"] and state["dies_at"] in text and not (verb == "push" and state["dies_at"] == "measure.sh"):
    (folder / "unplugged").touch()
    lose()


def local(text):
    """The phone's paths below the sandbox."""
    for path in ("/data/local/tmp", "/sys/devices", "/proc/meminfo", "/proc/cpuinfo", "/sys/class"):
        text = text.replace(path, str(root) + path)
    return text


if verb == "push":
    if state["push_fails"]:
        print(f"adb: error: failed to copy '{rest[0]}' to '{rest[1]}': remote {state['push_fails']}", file=sys.stderr)
        sys.exit(1)
    target = pathlib.Path(local(rest[1]))
    shutil.copyfile(rest[0], target)
    if target.suffix == ".sh":
        target.write_text(local(target.read_text()))
    print(f"{rest[0]}: 1 file pushed, 0 skipped. 37.2 MB/s (144811456 bytes in 3.712s)")
    sys.exit(0)

assert verb == "shell", words
probes = folder / "probes"
count = int(probes.read_text()) if probes.exists() else 0
if "dumpsys thermalservice" in text:
    probes.write_text(str(count + 1))
sys.path.insert(0, os.environ["FAKEPHONE"])
import fakephone

tools = folder / "tools"
tools.mkdir(exist_ok=True)


def tool(name, body):
    file = tools / name
    file.write_text("#!/bin/sh\n" + body)
    file.chmod(0o755)


tool("getprop", "case $1 in " + " ".join(f"{k}) echo {v};;" for k, v in fakephone.GETPROP.items()) + " esac\n")
status = state["thermal"][min(count, 1)]
thermal, battery = fakephone.THERMAL.format(status=status), fakephone.BATTERY.format(level=state["level"])
(folder / "thermal.txt").write_text(thermal)
(folder / "battery.txt").write_text(battery)
tool("dumpsys", f"case $1 in thermalservice) cat {folder}/thermal.txt;; battery) cat {folder}/battery.txt;; esac\n")
tool("taskset", f"echo $1 > {folder}/mask; shift; exec \"$@\"\n")
row = f"/dev/block/dm-52 110000000 60000000 {state['free_kb']} 55% /data"
tool("df", f"echo 'Filesystem 1K-blocks Used Available Use% Mounted on'; echo {row}\n")
tool("vcgencmd", "exit 127\n")
environment = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(root)}
done = subprocess.run(["sh", "-c", local(text)], capture_output=True, text=True, env=environment)
if (folder / "unplugged").exists():
    lose()
end = "\r\n" if state["old"] else "\n"
sys.stdout.write(done.stdout.replace(str(root), "").replace("\n", end))
sys.stderr.write(done.stderr)
sys.exit(0 if state["old"] else done.returncode)
'''
