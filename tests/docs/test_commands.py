"""The commands of the documents, run as they are written there."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from close_transfer import cli
from close_transfer.core.errors import UserError
from studies import commands as studies
from tests.conftest import REPOSITORY, SMALL_LOOP, SMALL_MODEL
from tests.markers import mostly_slow
from tests.textgen.stand_in.server import StandInServer


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


DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("docs/**/*.md")),
]
# Pages that add a part, by its name; tests/extending/ adds it and runs their commands.
ADDED = {
    "docs/extending/adding_a_dataset.md": "data=album",
    "docs/extending/adding_a_mapper.md": "mapper=bottleneck",
    "docs/extending/adding_a_metric.md": "extra_metrics=word_precision",
    "docs/extending/adding_a_task.md": "task=okvqa",
    "docs/extending/adding_an_adapter.md": "adapter=[power,gaussian]",
    "docs/extending/adding_an_encoder.md": "clip=colors",
}
# What a command in the running text may leave out.
LEFT_OUT = re.compile(r"Give exactly one of|: missing\. Give|has no default")


def find_commands(document):
    """Every command of a document as (script, arguments, whether it is complete): of code blocks, and of the running text."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
        for script, arguments in re.findall(
            r"^(?:\w+=\S+ |srun )*python scripts/(\w+)\.py(.*)$", block, flags=re.MULTILINE
        ):
            yield script, shlex.split(arguments, comments=True), True
    running = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for script, arguments in re.findall(r"`(?:python scripts/)?(\w+)\.py((?:\s[^`\s]+=[^`]*)?)`", running):
        if (REPOSITORY / "scripts" / f"{script}.py").exists():
            yield script, shlex.split(arguments), False


def compose(script, arguments):
    """Check the settings of a command as it does at its start."""
    for table, folders in ((cli.COMMANDS, (cli.CONFIGS,)), (studies.COMMANDS, studies.FOLDERS)):
        for command in table.values():
            if script in command.list_scripts():
                return cli.compose_config(command.config_name, command.load_schema(), arguments, folders)
    raise AssertionError(f"scripts/{script}.py is not a command")


@pytest.mark.parametrize("document", mostly_slow(DOCUMENTS, every=len(DOCUMENTS)))
def test_settings_of_documented_commands_exist(document):
    Path("my_lm").mkdir()
    wrong = []
    for script, arguments, is_complete in find_commands(document):
        if not (is_complete or arguments) or script == "synthesize_captions":
            continue  # a mention without settings; or run as a whole below, with the recipe that the page shows
        if ADDED.get(document) in arguments:
            continue
        try:
            compose(script, arguments)
        except UserError as error:
            if is_complete or not LEFT_OUT.search(str(error)):
                wrong.append(f"{script}.py {' '.join(arguments)}: {error}")
    assert wrong == []


@pytest.mark.slow
def test_a_task_without_code_as_documented():
    _, predicting, evaluating = map(typed, blocks("adding_a_task.md"))
    assert "photo.jpg:" in predicting
    assert "CIDEr" in evaluating


# What needs a download, or a hub.
NEEDS_MORE = ("ViT-", "clip=timm", "lm=gpt2", "lm=qwen3", "push_to_hub", "data=huggingface")
BASE = "python scripts/train_text_only.py data=file data.path=captions.jsonl data.text_column=caption"
PLACES = ["snow", "grass", "sand", "water", "park", "street"]


def make_files():
    """Write the files that the commands of custom_data_and_models.md read."""
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
    if "scripts/train_" in command:
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
    commands = [
        line
        for block in blocks("custom_data_and_models.md")
        for line in block.splitlines()
        if line.startswith("python ")
    ]
    here = [line for line in commands if not any(need in line for need in NEEDS_MORE)]
    assert len(here) > 15
    typed(small(f"{BASE} runs=plain"))
    for command in here:
        precomputed = "embeddings" in command or "clip=precomputed" in command
        if ("scripts/predict" in command and not precomputed) or "scripts/export" in command:
            command = f"{command} runs=plain"  # the last of runs/ may be of another kind
        shlex.split(command)
        typed(small(command))


def make_recipe(document):
    """A copy of what the commands need, with the files that the document shows: their first line is their name."""
    for name in ("configs", "close_transfer", "scripts", "textgen"):
        shutil.copytree(REPOSITORY / name, name)
    shown = re.findall(r"```\w+\n((?:# |\{# )(\S+\.(?:yaml|j2)).*?)```", document, flags=re.DOTALL)
    for text, name in shown:
        Path(name).write_text(text)
    (words,) = re.findall(r"```csv\n(.*?)```", document, flags=re.DOTALL)
    Path("words.csv").write_text(words)
    texts = [f"A {colour} dog sits in the {place}." for colour in ("red", "blue", "small") for place in PLACES]
    Path("captions.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return [name for _, name in shown]


# What needs a model of this machine's, a spaCy pipeline, or is done elsewhere in these tests.
OF_OTHERS = ("source=transformers", "part_of_speech", "train_text_only", "eval_image", "export_grammar")


@pytest.mark.slow
def test_synthetic_text_as_documented():
    document = (REPOSITORY / "docs/synthetic_text.md").read_text()
    assert make_recipe(document) == ["configs/recipe/alt-text.yaml", "configs/recipe/alt-text.j2", "my_grammar.yaml"]
    lines = [line for block in blocks("synthetic_text.md") for line in block.splitlines()]
    here = [line for line in lines if not line.startswith("export ") and not any(one in line for one in OF_OTHERS)]
    assert len(here) > 15
    with StandInServer() as server:
        own = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "sk-stand-in", "PYTHONPATH": str(Path.cwd())}
        commands = "\n".join(here).replace("http://localhost:8000/v1", server.base_url)
        commands = commands.replace(
            "recipe=paraphrase-group source", "batch.poll_seconds=0.1 recipe=paraphrase-group source"
        )
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            env=os.environ | own | {"PATH": path}, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    for told in (
        "runs/synthetic/coco-style/corpus.jsonl: 938 of 1,000 texts passed",
        "2,000 of 2,000 requests answered",
        "runs/synthetic/alt-text/corpus.jsonl: 910 of 1,000 texts passed",
        "runs/synthetic/alt-text-written/plan.jsonl: 1,000 requests",
        "runs/synthetic/animals/corpus.jsonl: ",
    ):
        assert told in ended.stdout
    (quoted,) = map(json.loads, re.findall(r'^\{".*\}$', document, flags=re.MULTILINE))
    kept = map(json.loads, Path("runs/synthetic/alt-text/corpus.jsonl").read_text().splitlines())
    assert quoted["text"] in [record["text"] for record in kept if record.keys() == quoted.keys()]


ARCHITECTURE = [REPOSITORY / "docs" / "architecture.md", REPOSITORY / "docs" / "images" / "architecture.svg"]


@pytest.mark.parametrize("path", ARCHITECTURE, ids=lambda path: path.name)
def test_files_that_the_architecture_names_exist(path):
    text = re.sub(r"https?://\S+", "", path.read_text(encoding="utf-8"))
    named = set(re.findall(r"[a-z_]+(?:/[a-z_]+)*(?:\.py|/(?![a-z]))", text))
    assert len(named) > 15
    roots = (REPOSITORY, REPOSITORY / "close_transfer", REPOSITORY / "scripts")
    assert not [name for name in named if not any((root / name).exists() for root in roots)]
