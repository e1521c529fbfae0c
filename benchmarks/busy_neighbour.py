"""Rate of training on a CPU, alone and next to a process that keeps one core busy.

    python benchmarks/busy_neighbour.py
    python benchmarks/busy_neighbour.py --rounds 3 --seconds 1 --output busy_neighbour.json

Each side is a process that trains the same small T5 by the package's steps, only when it is asked to. The sides run in
turn, first alone, then next to a loop that never sleeps, which is bound to one core. "plain" is the earlier way: OpenMP
decides how threads wait for each other, with one thread and with as many as PyTorch chooses. "now" starts like the
commands (core/threads.py). All rates of a round are divided by the best that "plain" reaches alone in that round.
OMP_NUM_THREADS and the like should not be set. Binding needs Linux; elsewhere the system moves the loop around.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import measuring

HERE = Path(__file__).parent
# Starts of the two kinds of process: the second as scripts/ do.
PLAIN = "import busy_neighbour; busy_neighbour.run()"
NOW = "from close_transfer.core.startup import start; start('busy_neighbour')"
BUSY = "import os\nif hasattr(os, 'sched_setaffinity'):\n    os.sched_setaffinity(0, {%d})\nwhile True: pass"
ALL_THREADS = 0  # as many as PyTorch chooses
BATCH_SIZE = 128
SIDES = {"plain, 1 thread": (PLAIN, 1), "plain, all threads": (PLAIN, ALL_THREADS), "now": (NOW, ALL_THREADS)}


def run() -> None:
    """Train for as many seconds as each line of standard input says, and print examples per second, in a process."""
    import torch
    from training_step import build_examples, build_network

    from close_transfer.cli import compose_config
    from close_transfer.config.train import TrainConfig
    from close_transfer.training.accelerator import build_accelerator, build_optimizer
    from close_transfer.training.batch_order import iterate_batches
    from close_transfer.training.step_runner import StepRunner
    from close_transfer.training.transfer_objective import TransferObjective

    threads = torch.get_num_threads()
    config = compose_config("train", TrainConfig, ["device=cpu", f"train.batch_size={BATCH_SIZE}"])
    accelerator = build_accelerator("cpu", config.train.precision)
    examples, _, _ = build_examples()
    torch.manual_seed(0)  # for the initial weights: all sides do the same work
    network = build_network(config)
    optimizer = build_optimizer(network, config.train.learning_rate, 0.0, accelerator.device, uses_graphs=False)
    model, wrapped = accelerator.prepare(network, optimizer)
    objective = TransferObjective(examples, examples, "text", config.train, seed=0)
    runner = StepRunner(model, wrapped.optimizer, accelerator, objective, config.train)
    steps = enumerate(iterate_batches(examples.compute_lengths(), BATCH_SIZE, 0, 0, num_steps=10**9))

    def train_one() -> int:
        step, rows = next(steps)
        runner.run(step, rows, config.train.learning_rate)
        return len(rows)

    print("ready", flush=True)
    for line in sys.stdin:
        num_threads, seconds = line.split()
        torch.set_num_threads(int(num_threads) or threads)
        train_one()  # starts the threads
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < float(seconds):
            count += train_one()
        print(count / (time.perf_counter() - began), flush=True)


@contextmanager
def start_trainer(code: str) -> Iterator[subprocess.Popen]:
    """Start a process that trains on request, and wait until it is ready."""
    path = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            sys.exit(f"the process of `{code}` did not start. Run it by hand in benchmarks/")
        yield process
    finally:
        process.kill()
        process.wait()


def measure_rate(process: subprocess.Popen, num_threads: int, seconds: float) -> float:
    """Let a process train, and return its examples per second."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{num_threads} {seconds}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


@contextmanager
def run_neighbour() -> Iterator[None]:
    """Keep one core busy within the block: the last one that this process may use."""
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    process = subprocess.Popen([sys.executable, "-c", BUSY % core])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of training of each side, alone and not")
    parser.add_argument(
        "--output", type=Path, default=measuring.RESULTS / "busy_neighbour.json", help="JSON file to write"
    )
    arguments = parser.parse_args()

    rounds = []
    with start_trainer(PLAIN) as plain, start_trainer(NOW) as now:
        processes = {PLAIN: plain, NOW: now}

        def measure_all() -> dict[str, float]:
            return {
                side: measure_rate(processes[code], num_threads, arguments.seconds)
                for side, (code, num_threads) in SIDES.items()
            }

        for _ in range(arguments.rounds):
            alone = measure_all()
            with run_neighbour():
                beside = measure_all()
            best = max(rate for side, rate in alone.items() if side != "now")
            rounds.append(
                {f"{side}, alone, examples/s": rate for side, rate in alone.items()}
                | {f"{side}, next to it, examples/s": rate for side, rate in beside.items()}
                | {f"{side}, alone, share": rate / best for side, rate in alone.items()}
                | {f"{side}, next to it, share": rate / best for side, rate in beside.items()}
            )
    summary = measuring.summarize(rounds)
    print(f"small T5, batch {BATCH_SIZE}, on {measuring.name_device('cpu')}; {len(rounds)} rounds")
    print("share: of the best plain rate alone")
    measuring.print_summary(summary)
    machine = measuring.describe_machine("cpu")
    result = {"benchmark": "busy_neighbour", "machine": machine, "summary": summary, "rounds": rounds}
    measuring.write_result(arguments.output, result)


if __name__ == "__main__":
    main()
