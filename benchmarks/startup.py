"""CPU and wall seconds of `--help`, of a misspelt setting, and from the start of a training to its first step.

    python benchmarks/startup.py
    python benchmarks/startup.py baseline=PATH rounds=5 tasks=NAME,NAME output=startup.json

`baseline` is the folder of another checkout, whose commands run in turn with this one's. Each command is a process on one
thread. Training uses cached vectors, which an unmeasured round makes. Its first step has ended when the log of the run
has a line. Prints medians with their ranges, and the ratio of both sides, and writes all rounds as JSON.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import RESULTS, describe_machine, write_result

from close_transfer.core.console import show

HERE = Path(__file__).parents[1]
# Commands whose help and settings differ most; all commands load the same modules.
HELPED = ("train_text_only", "eval_image", "predict", "synthesize_captions", "run_study")
ONE_STEP = ("noise=0.1", "train.max_steps=1", "train.num_validations=1", "device=cpu")
DEFAULT_TASK = "default"  # the task that training has without `task=`

Seconds = dict[str, float]


def _read_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _read_process_seconds(process: int) -> float | None:
    """Return the CPU seconds of a running process, None if the system does not say."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _start(side: Path, cache: Path, script: str, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(side), "CLOSE_TRANSFER_CACHE": str(cache)}
    command = [sys.executable, str(side / "scripts" / f"{script}.py"), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure_command(side: Path, cache: Path, status: int, *command: str) -> Seconds:
    """Run a command to its end, which must have this exit status, and return its seconds."""
    used, began = _read_cpu_seconds(), time.perf_counter()
    found = _start(side, cache, *command).wait()
    if found != status:
        sys.exit(f"{' '.join(command)}: ended with status {found} instead of {status}. Run it by hand")
    return {"wall": time.perf_counter() - began, "cpu": _read_cpu_seconds() - used}


def measure_first_step(side: Path, cache: Path, folder: Path, *command: str) -> Seconds:
    """Train one step, and return the seconds until its line is in the log."""
    began = time.perf_counter()
    process = _start(side, cache, *command, f"output={folder}", f"runs={folder.parent}")
    log, seconds = folder / "training.jsonl", Seconds()
    while process.poll() is None:
        if not seconds and log.is_file() and log.stat().st_size:
            seconds = {"wall": time.perf_counter() - began}
            if (used := _read_process_seconds(process.pid)) is not None:
                seconds["cpu"] = used
        time.sleep(0.01)
    if process.returncode or not seconds:
        sys.exit(f"{' '.join(command)}: did not reach its first step. Run it by hand")
    return seconds


def measure_trainings(side: Path, cache: Path, folder: Path, tasks: Sequence[str]) -> dict[str, Seconds]:
    """Measure the way to the first step of each task once."""
    commands = {name: [f"task={name}"] if name != DEFAULT_TASK else [] for name in tasks}
    return {
        f"first step, {name} task": measure_first_step(side, cache, folder / name, "train_text_only", *ONE_STEP, *added)
        for name, added in commands.items()
    }


def measure_commands(side: Path, cache: Path) -> dict[str, Seconds]:
    """Measure help and a misspelt setting of each command once."""
    seconds = {f"{script} --help": measure_command(side, cache, 0, script, "--help") for script in HELPED}
    seconds |= {f"{script} sede=1": measure_command(side, cache, 2, script, "sede=1") for script in HELPED}
    return seconds


def describe_spread(values: Sequence[float]) -> str:
    """Return the median and the range, "" without values."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else ""


def print_medians(rounds: Mapping[str, list[dict[str, Seconds]]]) -> None:
    """Print a row per command, with medians and ranges of each side, and of the ratios of CPU seconds of two sides."""
    ratio_head = " CPU, now / before |" if len(rounds) == 2 else ""
    show("| command |" + "".join(f" {side}: CPU s | wall s |" for side in rounds) + ratio_head)
    show("|---|" + "---|---|" * len(rounds) + "---|" * bool(ratio_head))
    for name in next(iter(rounds.values()))[0]:
        columns = [
            [one[name][kind] for one in measured if kind in one[name]]
            for measured in rounds.values()
            for kind in ("cpu", "wall")
        ]
        if ratio_head:
            before, _, now, _ = columns
            columns.append([own / other for other, own in zip(before, now, strict=False)])
        show(f"| {name} | {' | '.join(map(describe_spread, columns))} |")


def main() -> None:
    settings = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    sides = {"before": Path(settings["baseline"]).resolve()} if "baseline" in settings else {}
    sides["now"] = HERE
    tasks = settings.get("tasks", DEFAULT_TASK).split(",")
    rounds: dict[str, list[dict[str, Seconds]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(int(settings.get("rounds", "3")) + 1):
            for side, checkout in sides.items():
                cache, folder = Path(temporary) / side, Path(temporary) / f"{side}{number}"
                measured = measure_trainings(checkout, cache, folder, tasks)
                if number:  # the first round fills the cache
                    rounds[side].append(measure_commands(checkout, cache) | measured)
    print_medians(rounds)
    output = Path(settings.get("output", RESULTS / "startup.json"))
    write_result(output, {"benchmark": "startup", "machine": describe_machine("cpu"), "rounds": rounds})


if __name__ == "__main__":
    main()
