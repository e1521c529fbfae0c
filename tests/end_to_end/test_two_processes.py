"""Training in two processes equals training in one, also if the last batch has one row."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, SMALL_DATA, SMALL_MODEL

T5 = [*SMALL_MODEL, "lm.config.dropout_rate=0"]
GPT2 = ["lm=gpt2-mini", "lm.vocab_size=400", "lm.config.n_embd=32", "lm.config.n_layer=1", "lm.config.n_head=2"]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]


def read_log(num_processes, script, *settings):
    """Train in this many processes, which exchange gradients with gloo, and return the log."""
    command = [*LAUNCH, str(num_processes), str(REPOSITORY / "scripts" / script), *settings, "device=cpu"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [*command, f"output=run{num_processes}"], env=environment, text=True, capture_output=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\ntrained ") == 1
    return [json.loads(line) for line in Path(f"run{num_processes}", "training.jsonl").read_text().splitlines()]


def check_logs_are_equal(*arguments):
    one, two = (read_log(number, *arguments) for number in (1, 2))
    assert len(one) == len(two) > 4
    for alone, together in zip(one, two, strict=True):
        assert alone == pytest.approx(together, rel=1e-5)


@pytest.mark.slow
def test_text_only_training_in_two_processes():
    # 200 examples in batches of 199.
    loop = ["train.batch_size=199", "train.max_steps=4", "train.num_validations=2", "train.log_every=1"]
    check_logs_are_equal("train_text_only.py", *SMALL_DATA, *T5, *loop)


@pytest.mark.slow
def test_training_of_an_image_encoder_in_two_processes():
    # 200 texts in batches of 199.
    sizes = ["captioner.width=16", "captioner.depth=1", "captioner.heads=2", "captioner.vocab_size=400"]
    loop = ["train.batch_size=199", "train.max_steps=4", "train.num_validations=2", "train.log_every=1"]
    check_logs_are_equal("train_image_encoder.py", "objective=masked_patches", *SMALL_DATA, *sizes, *loop)


@pytest.mark.slow
@pytest.mark.parametrize("lm", [T5, GPT2], ids=["t5", "gpt2"])
def test_pretraining_in_two_processes(lm):
    Path("texts.txt").write_text("".join(f"a dog, number {number}, in the snow\n" for number in range(80)))
    # One of 80 texts is for validation, so batches of 13 leave one text for the last.
    settings = ["text=texts.txt", "batch_size=13", "val_share=0.0125", "epochs=1", "log_every=1"]
    check_logs_are_equal("pretrain_lm.py", *settings, *lm)
