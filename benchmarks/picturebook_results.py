"""Makes every number of docs/results.md: trains and tests all systems, then prints the tables.

    python benchmarks/picturebook_results.py
    python benchmarks/picturebook_results.py snli-ve

Runs the commands a user would type, one after the other, into the folder `runs/results`; what is there
already is not run again. About an hour on two CPU cores.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from close_transfer.metrics.captions import caption_scores
from close_transfer.picturebook.captions import captions
from close_transfer.picturebook.scenes import scenes

FOLDER = Path("runs/results")
SPLITS = ("test", "test-novel")
NOISE = {"captioning": 0.1, "captioning-multi": 0.04, "snli-ve": 0.08, "vqa": 0.04}

# Name of the system: its script and its settings.
SYSTEMS = {
    "text only, with noise": ("train_text_only", "noise={noise}"),
    "text only, no noise": ("train_text_only", "noise=0"),
    "pictures": ("train_on_images", ""),
    "pictures, noise 0.05": ("train_on_images", "noise=0.05"),
    "pictures, noise 0.1": ("train_on_images", "noise=0.1"),
    "blind": ("train_text_only", "adapter=blind"),
}


def call(script: str, *settings: str) -> float:
    """Runs a script to its end and gives the seconds it took, start of Python included."""
    began = time.perf_counter()
    subprocess.run([sys.executable, f"scripts/{script}.py", *filter(None, settings)], check=True)
    return time.perf_counter() - began


def run(task: str, system: str) -> dict:
    """Trains and tests one system, unless that was done before; gives its results by split."""
    script, noise = SYSTEMS[system]
    folder = FOLDER / task / system.replace(",", "").replace(" ", "-")
    seconds = folder / "seconds.json"
    if not seconds.is_file():
        taken = call(script, f"task={task}", noise.format(noise=NOISE[task]), f"output={folder}")
        seconds.write_text(json.dumps(taken))
    for split in SPLITS:
        if not (folder / f"eval-{split}-image" / "results.json").is_file():
            call("eval_image", f"task={task}", f"run={folder}", f"split={split}")
    results = {split: json.loads((folder / f"eval-{split}-image" / "results.json").read_text()) for split in SPLITS}
    return results | {"seconds": json.loads(seconds.read_text())}


def cell(results: dict, metric: str) -> str:
    low, high = results["intervals"][metric]
    return f"{results['metrics'][metric]:.1f} ({low:.1f} to {high:.1f})"


def table(task: str) -> str:
    """A Markdown table, one row a system."""
    metrics = ["CIDEr", "BLEU-4", "METEOR"] if task.startswith("captioning") else ["accuracy"]
    head = ["trained on", *(f"{m}, {split}" for m in metrics for split in SPLITS), "training command"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for system in SYSTEMS:
        results = run(task, system)
        cells = [cell(results[split], metric) for metric in metrics for split in SPLITS]
        lines.append(f"| {' | '.join([system, *cells, str(round(results['seconds'])) + ' s'])} |")
    return "\n".join(lines)


def human_cider(num_scenes: int = 1000) -> float:
    """Mean CIDEr of each of the five captions of a test scene against the other four."""
    told = [[caption.text for caption in captions(scene)] for scene in scenes("test", num_scenes)]
    scores = [
        caption_scores([c[writer] for c in told], [c[:writer] + c[writer + 1 :] for c in told], 10).metrics["CIDEr"]
        for writer in range(5)
    ]
    return float(np.mean(scores))


def main() -> None:
    for task in sys.argv[1:] or NOISE:
        print(f"\n{task}, noise {NOISE[task]}\n\n{table(task)}", flush=True)
        if task == "captioning":
            print(f"\nhuman-like captions against the other four: CIDEr {human_cider():.1f}", flush=True)


if __name__ == "__main__":
    main()
