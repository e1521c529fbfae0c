import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from close_transfer.assembly import train
from close_transfer.cli import compose_config
from close_transfer.config import EvalConfig, PredictConfig
from close_transfer.errors import UserError
from close_transfer.evaluation import evaluate
from close_transfer.picturebook.drawing import draw_scene
from close_transfer.picturebook.scenes import scenes
from close_transfer.prediction import predict_files
from close_transfer.report import Compared, write_report
from tests.conftest import small_config

FIELDS = {
    "metrics", "intervals", "num_examples", "num_skipped", "task", "data", "split", "scene", "noise", "regime", "seed",
    "config", "data_fingerprint", "versions", "git_commit",
}  # fmt: skip
CAPTION_METRICS = {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"}


def run_evaluation(runs, *overrides):
    return evaluate(compose_config("eval", EvalConfig, [f"runs={runs}", "num_bootstrap=50", "device=cpu", *overrides]))


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        ("captioning", CAPTION_METRICS),
        ("captioning-multi", CAPTION_METRICS),
        (
            "snli-ve",
            {"accuracy", "accuracy_generated", "accuracy/entailment", "accuracy/neutral", "accuracy/contradiction"},
        ),
        ("vqa", {"accuracy", "accuracy/yes/no", "accuracy/number", "accuracy/other"}),
    ],
)
def test_results_hold_what_they_promise(finished_runs, tmp_path, task, metrics):
    evaluation = run_evaluation(finished_runs, f"task={task}", f"output={tmp_path}")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results.keys() >= FIELDS
    assert set(results["metrics"]) == metrics
    assert results["intervals"].keys() == results["metrics"].keys()
    for name, value in results["metrics"].items():
        low, high = results["intervals"][name]
        assert math.isfinite(value)
        assert low <= high
    assert results["task"] == task
    assert (results["data"], results["split"], results["scene"]) == ("picturebook", "test", "image")
    assert results["regime"] == "T0"
    assert set(results["noise"]) >= {"std", "length", "cosine"}
    assert results["num_examples"] == len(evaluation.predictions) > 0
    assert results["num_skipped"] == 0
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == results["num_examples"]
    assert len({line["id"] for line in lines}) == len(lines)


def test_default_folder_and_text_scenes(finished_runs):
    evaluation = run_evaluation(finished_runs, "task=vqa", "scene=text", "split=test-novel")
    assert evaluation.folder == (finished_runs / "vqa/latest").resolve() / "eval-test-novel-text"
    assert evaluation.results()["scene"] == "text"


def test_evaluating_twice_gives_the_same_numbers(finished_runs, tmp_path):
    first, second = (run_evaluation(finished_runs, f"output={tmp_path / n}").results() for n in "ab")
    assert first["metrics"] == second["metrics"]
    assert first["intervals"] == second["intervals"]
    assert first["data_fingerprint"] == second["data_fingerprint"]


def test_report_is_one_file_with_numbers_pictures_and_plain_words(finished_runs, tmp_path):
    evaluation = run_evaluation(finished_runs, f"output={tmp_path}")
    page = write_report(evaluation).read_text()
    assert page.count('src="data:image/png;base64,') >= 12
    assert 'src="data:image/svg+xml;base64,' in page
    assert "http" not in page.replace("http://www.w3.org", ""), "nothing is fetched"
    assert f"{evaluation.scores.metrics['CIDEr']:.1f}" in page
    assert "random noise of length 1.13" in page
    assert "Worst by CIDEr" in page
    assert evaluation.examples[0].references[0] in page or len(evaluation.examples) > 24


def test_report_sets_systems_side_by_side_and_never_on_other_examples(finished_runs, tmp_path):
    clean, _ = train(small_config("noise=0", "output=clean"), "text")
    other = run_evaluation(finished_runs, f"run={clean}", f"output={tmp_path / 'clean'}")
    novel = run_evaluation(finished_runs, "split=test-novel", f"output={tmp_path / 'novel'}")
    method = run_evaluation(finished_runs, f"output={tmp_path / 'method'}")
    page = write_report(method, [Compared.read(other.folder)]).read_text()
    assert "trained on text, no noise" in page
    assert "trained on text, noise 0.1" in page
    with pytest.raises(UserError, match="other examples than this run"):
        write_report(method, [Compared.read(novel.folder)])


def test_another_encoder_is_refused(finished_runs, tmp_path):
    import open_clip
    from safetensors.torch import save_file

    folder = Path(__import__("close_transfer.picturebook").__file__).parent / "picturebook" / "clip"
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    model = open_clip.create_model(f"local-dir:{folder}")
    changed = {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in model.state_dict().items()}
    changed["logit_scale"] += 1
    save_file(changed, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(UserError, match=r"has other weights than the picturebook the run was trained on"):
        run_evaluation(finished_runs, f"clip.model=local-dir:{tmp_path}", "clip=picturebook")


def test_a_run_of_another_task_is_refused(finished_runs):
    with pytest.raises(UserError, match=r"was trained for task=vqa"):
        run_evaluation(finished_runs, "task=snli-ve", f"run={finished_runs / 'vqa/latest'}")


@pytest.fixture
def pictures(tmp_path):
    for number, scene in enumerate(scenes("test", 3)):
        draw_scene(scene, 120).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return tmp_path


def run_prediction(runs, *overrides):
    settings = [f"runs={runs}", "device=cpu", "output=out.jsonl", *overrides]
    summary = predict_files(compose_config("predict", PredictConfig, settings))
    return summary, [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]


def test_captions_for_a_folder_with_the_unreadable_counted(finished_runs, pictures):
    summary, lines = run_prediction(finished_runs, f"images={pictures}", "num_return=2")
    assert [line["id"] for line in lines] == ["0.png", "1.png", "2.png"]
    for line in lines:
        assert set(line) == {"id", "prediction", "candidates", "scores"}
        assert line["prediction"] == line["candidates"][0]
        assert len(line["candidates"]) == len(line["scores"]) == 2
    assert [Path(p).name for p in summary.unreadable] == ["broken.png"]


def test_one_picture_and_its_vector_get_the_same_answer(finished_runs, pictures):
    from close_transfer.config import OpenClipConfig
    from close_transfer.encoders import OpenClipEncoder

    question = "prompt=How many dogs, cats or birds are there?"
    _, from_picture = run_prediction(finished_runs, f"images={pictures / '1.png'}", "task=vqa", question)
    config = OpenClipConfig(kind="open_clip", model="picturebook", pretrained=None, weights=None, batch_size=8)
    np.save("vector.npy", OpenClipEncoder(config).encode_images([Image.open(pictures / "1.png").convert("RGB")]))
    _, from_vector = run_prediction(finished_runs, "embeddings=vector.npy", "task=vqa", question)
    assert from_picture[0]["candidates"] == from_vector[0]["candidates"]
    assert from_picture[0]["scores"] == pytest.approx(from_vector[0]["scores"], abs=1e-4)


def test_entailment_predictions_are_labels(finished_runs, pictures):
    _, lines = run_prediction(finished_runs, f"images={pictures}", "task=snli-ve", "prompt=There is a dog.")
    assert {line["prediction"] for line in lines} <= {"entailment", "neutral", "contradiction"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "give exactly one of images=FILE|FOLDER and embeddings=FILE"),
        (["images=a", "embeddings=b"], "give exactly one of"),
        (["images=nowhere"], "images=nowhere: there is no such file or folder"),
        (["images=.", "task=vqa"], r"task=vqa needs a question; give prompt='...'"),
        (["images=.", "prompt=hello"], "task=captioning takes no prompt"),
        (["images=.", "num_return=9"], "num_return=9 is more than num_beams=5"),
        (["images=."], "no picture in this folder"),
        (["embeddings=wide.npy"], r"rows are 7 wide, but the run was trained on picturebook, 128 wide"),
    ],
)
def test_mistakes_in_prediction(finished_runs, overrides, message):
    np.save("wide.npy", np.zeros((2, 7), dtype=np.float32))
    with pytest.raises(UserError, match=message):
        run_prediction(finished_runs, *overrides)


def test_a_run_of_another_version_is_named(tmp_path):
    config = small_config().model_dump(mode="json")
    del config["lm"]["name"]
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"lm\.scratch\.name: Field required; another version wrote this run"):
        run_evaluation(tmp_path, f"run={tmp_path}")
