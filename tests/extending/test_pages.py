"""Tests that follow each page of docs/extending/ to the letter in a copy of the repository."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.extending.follow_page import follow, read_page

PAGES = (
    "adding_a_dataset.md",
    "adding_an_adapter.md",
    "adding_a_mapper.md",
    "adding_an_encoder.md",
    "adding_a_metric.md",
    "adding_a_recipe.md",
    "adding_a_task.md",
)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_at_most_four_files_and_uses_the_part(name):
    page = read_page(name)
    assert 1 < len(page.places) <= 4
    assert page.commands
    scripts = {command[1] for command in page.commands}
    assert all((REPOSITORY / script).is_file() for script in scripts)


def test_a_recipe_needs_no_code():
    assert all(place.startswith("configs/recipe/") for place in read_page("adding_a_recipe.md").places)


def read_json(path):
    return json.loads(path.read_text())


@pytest.mark.slow
def test_an_adapter_as_documented(tmp_path):
    trained, *_ = follow("adding_an_adapter.md", tmp_path)
    assert "power → gaussian" in trained
    results = read_json(tmp_path / "runs/power/eval-test-image/results.json")
    assert results["config"]["train"]["adapter"] == {"power": {"exponent": 0.5}, "gaussian": {}}
    assert results["metrics"]["CIDEr"] >= 0
    assert {"name": "power", "exponent": 0.5} in read_json(tmp_path / "power_model/config.json")["adapter"]
    assert "power → gaussian" in (tmp_path / "power_model/README.md").read_text()
    (line,) = (tmp_path / "captions.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "photo.jpg"


@pytest.mark.slow
def test_a_mapper_as_documented(tmp_path):
    trained, *_ = follow("adding_a_mapper.md", tmp_path)
    assert "bottleneck mapper to 4 tokens" in trained
    assert read_json(tmp_path / "runs/bottleneck/eval-test-image/results.json")["metrics"]["CIDEr"] >= 0
    mapper = read_json(tmp_path / "bottleneck_model/config.json")["mapper"]
    assert mapper == {"name": "bottleneck", "num_tokens": 4, "rank": 16}
    assert len((tmp_path / "captions.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_an_encoder_as_documented(tmp_path):
    trained, *_ = follow("adding_an_encoder.md", tmp_path)
    assert "colors of 32 x 32 pixels, 12 dimensions, frozen" in trained
    results = read_json(tmp_path / "runs/colors/eval-test-image/results.json")
    assert results["clipscore_encoder"] == "colors of 32 x 32 pixels"
    assert results["metrics"]["CLIPScore"] > 0
    saved = read_json(tmp_path / "colors_model/config.json")["encoder"]
    assert saved["config"] == {"kind": "colors", "pixels": 32}
    (line,) = (tmp_path / "captions.jsonl").read_text().splitlines()
    assert len(json.loads(line)["candidates"]) == 2


@pytest.mark.slow
def test_a_metric_as_documented(tmp_path):
    _, evaluated, scored, _ = follow("adding_a_metric.md", tmp_path)
    assert "WordPrecision" in evaluated and "WordPrecision" in scored
    metrics = read_json(tmp_path / "runs/written/results.json")["metrics"]
    assert metrics["WordPrecision"] == pytest.approx(100 * (4 / 6 + 1) / 2)  # no reference has "in" and "snow"
    assert "WordPrecision" in (tmp_path / "comparison.md").read_text()


@pytest.mark.slow
def test_a_recipe_as_documented(tmp_path):
    written, _, evaluated = follow("adding_a_recipe.md", tmp_path)
    assert "200 of 200 requests answered" in written
    lines = (tmp_path / "runs/synthetic/postcard/corpus.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    assert len(texts) > 100
    assert all(text.startswith(("Greetings from", "Wish you were here")) for text in texts)
    assert "CIDEr" in evaluated


@pytest.mark.slow
def test_a_dataset_as_documented(tmp_path):
    *_, trained, evaluated, nearest = follow("adding_a_dataset.md", tmp_path)
    assert "note: the Picturebook CLIP" in trained or "run:" in trained
    assert "2 examples of test, scene=image" in evaluated
    results = read_json(tmp_path / "runs/album/eval-album-test-image/results.json")
    assert (results["data"], results["num_examples"]) == ("album", 2)
    assert "CIDEr" in nearest


@pytest.mark.slow
def test_a_task_as_documented(tmp_path):
    evaluation = "runs/okvqa/eval-file-test-image"
    rescore = ["task=okvqa", f"predictions={evaluation}/predictions.jsonl", "references=questions.jsonl"]
    more_commands = (
        ["python", "scripts/score_predictions.py", *rescore, "output=rescored"],
        ["python", "scripts/measure_gap.py", "task=okvqa", "data=picturebook", "output=gap"],
    )
    follow("adding_a_task.md", tmp_path, more_commands)
    folders = ("runs/okvqa/eval-test-image", "runs/nearest", "runs/zero-shot", evaluation, "runs/another", "rescored")
    results = [read_json(tmp_path / folder / "results.json") for folder in folders]
    assert {result["task"] for result in results} == {"okvqa"}
    *_, evaluated, another, rescored = [result["metrics"]["accuracy"] for result in results]
    assert rescored == pytest.approx(evaluated)
    # By hand: of three annotators, two gave the first answer; leaving out each in turn, 1/3, 1/3 and 2/3 agree.
    assert another == pytest.approx(100 * 4 / 9 / 2)

    official = read_json(tmp_path / "runs/okvqa/eval-test-image/official_results.json")
    assert official[0].keys() == {"question_id", "answer"}
    (line,) = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "photo.jpg"
    comparison = (tmp_path / "comparison.md").read_text()
    assert "okvqa on picturebook" in comparison
    assert all(name in comparison for name in ("another", "nearest training text", "zero-shot, the encoder alone"))
    card = (tmp_path / "okvqa_model/README.md").read_text()
    assert "pipeline_tag: visual-question-answering" in card
    assert "This model answers questions about images that need knowledge of the world. It was trained" in card
    assert 'model.answer("photo.jpg", "What is this animal known for?")' in card
    assert "paired_cosine" in read_json(tmp_path / "gap/gap.json")["metrics"]

    refused = subprocess.run(
        [sys.executable, "scripts/train_text_only.py", "task=okvqa", "+task.metric=text"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "task.metric only applies to task=custom. Leave it out" in refused.stderr
