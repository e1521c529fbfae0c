"""Frozen language models that are asked about images behind answered questions: the study as a command runs it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from close_transfer.config.pretrain_lm import PretrainLmConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.pipelines.pretrain_lm import pretrain
from close_transfer.pipelines.train import train
from studies import few_shot
from studies.commands import compose_config
from studies.config import StudyFewShotConfig
from tests.conftest import SMALL_DATA, SMALL_LOOP


def config(*settings):
    given = [
        "shots=[0,2]",
        "num_supports=20",
        "max_examples=12",
        "seeds=2",
        "num_bootstrap=20",
        "output=out",
        "device=cpu",
    ]
    return compose_config("study_few_shot", StudyFewShotConfig, [*given, *settings])


@pytest.fixture(scope="module")
def captioners(tmp_path_factory):
    """Train a captioner on text with a frozen language model, one on images, and one whose language model is trained."""
    folder = tmp_path_factory.mktemp("captioners")
    texts = [
        f"{caption.text} question: Is it night? answer: no"
        for scene in scenes("train", 25)
        for caption in captions(scene)
    ]
    (folder / "texts.txt").write_text("\n".join(texts))
    small = ["lm=gpt2-mini", "lm.vocab_size=400", "lm.config.n_embd=32", "lm.config.n_layer=1", "lm.config.n_head=2"]
    given = [
        *small,
        f"text={folder / 'texts.txt'}",
        f"output={folder / 'lm'}",
        "max_steps=20",
        "batch_size=16",
        "device=cpu",
    ]
    pretrain(compose_config("pretrain_lm", PretrainLmConfig, given))
    found = {}
    for name, input_modality, way in (
        ("text", "text", "frozen"),
        ("table", "text", "frozen"),
        ("images", "image", "frozen"),
        ("all", "text", "full"),
    ):
        settings = [
            "lm=pretrained",
            f"lm.name={folder / 'lm'}",
            f"lm.tuning={way}",
            f"output={folder / name}",
            "device=cpu",
        ]
        data = ["data=file", f"data.path={folder / 'texts.txt'}"] if name == "table" else SMALL_DATA
        train(compose_config("train", TrainConfig, [*data, *SMALL_LOOP, *settings]), input_modality)
        found[name] = str(folder / name)
    return found


def test_every_run_is_asked_with_every_number_of_shots(captioners, monkeypatch):
    asked = []
    answers = few_shot.FewShot.answers

    def recorded(self, prompts, *more):
        asked.append(prompts)
        return answers(self, prompts, *more)

    monkeypatch.setattr(few_shot.FewShot, "answers", recorded)
    said = few_shot.run_study(config(f"runs=[{captioners['text']},{captioners['images']}]"))
    # No seed decides what stands in front of a question alone.
    assert [len(prompts[0]) for prompts in asked] == 2 * [1, 3, 3]
    assert {len(prompts) for prompts in asked} == {12}
    # What was trained on text is shown texts; the question is of an image.
    for prompts, shown in ((asked[1], "text"), (asked[4], "image")):
        assert [one.input_modality for one in prompts[0]] == [shown, shown, "image"]
        assert [bool(one.answer) for one in prompts[0]] == [True, True, False]
    assert [a[-1].question for a in asked[0]] == [a[-1].question for a in asked[5]]
    told = json.loads(Path("out/few_shot.json").read_text())["runs"]
    assert Path("out/few_shot.md").read_text() == said + "\n"
    for run in (captioners["text"], captioners["images"]):
        assert list(told[run]) == ["0", "2"]
        for one in told[run].values():
            assert 0 <= one["interval"][0] <= one["accuracy"] <= one["interval"][1] <= 100
        assert f"| {run} | {told[run]['0']['accuracy']:.1f} (" in said


def test_a_language_model_that_was_trained_along_is_refused(captioners):
    with pytest.raises(UserError, match=r"its language model was trained.*Use a run with lm\.tuning=frozen"):
        few_shot.run_study(config(f"runs=[{captioners['all']}]"))


def test_captioners_of_a_table_are_asked_questions_of_other_data(captioners):
    with pytest.raises(UserError, match=r"was trained on data=file, which has no questions\. Give data=, one of pict"):
        few_shot.run_study(config(f"runs=[{captioners['table']}]"))
    few_shot.run_study(
        config(f"runs=[{captioners['table']}]", "data=picturebook", "shots=[0,1]", "seeds=1", *SMALL_DATA)
    )
    assert list(json.loads(Path("out/few_shot.json").read_text())["runs"]) == [captioners["table"]]


def test_questions_of_a_table_do_not_stand_answered_before_themselves(captioners):
    rows = []
    for number, colour in enumerate(("red", "blue", "green", "white")):
        Image.new("RGB", (32, 32), colour).save(f"{number}.png")
        rows.append({"text": f"a {colour} box", "file": f"{number}.png", "asks": "Which colour?", "says": colour})
    Path("asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = [
        "data=file",
        "data.path=asked.jsonl",
        "data.image_column=file",
        "data.prompt={asks}",
        "data.target_column=says",
    ]
    runs = f"runs=[{captioners['table']}]"
    with pytest.raises(
        UserError, match=r"data=file split=test: the answered questions come from the same rows\. Give split=val"
    ):
        few_shot.run_study(config(runs, *given))
    few_shot.run_study(config(runs, *given, "split=val", "data.val_share=0.3"))
    with pytest.raises(UserError, match=r"^data=file: which has no questions"):
        few_shot.run_study(config(runs, *given[:3]))
