"""Sampling, candidates, and re-ranking by similarity to the input."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.predict import PredictConfig
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Prediction
from close_transfer.evaluation.results import describe_system_settings
from close_transfer.inference.reranking import Reranker
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.predict import predict_files


@pytest.fixture(scope="module")
def runs(finished_runs):
    return finished_runs


def lines_of(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def evaluated(runs, *settings):
    folder = next((one.partition("=")[2] for one in settings if one.startswith("output=")), "out")
    given = [f"runs={runs}", "device=cpu", "num_bootstrap=5", "max_examples=8", f"output={folder}", *settings]
    evaluate(compose_config("evaluate", EvaluateConfig, given))
    return json.loads(Path(folder, "results.json").read_text()), lines_of(Path(folder, "predictions.jsonl"))


def test_sampling_is_reproducible_and_candidates_are_likeliest_first(runs):
    sampled = ["top_p=0.95", "temperature=1.5", "num_return=4"]
    _, one = evaluated(runs, *sampled)
    _, same = evaluated(runs, *sampled, "output=again")
    _, other = evaluated(runs, *sampled, "sampling_seed=1")
    _, searched = evaluated(runs, "num_beams=4", "num_return=4")
    assert one == same != other
    assert one != searched
    for line in (*one, *searched):
        assert len(line["candidates"]) == 4
        assert line["scores"] == sorted(line["scores"], reverse=True)
    assert len({text for line in one for text in line["candidates"]}) > 8


def test_low_temperature_agrees_with_greedy_decoding(runs):
    _, cold = evaluated(runs, "top_p=0.999", "temperature=0.001")
    _, greedy = evaluated(runs, "num_beams=1")
    assert [line["prediction"] for line in cold] == [line["prediction"] for line in greedy]


@pytest.mark.slow
def test_results_state_the_precision_that_the_texts_were_written_in(runs):
    plain, full = evaluated(runs, "num_beams=1")
    for setting, precision in (("auto", "fp32"), ("bf16", "bf16")):
        results, lines = evaluated(runs, "num_beams=1", f"decoding_precision={setting}", f"output={setting}")
        assert results["config"]["eval"]["decoding_precision"] == precision
        name = describe_system_settings("text", ["gaussian"], 0.0, results["config"]["eval"])
        assert ("in bf16" in name) == (precision == "bf16") == (setting != "auto")
        assert (lines == full) == (precision == "fp32")
    assert plain["config"]["eval"]["decoding_precision"] == "fp32"


def test_candidate_most_similar_to_the_image_comes_first(runs):
    results, lines = evaluated(runs, "num_beams=4", "num_return=4", "rerank=true", "extra_metrics=clipscore")
    plain, before = evaluated(runs, "num_beams=4", "num_return=4", "extra_metrics=clipscore")
    assert results["reranked_by"]["is_own"] and results["scored_by_its_reranker"]
    assert plain["reranked_by"] is None and not plain["scored_by_its_reranker"]
    assert results["metrics"]["CLIPScore"] > plain["metrics"]["CLIPScore"]
    for line, earlier in zip(lines, before, strict=True):
        assert line["similarities"] == sorted(line["similarities"], reverse=True)
        pairs = [dict(zip(one["candidates"], one["scores"], strict=True)) for one in (line, earlier)]
        assert pairs[0] == pairs[1]  # every candidate keeps its own score


def test_reranker_compares_vectors_of_its_own_encoder(runs):
    config = compose_config(
        "evaluate", EvaluateConfig, ["rerank=true", "num_return=2", "clip@rerank_encoder=picturebook"]
    )
    reranker = Reranker(config, config.rerank_encoder, (), "cpu")
    shown = reranker.encoder.encode_texts(["two cats at night", "a red ball"])
    predictions = [
        Prediction("a", ("a red ball", "two cats at night"), (-1.0, -2.0)),
        Prediction("b", ("two cats", "red ball"), (-1.0, -2.0)),
    ]
    first, second = reranker(predictions, 3 * shown)
    assert (first.text, first.scores) == ("two cats at night", (-2.0, -1.0))
    assert first.similarities[0] == pytest.approx(1, abs=1e-5)
    assert second.text == "red ball"


def test_predictions_of_files_are_reranked_too(runs, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    common = [
        f"runs={runs}",
        f"images={tmp_path}",
        "device=cpu",
        "num_beams=3",
        "num_return=3",
        "rerank=true",
        "batch_size=2",
    ]
    answers = []
    for more in ([], ["clip@rerank_encoder=picturebook"]):
        predict_files(compose_config("predict", PredictConfig, [*common, f"output=out{len(more)}.jsonl", *more]))
        answers.append(lines_of(f"out{len(more)}.jsonl"))
    assert answers[0] == answers[1]
    assert [line["id"] for line in answers[0]] == ["a.png", "b.png", "c.png"]
    assert all(line["similarities"] == sorted(line["similarities"], reverse=True) for line in answers[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["num_beams=2", "num_return=3"], r"num_return=3 is more than num_beams=2"),
        (["num_beams=2", "top_p=0.9"], r"top_p=0\.9 samples and num_beams=2 searches"),
        (["temperature=2"], r"temperature=2\.0 only applies with top_p\. Give top_p too"),
        (
            ["rerank=true"],
            r"rerank=true chooses among candidates, but num_return=1 .*\. Give more, such as num_return=5",
        ),
        (["clip@rerank_encoder=picturebook"], r"rerank_encoder only applies with rerank=true"),
        (["top_p=0"], r"top_p=0"),
        (["rerank=true", "num_return=2", "task=snli-ve"], r"answer is one of entailment, neutral, contradiction"),
    ],
)
def test_contradictory_settings_are_refused(runs, settings, message):
    with pytest.raises(UserError, match=message):
        evaluated(runs, *settings)
