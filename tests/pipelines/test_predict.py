"""Answers for images and vectors that belong to no dataset."""

import json
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from close_transfer.cli import compose_config
from close_transfer.config.predict import PredictConfig
from close_transfer.core.errors import UserError
from close_transfer.data.picturebook.drawing import draw_scene
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.inference import prediction_inputs
from close_transfer.pipelines.console import describe_prediction
from close_transfer.pipelines.predict import predict_files
from tests.conftest import die_at
from tests.malformed.damage import flip
from tests.settings import make_encoder


@pytest.fixture
def images(tmp_path):
    for number, scene in enumerate(scenes("test", 3)):
        draw_scene(scene, 120).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    return tmp_path


def run_prediction(runs, *overrides):
    settings = [f"runs={runs}", "device=cpu", "output=out.jsonl", *overrides]
    summary = predict_files(compose_config("predict", PredictConfig, settings))
    return summary, [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]


def test_captions_for_a_folder_with_the_unreadable_counted(finished_runs, images):
    summary, lines = run_prediction(finished_runs, f"images={images}", "num_return=2")
    assert [line["id"] for line in lines] == ["0.png", "1.png", "2.png"]
    for line in lines:
        assert set(line) == {"id", "prediction", "candidates", "scores"}
        assert line["prediction"] == line["candidates"][0]
        assert len(line["candidates"]) == len(line["scores"]) == 2
    assert summary.num_unreadable == 1
    unreadable = [json.loads(line) for line in Path("out.jsonl.unreadable.jsonl").read_text().splitlines()]
    assert [line["id"] for line in unreadable] == ["broken.png"]
    assert unreadable[0]["reason"].startswith("not an image in one of the formats AVIF, BMP, ")
    assert list(summary.first_unreadable) == unreadable


def test_standard_output_gets_the_lines_of_the_file(finished_runs, images, capsys):
    _, lines = run_prediction(finished_runs, f"images={images}")
    settings = [f"runs={finished_runs}", "device=cpu", "output=-", f"images={images}"]
    capsys.readouterr()
    assert predict_files(compose_config("predict", PredictConfig, settings)) is None
    shown = capsys.readouterr()
    assert [json.loads(line) for line in shown.out.splitlines()] == lines
    assert "note: broken.png could not be read: not an image in one of the formats AVIF, " in shown.err
    assert sorted(path.name for path in Path().iterdir()) == ["out.jsonl", "out.jsonl.unreadable.jsonl"]


def test_an_image_and_its_vector_get_the_same_answer(finished_runs, images):
    from close_transfer.encoders import OpenClipEncoder

    question = "prompt=How many dogs, cats or birds are there?"
    _, from_picture = run_prediction(finished_runs, f"images={images / '1.png'}", "task=vqa", question)
    config = make_encoder(batch_size=8)
    np.save("vector.npy", OpenClipEncoder(config).encode_images([Image.open(images / "1.png").convert("RGB")]))
    _, from_vector = run_prediction(finished_runs, "embeddings=vector.npy", "task=vqa", question)
    assert from_picture[0]["candidates"] == from_vector[0]["candidates"]
    assert from_picture[0]["scores"] == pytest.approx(from_vector[0]["scores"], abs=1e-4)


def test_entailment_predictions_are_labels(finished_runs, images):
    _, lines = run_prediction(finished_runs, f"images={images}", "task=snli-ve", "prompt=There is a dog.")
    assert {line["prediction"] for line in lines} <= {"entailment", "neutral", "contradiction"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "nothing to answer is given. Give exactly one of images=FILE|FOLDER and embeddings=FILE"),
        (["images=a", "embeddings=b"], "images and embeddings are both given. Give exactly one of"),
        (["images=nowhere"], "images=nowhere: there is no such file or folder"),
        (["images=.", "task=vqa"], r"task=vqa needs a question\. Give prompt='...'"),
        (["images=.", "prompt=hello"], "task=captioning takes no prompt"),
        (["images=.", "num_return=9"], "num_return=9 is more than num_beams=5"),
        (["images=."], "no image in this folder"),
        (
            ["images=.", "text_memory_size=5"],
            "text_memory_size=5 only applies with text_memory. Give text_memory=train",
        ),
        (
            ["embeddings=right.npy", "text_memory=wide.npy"],
            r"text_memory=wide\.npy holds vectors of shape \(7,\).*shape \(128,\)",
        ),
        (
            ["embeddings=right.npy", "text_memory=wide.npy", "output=wide.npy"],
            r"output=wide\.npy: is also an input",
        ),
        (
            ["embeddings=wide.npy"],
            r"the vectors have 7 dimensions, but the run was trained on picturebook with 128\. Encode",
        ),
    ],
)
def test_mistakes_in_prediction(finished_runs, overrides, message):
    np.save("wide.npy", np.zeros((2, 7), dtype=np.float32))
    np.save("right.npy", np.ones((2, 128), dtype=np.float32))
    with pytest.raises(UserError, match=message):
        run_prediction(finished_runs, *overrides)


def test_a_mixed_folder_is_answered_and_unreadable_files_are_listed(finished_runs, images):
    Image.new("RGB", (50, 40), "red").save(images / "two\nlines.png")
    (images / "deep" / "er").mkdir(parents=True)
    Image.new("CMYK", (50, 40)).save(images / "deep" / "er" / "c.jpg")
    (images / "deep" / "loop").symlink_to(images)
    (images / "deep" / "none.jpg").write_bytes(b"")
    (images / "notes.txt").write_text("")
    summary, lines = run_prediction(finished_runs, f"images={images}", "batch_size=2")
    assert [line["id"] for line in lines] == ["0.png", "1.png", "2.png", "deep/er/c.jpg", "two\nlines.png"]
    listed = [json.loads(line) for line in Path("out.jsonl.unreadable.jsonl").read_text().splitlines()]
    assert [one["id"] for one in listed] == ["broken.png", "deep/none.jpg"]
    told = describe_prediction(summary)
    assert "could not read deep/none.jpg: not an image in one of the formats AVIF, " in told
    assert "ignored 1 files without an image extension" in told
    assert "5 predictions, 2 unreadable files: out.jsonl" in told


def test_interrupted_predictions_continue(finished_runs, images, monkeypatch, capsys):
    settings = [f"images={images}", "batch_size=1"]
    _, whole = run_prediction(finished_runs, *settings)
    Path("out.jsonl").unlink()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        die_at(patched, 3)
        run_prediction(finished_runs, *settings)
    assert not Path("out.jsonl").exists()
    starts = re.findall(r'"start": (\d+)', Path("out.jsonl.journal").read_text())
    assert starts == ["0", "1"]
    with monkeypatch.context() as patched:
        calls = die_at(patched, None)
        summary, parts = run_prediction(finished_runs, *settings)
    assert calls == [("2.png",)]
    assert parts == whole
    assert summary.num_unreadable == 1
    assert {p.name for p in Path().iterdir()} >= {"out.jsonl", "out.jsonl.unreadable.jsonl"}
    assert not Path("out.jsonl.journal").exists()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        die_at(patched, 2)
        run_prediction(finished_runs, *settings)
    Image.new("RGB", (9, 9)).save(images / "new.png")
    _, lines = run_prediction(finished_runs, *settings)
    assert "it differed in images. Its answers were moved to" in capsys.readouterr().err
    assert [line["id"] for line in lines] == ["0.png", "1.png", "2.png", "new.png"]


def check_damaged_journals(finished_runs, monkeypatch, damage):
    """Continue with each damaged journal, and check that the answers are those of an uninterrupted command."""
    np.save("vectors.npy", np.random.default_rng(0).normal(size=(10, 128)).astype(np.float32))
    settings = ("embeddings=vectors.npy", "batch_size=4", "num_beams=1")
    run_prediction(finished_runs, *settings)
    whole = Path("out.jsonl").read_bytes()
    Path("out.jsonl").unlink()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        die_at(patched, 3)
        run_prediction(finished_runs, *settings)
    lines = Path("out.jsonl.journal").read_bytes().splitlines(keepends=True)
    for content in damage(lines):
        Path("out.jsonl.journal").write_bytes(content)
        run_prediction(finished_runs, *settings)
        assert Path("out.jsonl").read_bytes() == whole
        Path("out.jsonl").unlink()


@pytest.mark.slow
def test_lines_of_a_journal_carry_their_start_and_none_counts_for_another(finished_runs, monkeypatch):
    def damage(lines):
        h, a, b = lines
        orders = [(h, a, a, b), (h, b), (h, b, a), (a, b)]
        return [b"".join(order) for order in (*orders, 2 * lines)]

    check_damaged_journals(finished_runs, monkeypatch, damage)


@pytest.mark.slow
@pytest.mark.fuzz
def test_no_flipped_bit_of_a_journal_changes_an_answer(finished_runs, monkeypatch):
    def damage(lines):
        good, rng = b"".join(lines), np.random.default_rng(0)
        return (flip(good, rng) for _ in range(100))

    check_damaged_journals(finished_runs, monkeypatch, damage)


def one_text(seed):
    vector = np.random.default_rng(seed).normal(size=(1, 128))
    np.save("text.npy", (vector / np.linalg.norm(vector)).astype(np.float32))


def answers(lines):
    return {json.dumps([line["candidates"], line["scores"]]) for line in lines}


def test_images_are_projected_on_a_memory_of_one_text(finished_runs, images):
    settings = [f"images={images}", "batch_size=1"]
    _, plain = run_prediction(finished_runs, *settings)
    one_text(0)
    _, alike = run_prediction(finished_runs, *settings, "text_memory=text.npy")
    assert (len(answers(plain)), len(answers(alike))) == (3, 1)


@pytest.mark.parametrize("search", ["exact", "nearest"])
def test_vectors_are_projected_on_the_training_texts(finished_runs, search):
    np.save("images.npy", np.random.default_rng(0).normal(size=(4, 128)).astype(np.float32))
    _, plain = run_prediction(finished_runs, "embeddings=images.npy")
    memory = ["text_memory=train", "text_memory_size=50", f"text_memory_search={search}"]
    _, projected = run_prediction(finished_runs, "embeddings=images.npy", *memory)
    assert len(projected) == 4
    assert not answers(plain) & answers(projected)


@pytest.mark.parametrize(
    ("seed", "temperature", "differing"), [(1, 0.01, "fingerprint"), (0, 0.5, "temperature")], ids=str
)
def test_answers_on_another_memory_are_not_mixed(
    finished_runs, images, monkeypatch, capsys, seed, temperature, differing
):
    settings = [f"images={images}", "batch_size=1", "text_memory=text.npy"]
    one_text(0)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        die_at(patched, 2)
        run_prediction(finished_runs, *settings)
    one_text(seed)
    _, lines = run_prediction(finished_runs, *settings, f"text_memory_temperature={temperature}")
    assert f"it differed in {differing}. Its answers were moved to" in capsys.readouterr().err
    assert len(answers(lines)) == 1


def test_each_thread_holds_one_full_size_image(finished_runs, images, monkeypatch):
    alive, most = weakref.WeakSet(), []

    class Full:
        """Counts images between their opening and their being made small."""

    real = prediction_inputs.open_image

    def counted(path):
        picture = real(path)
        mark = picture.mark = Full()
        alive.add(mark)
        most.append(len(alive))
        return picture

    monkeypatch.setattr(prediction_inputs, "open_image", counted)
    for number in range(3, 12):
        Image.new("RGB", (300, 200)).save(images / f"{number}.png")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    run_prediction(finished_runs, f"images={images}", "batch_size=64", "device=cpu")
    assert len(most) == 12
    assert max(most) <= 2


def test_nothing_readable_is_an_error_and_overwrites_nothing(finished_runs, tmp_path):
    Path("out.jsonl").write_text("before")
    (tmp_path / "a.jpg").write_bytes(b"")
    for images in (tmp_path / "a.jpg", tmp_path):
        with pytest.raises(UserError, match=r"none of 1 inputs could be read \(a\.jpg: not an image"):
            run_prediction(finished_runs, f"images={images}")
    assert Path("out.jsonl").read_text() == "before"
    assert not Path("out.jsonl.journal").exists()


def test_other_answers_in_the_output_are_set_aside(finished_runs, images, capsys):
    run_prediction(finished_runs, f"images={images}")
    kept = {name: Path(name).read_bytes() for name in ("out.jsonl", "out.jsonl.unreadable.jsonl")}
    run_prediction(finished_runs, f"images={images}")
    assert "set aside" not in capsys.readouterr().err, "the same again"
    _, lines = run_prediction(finished_runs, f"images={images / '1.png'}")
    assert [line["id"] for line in lines] == ["1.png"]
    assert "out.jsonl held other answers, which were moved to out.jsonl.old-1" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in Path("out.jsonl.old-1").iterdir()} == kept
    assert not Path("out.jsonl.unreadable.jsonl").exists()
    run_prediction(finished_runs, f"images={images / '2.png'}")
    assert [p.name for p in Path("out.jsonl.old-2").iterdir()] == ["out.jsonl"]
