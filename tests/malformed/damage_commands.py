"""Malformed settings and JSON documents for commands, and a check of how a command refuses them."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import yaml

from tests.commands import run_command
from tests.conftest import SMALL_LOOP, SMALL_MODEL
from tests.malformed.damage import DEEP, DIGITS, cut, flip

ONE_STEP = [*SMALL_MODEL, *SMALL_LOOP, "train.max_steps=1", "train.tensorboard=false", "device=cpu"]


def refused(ended, *named):
    """Return True if a command was refused, after checking that its message names these parts and has no traceback."""
    assert "Traceback" not in ended.err + ended.out
    assert ended.status in (0, 2), ended.err
    if ended.status == 0:
        return False
    # A progress bar is cleared by going back to the start of its line.
    assert re.search(r"(^|[\n\r])error: ", ended.err) or "usage: " in ended.err
    assert len(ended.err) < 20_000
    for part in named:
        assert part in ended.err
    return True


def vectors(name="vectors.npy", rows=3, width=128):
    np.save(name, np.random.default_rng(1).normal(size=(rows, width)).astype(np.float32))
    return name


def train(*settings):
    """Train one step; return the end of the command, the settings of the run and its facts."""
    ended = run_command("train_text_only", *ONE_STEP, *settings)
    if ended.status:
        return ended, None, None
    run = Path(re.search(r"run: +(.+)", ended.out)[1])
    return ended, yaml.safe_load((run / "config.yaml").read_text()), json.loads((run / "facts.json").read_text())


# Script, bad setting, and a part of the message. The rest of the command is right.
SETTINGS = [
    ("train_text_only", "noise=abc", "noise=abc"),
    ("train_text_only", "noise=nan", "noise=nan"),
    ("train_text_only", "noise=-.inf", "noise=-.inf"),
    ("train_text_only", f"noise={DIGITS}", "(5,000 characters)"),
    ("train_text_only", "noise=[0.1]", "noise=[0.1]"),
    ("train_text_only", "noise={a: 1}", "noise={'a': 1}"),
    ("train_text_only", "noise=0.1,0.2", "noise=0.1,0.2"),
    ("train_text_only", 'noise="0.1', 'noise="0.1'),
    ("train_text_only", "noise=" + "[" * DEEP + "]" * DEEP, "noise=[[["),
    ("train_text_only", "noise=" + "{a:" * 450 + "1" + "}" * 450, "noise={a:"),
    ("train_text_only", "noise=0.1\0", "holds a NUL character"),
    ("train_text_only", "noise=${nowhere}", "noise: Interpolation key 'nowhere' not found"),
    ("train_text_only", "noise=${noise}", "noise: Recursive interpolation"),
    ("train_text_only", "noise=${seed", "noise="),
    ("train_text_only", "noise=!!python/object/apply:os.system ['true']", "noise=!!python"),
    ("train_text_only", "noise=&a [*a]", "noise=&a"),
    ("train_text_only", f"++noise={DIGITS}", "(5,000 characters)"),
    ("train_text_only", "++noise=" + "[" * 450 + "]" * 450, "noise="),
    ("train_text_only", "seed=1.5", "seed=1.5"),
    ("train_text_only", f"seed={DIGITS}", "seed=999"),
    ("train_text_only", "seed=٣", "seed=٣"),
    ("train_text_only", "nöise=1", "Did you mean noise?"),
    ("train_text_only", "x" * DEEP + "=1", "there is no such setting"),
    ("train_text_only", "=1", "=1: there is no such setting"),
    ("train_text_only", "+=1", "+=1: names no setting"),
    ("train_text_only", "~=1", "~=1: names no setting"),
    ("train_text_only", "~noise", "~noise: "),
    ("train_text_only", "+nosuch=1", "nosuch: there is no such key"),
    ("train_text_only", "lm@train=t5-mini", "lm@train=t5-mini"),
    ("train_text_only", "data=../../data/coco", "data=../../data/coco: allowed are"),
    ("train_text_only", "train=5", "train=5"),
    ("train_text_only", "output=a\udcffb", "is not UTF-8"),
    ("train_text_only", "lm.config.num_layers=-1", "num_layers"),
    ("train_text_only", "clip.weights=nowhere.pt", "clip.weights=nowhere.pt"),
    ("train_text_only", "hydra=1", "hydra=1"),
    ("train_text_only", "--config-name=nowhere", "--config-name=nowhere"),
    ("eval_image", "compare=[a", "compare=[a"),
    ("eval_image", "hydra.run.dir=file/x", "file/x"),
    ("eval_image", "num_beams=" + "${num_beams:" * 300 + "}" * 300, "num_beams"),
    ("eval_image", "extra_metrics=[spice,5]", "extra_metrics.1=5"),
    ("eval_image", "clip@clipscore=../x", "clip@clipscore=../x: allowed are"),
    ("predict", "prompt=${a}", "prompt: Interpolation key 'a'"),
    ("predict", "output=/", "output=/: names no file"),
    ("predict", "output=vectors.npy", "output=vectors.npy"),
    ("predict", "embeddings=", "embeddings=: names no file"),
    ("score_predictions", "name=\udcff", "is not UTF-8"),
    ("score_predictions", "num_bootstrap=.5", "num_bootstrap=0.5"),
    ("score_predictions", "output=", "output="),
    ("check_data", "data.files={train: 5}", "data.files.train=5"),
    ("check_data", "data.root=\udcff", "is not UTF-8"),
    ("check_data", "data.root=${data.root}", "data.root: Recursive interpolation"),
    ("pretrain_lm", "text=[[a]]", "text.0=['a']"),
    ("pretrain_lm", "output=a\0b", "holds a NUL character"),
    ("pretrain_lm", f"mean_span_length={DIGITS}", "mean_span_length=999"),
    ("pretrain_lm", "output=", "output: missing"),
    ("compare_results", "results=[[a]]", "results.0=['a']"),
]

# Odd settings that can be used: the setting, its key and its value.
USABLE = [
    ("seed=1_000", "seed", 1000),
    ("seed=1e3", "seed", 1000),
    ("++noise=0.1", "noise", 0.1),
    ("noise='0.1 '", "noise", 0.1),
    ("runs=a [b], {c} \"d\" 'e'", "runs", "a [b], {c} \"d\" 'e'"),
    ("runs=" + "[" * 100, "runs", "[" * 100),
    ("runs=!!python/object:os.system", "runs", "!!python/object:os.system"),
    ("train={}", "seed", 0),
]


def _with(document: dict, key: str, raw: str) -> bytes:
    """Return the document with one more entry under `key`, the JSON text `raw`."""
    return json.dumps({**document, key: [*document[key], "PLACE"]}).replace('"PLACE"', raw).encode()


def document_cases(document: dict | list, entries: dict[str, list[str]], seed: int) -> dict[str, bytes]:
    """Return malformed versions of a JSON document by name.

    Args:
        document: good document.
        entries: JSON texts of bad entries by the key that they are put under.
        seed: seed of the flips and cuts.
    """
    whole = json.dumps(document).encode()
    cases = {
        "nothing": b"", "null": b"null", "digits": DIGITS.encode(), "deep": b"[" * DEEP, "more-after": whole + b"x",
        "utf-16": whole.decode().encode("utf-16"), "packed": gzip.compress(whole, mtime=0), "empty": b"[]" if isinstance(document, dict) else b"{}",
        "byte-order-mark": b"\xef\xbb\xbf" + whole, "single-quotes": whole.replace(b'"', b"'"),
    }  # fmt: skip
    for key, raws in entries.items():
        for number, raw in enumerate(raws):
            holder = {"": document} if isinstance(document, list) else document
            content = _with(holder, key, raw)
            cases[f"{key}-{number}"] = content[len(b'{"": ') : -1] if isinstance(document, list) else content
    for number in range(4):
        rng = np.random.default_rng([seed, number])
        cases[f"damaged-{number}"] = (flip, cut)[number == 3](whole, rng)
    return cases
