"""Textgen without torch: everything works but local models and CLIP's tokenizer."""

import os
import pkgutil
import subprocess
import sys

import pytest

import textgen
from close_transfer.core.command_line import options
from tests.conftest import REPOSITORY
from tests.markers import mostly_slow
from tests.textgen.stand_in.server import StandInServer

_BLOCKED = r'''
import importlib.abc, json, re, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "open_clip", "torchvision"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())

from close_transfer.core.command_line import compose_config
from close_transfer.core.errors import UserError
from textgen.config import SynthesizeCaptionsConfig
from textgen.pipeline import synthesize

def run(*arguments):
    return synthesize(compose_config("synthesize_captions", SynthesizeCaptionsConfig, arguments), arguments)

def loaded():
    """Return the modules that a process without torch must not load: ML libraries, and the trainer beyond its core."""
    tops = {name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "open_clip", "torchvision"}
    trainer = {name for name in sys.modules if re.match(r"close_transfer\.(?!core\b)", name)}
    return sorted(tops | trainer)
'''  # fmt: skip


RECIPES = options("recipe")


def run_without_torch(code, **environment):
    """Run code in a process that cannot import torch, and return its output; show its errors if it fails."""
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED + code], text=True, capture_output=True, env=variables, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("recipes", [RECIPES[:1], pytest.param(RECIPES, marks=pytest.mark.slow)], ids=["one", "all"])
def test_every_recipe_is_written_and_described(tmp_path, recipes):
    output = run_without_torch(f"""
for recipe in {recipes!r}:
    for action in ("plan", "run", "status", "collect", "filter", "report"):
        arguments = [f"recipe={{recipe}}", f"output={tmp_path}/{{recipe}}", "num_texts=20", "filters.clip_tokens=null"]
        assert run(*arguments, f"action={{action}}") == 0
assert loaded() == [], loaded()
""")
    assert output.count("texts passed the filters") == 3 * len(recipes)  # of run, filter and report
    for recipe in recipes:
        assert (tmp_path / recipe / "corpus.jsonl").stat().st_size > 0
        assert "<html" in (tmp_path / recipe / "report.html").read_text(encoding="utf-8")
        assert recipe in (tmp_path / recipe / "card.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("source", mostly_slow(["openai", "openai-batch"]))
def test_a_server_is_used(source, tmp_path):
    (tmp_path / "captions.txt").write_text("A dog chases a red ball.\nTwo owls sit in a tall tree.\n")
    with StandInServer() as server:
        output = run_without_torch(f'''
assert run("source={source}", "model=gpt-5-mini", "base_url={server.base_url}", "output={tmp_path}/corpus", "num_texts=12",
    "references={tmp_path}/captions.txt", "filters.clip_tokens=null", "batch.poll_seconds=0.05") == 0
assert loaded() == [], loaded()
''', OPENAI_API_KEY="sk-any")  # fmt: skip
        assert server.counts()["paid"] == 12
    assert "12 of 12 requests answered" in output
    assert (tmp_path / "corpus/report.html").is_file() and (tmp_path / "corpus/card.md").is_file()


def test_clip_tokens_are_refused_before_the_first_request(tmp_path):
    (tmp_path / "captions.txt").write_text("A dog chases a red ball.\n")
    with StandInServer() as server:
        output = run_without_torch(f'''
for more in ([], ["action=plan"]):
    try:
        run("source=openai", "model=gpt-5-mini", "base_url={server.base_url}", "output={tmp_path}/corpus", "num_texts=3",
            "references={tmp_path}/captions.txt", "filters.clip_tokens=77", *more)
    except UserError as error:
        print(error)
''', OPENAI_API_KEY="sk-any")  # fmt: skip
        assert server.counts()["requests"] == 0
    assert (
        output.count("filters.clip_tokens counts tokens with open_clip, and open_clip and torch cannot be imported")
        == 2
    )
    assert "give filters.clip_tokens=null" in output
    assert not (tmp_path / "corpus/journal.jsonl").exists()


def test_a_local_model_is_refused_plainly(tmp_path):
    (tmp_path / "captions.txt").write_text("A dog chases a red ball.\n")
    output = run_without_torch(f"""
try:
    run("source=transformers", "model=x", "output={tmp_path}/corpus", "num_texts=3", "references={tmp_path}/captions.txt",
        "filters.clip_tokens=null")
except UserError as error:
    print(error)
""")
    assert output.startswith("source=transformers: needs torch and transformers")
    assert "pip install" in output


def test_no_module_imports_the_trainer_or_torch():
    names = [module.name for module in pkgutil.walk_packages(textgen.__path__, "textgen.")]
    assert {
        "textgen.pipeline",
        "textgen.generators.local",
        "textgen.filters.clip_tokens",
        "textgen.report.page",
    } <= set(names)
    assert (
        run_without_torch(f"""
import importlib
for name in {names!r}:
    importlib.import_module(name)
print(loaded())
""")
        == "[]\n"
    )
