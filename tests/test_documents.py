"""The commands of the documents, typed as they stand there."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY, SMALL_LOOP, SMALL_MODEL


def blocks(name):
    """Every shell block of a document."""
    return re.findall(r"```bash\n(.*?)```", (REPOSITORY / "docs" / name).read_text(), flags=re.DOTALL)


def typed(commands):
    """Runs a block in a shell, in this folder, with the scripts of the repository."""
    if not Path("scripts").exists():
        Path("scripts").symlink_to(REPOSITORY / "scripts")
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], env=os.environ | own, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, f"{commands}\n{ended.stderr[-2000:]}"
    return ended.stdout


@pytest.mark.slow
def test_a_task_without_code_as_documented():
    _, predicting, evaluating = map(typed, blocks("adding_a_task.md"))
    assert "photo.jpg:" in predicting
    assert "CIDEr" in evaluating


# What needs a download, or a hub.
NEEDS_MORE = ("ViT-", "clip=timm", "lm=gpt2", "lm=qwen3", "push_to_hub", "data=huggingface")
BASE = "python scripts/train_text_only.py data=table data.path=captions.jsonl data.text_column=caption"
PLACES = ["snow", "grass", "sand", "water", "park", "street"]


def make_files():
    """What the commands of own_data.md read."""
    rows = [
        {"caption": f"a {colour} dog in the {place}", "scene": n // 2, "file": f"{n}.jpg"}
        for n, (colour, place) in enumerate((c, p) for c in ("red", "blue") for p in PLACES)
    ]
    for name in ("captions.jsonl", "test.jsonl"):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("captions.txt").write_text("".join(row["caption"] + "\n" for row in rows))
    asked = [
        {"scene": row["caption"], "question": "Which colour?", "answer": row["caption"].split()[1]} for row in rows
    ]
    Path("questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    with open("judged.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["premise", "hypothesis", "label"])
        writer.writerows([row["caption"], "There is a dog.", "entailment"] for row in rows)
    for row in rows:
        Image.new("RGB", (64, 64), "red").save(row["file"])
    Image.new("RGB", (64, 64), "blue").save("photo.jpg")
    rng = np.random.default_rng(0)
    for name in ("text", "images"):
        np.save(f"{name}.npy", rng.standard_normal((len(rows), 16), dtype=np.float32))


def small(command):
    """The command with fewer steps and smaller parts; everything else as typed."""
    if "scripts/train_" in command and "help=true" not in command:
        own_lm = "lm=" in command.replace("lm.", "")
        return " ".join([command, *(() if own_lm else SMALL_MODEL), *SMALL_LOOP, "device=cpu"])
    if "scripts/eval_image" in command:
        return f"{command} num_bootstrap=20"
    if "scripts/pretrain_lm" in command:
        return f"{command} max_steps=3 lm.config.d_model=32 lm.config.d_kv=8 lm.config.d_ff=64 lm.config.num_heads=2"
    return command


@pytest.mark.slow
def test_own_data_as_documented():
    make_files()
    commands = [line for block in blocks("own_data.md") for line in block.splitlines() if line.startswith("python ")]
    here = [line for line in commands if not any(need in line for need in NEEDS_MORE)]
    assert len(here) > 15
    typed(small(f"{BASE} runs=plain"))
    for command in here:
        precomputed = "embeddings" in command or "clip=precomputed" in command
        if ("scripts/predict" in command and not precomputed) or "scripts/export" in command:
            command = f"{command} runs=plain"  # the last of runs/ may be of another kind
        shlex.split(command)
        typed(small(command))
