"""Questions, hypotheses and tasks of one's own, from tables and from datasets of the datasets library."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest

from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.predict import PredictConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.inference.transfer_model import TransferModel
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.predict import predict_files
from close_transfer.pipelines.train import train
from close_transfer.tasks import TASKS
from close_transfer.tasks.custom import Custom
from close_transfer.tasks.loading import load_task_examples
from tests.conftest import SMALL_LOOP, SMALL_MODEL

ROWS = [
    {"scene": f"a {colour} {kind} in the {place}", "question": f"What is the {kind}'s colour?", "answers": [colour, colour, "grey"],
     "says": f"There is a {kind}.", "label": "entailment", "topic": "animals" if kind != "boat" else "travel", "photo": n // 2}
    for n, (colour, kind, place) in enumerate(
        (c, k, p) for c in ("red", "blue") for k in ("dog", "cat", "boat") for p in ("snow", "grass")
    )
]  # fmt: skip


def settings(name, *more):
    return ["data=file", f"data.path={name}", "data.text_column=scene", *more]


def loaded(task, split, *more, name="rows.jsonl"):
    config = compose_config("train", TrainConfig, [f"task={task}", *settings(name, *more)])
    return load_task_examples(task, config.data, split).examples


@pytest.fixture(autouse=True)
def rows():
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    datasets.Dataset.from_list(ROWS).to_parquet("rows.parquet")


QUESTIONS = ["data.prompt={question}", "data.target_column=answers"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_rows_become_questions_with_their_answers(name):
    examples = loaded("vqa", "test", *QUESTIONS, name=name)
    assert len(examples) == len(ROWS)
    assert examples[0].texts == ("a red dog in the snow",)
    assert examples[0].prompt == "What is the dog's colour?"
    assert examples[0].references == ("red", "red", "grey")


def test_datasets_serve_the_same_tasks(tmp_path):
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk("saved")
    given = [
        "task=vqa",
        "data=huggingface",
        "data.path=saved",
        "data.text_column=scene",
        "data.splits.test=train",
        *QUESTIONS,
    ]
    config = compose_config("train", TrainConfig, given)
    assert (
        load_task_examples("vqa", config.data, "test").examples[3].prompt == loaded("vqa", "test", *QUESTIONS)[3].prompt
    )
    given[-2] = "data.prompt={querry}"
    with pytest.raises(UserError, match=r"data\.prompt=\{querry\}: saved has no column querry\. Use one of .*question"):
        load_task_examples("vqa", compose_config("train", TrainConfig, given).data, "test")


def test_a_scene_is_held_out_with_all_that_is_asked_of_it():
    photo = {row["scene"]: row["photo"] for row in ROWS}
    for more in ([], ["data.group_column=photo"]):
        train_rows, val = (loaded("vqa", split, *QUESTIONS, *more, "data.val_share=0.3") for split in ("train", "val"))
        assert len(train_rows) + len(val) == len(ROWS) and val
        key = (lambda example: photo[example.texts[0]]) if more else (lambda example: example.texts)
        assert not {key(one) for one in train_rows} & {key(one) for one in val}


ANSWERED = [
    ("1.png", "What?", "dog", "q1"), ("2.png", "What?", "cat", "q3"), ("1.png", "What?", "hound", "q1"),
    ("1.png", "Where?", "snow", "q2"), ("1.png", "What?", "dog", "q1"),
]  # fmt: skip


def test_rows_of_one_image_and_prompt_are_one_example_with_all_their_answers():
    rows = [dict(zip(("file", "ask", "says", "q"), row, strict=True)) for row in ANSWERED]
    Path("flat.jsonl").write_text(
        "".join(json.dumps(row | {"text": f"A text about {row['says']}."}) + "\n" for row in rows)
    )
    given = [
        "data=file",
        "data.path=flat.jsonl",
        "data.prompt={ask}",
        "data.target_column=says",
        "data.image_column=file",
    ]

    def read(*more, joins_rows=True):
        config = compose_config("train", TrainConfig, ["task=vqa", *given, *more])
        return load_task_examples("vqa", config.data, "test", joins_rows=joins_rows)

    loaded = read()
    assert [(e.id, e.image.key, e.prompt, e.references) for e in loaded.examples] == [
        ("line 1", "1.png", "What?", ("dog", "hound", "dog")),
        ("line 2", "2.png", "What?", ("cat",)),
        ("line 4", "1.png", "Where?", ("snow",)),
    ]
    assert loaded.notes[0].startswith(
        "5 rows name 3 images with their prompts: the rows of an image and a prompt are one"
    )
    assert [e.id for e in read("data.id_column=q").examples] == ["q1", "q3", "q2"]
    for more in (["data.id_column=q"], ["data.id_column=q", "data.group_column=says"]):
        with pytest.raises(UserError, match="'q1' is the id of several"):
            read(*more, joins_rows=len(more) > 1)
    # Text is the input of its own row only, and rows of a group stay apart.
    assert len(read(joins_rows=False).examples) == len(read("data.group_column=says").examples) == 5


def test_only_tasks_whose_answers_may_differ_join_rows():
    tasks = [Custom(metric) for metric in ("captions", "text", "vqa", "accuracy")]
    assert [task.has_several_answers for task in tasks] == [True, True, True, False]
    assert (TASKS["vqa"].has_several_answers, TASKS["snli-ve"].has_several_answers) == (True, False)


def test_prompts_are_templates_of_columns():
    (example, *_) = loaded(
        "custom", "test", "data.prompt=Topic of {{{scene}}}, asked {question}:", "data.target_column=topic"
    )
    assert example.prompt == "Topic of {a red dog in the snow}, asked What is the dog's colour?:"
    assert example.targets == example.references == ("animals",)
    assert example.texts == ("a red dog in the snow",)


@pytest.mark.parametrize(
    ("task", "more", "message"),
    [
        ("custom", [], r"data=file: no column is named for the text to write\. Give data\.target_column"),
        ("vqa", ["data.target_column=answers"], r"data=file: the task needs a prompt\. Give data\.prompt=.*\{question\}"),
        ("captioning", ["data.target_column=topic"], r"data\.target_column=topic: captions are learned from data\.text_column alone\. Leave data\.target_column out$"),
        ("captioning", ["data.prompt=Say:"], r"Leave data\.prompt out, or give task\.prompt for words"),
        ("custom", ["data.target_column=topic", "data.prompt={scene"], r"data\.prompt=\{scene: .*Write \{column\}"),
        ("custom", ["data.target_column=topic", "data.prompt=Say {}"], r"names no column"),
        ("custom", ["data.target_column=topic", "data.prompt=What {scene:>20}?"], r"\{scene:>20\} contains a format.*Write \{scene\}"),
        ("custom", ["data.target_column=topic", "data.prompt=What {scene!r}?"], r"\{scene!r\} contains a format.*Write \{scene\}"),
        ("custom", ["data.target_column=topic", "data.prompt={nowhere}"], r"line 1: field 'nowhere' is missing"),
        ("snli-ve", ["data.target_column=topic", "data.prompt={says}"], r"field 'topic' is 'animals'; allowed are entailment"),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_named(task, more, message):
    with pytest.raises(UserError, match=message):
        loaded(task, "test", *more)


def test_damaged_parquet_is_an_error_that_names_the_file():
    Path("bad.parquet").write_bytes(Path("rows.parquet").read_bytes()[:-200])
    with pytest.raises(UserError, match=r"bad\.parquet, row 1: the file is damaged or not Parquet"):
        loaded("vqa", "test", *QUESTIONS, name="bad.parquet")
    with pytest.raises(UserError, match=r"nowhere\.parquet: there is no such file"):
        loaded("vqa", "test", *QUESTIONS, name="nowhere.parquet")


TOPIC = ["task=custom", "task.metric=accuracy", "task.labels=[animals,travel]"]
COLUMNS = ["data.prompt=Asked: {question}", "data.target_column=topic"]


def test_a_custom_task_trains_is_scored_and_answers():
    given = [
        *TOPIC,
        *settings("rows.jsonl", *COLUMNS),
        *SMALL_MODEL,
        *SMALL_LOOP,
        "device=cpu",
        "output=run",
        "clip=picturebook",
    ]
    train(compose_config("train", TrainConfig, given), "text")
    test = ["task=custom", "run=run", "scene=text", "device=cpu", "num_bootstrap=20", *settings("rows.jsonl", *COLUMNS)]
    found = evaluate(compose_config("evaluate", EvaluateConfig, test))
    assert {"accuracy", "accuracy/animals", "accuracy/travel"} <= set(found.scores.metrics)
    assert all(prediction.label in ("animals", "travel") for prediction in found.predictions)
    model = TransferModel.from_pretrained("run", device="cpu")
    assert model.labels == ("animals", "travel")
    told = model.write(texts=["a red dog in the snow"], prompt="Asked: What is the dog's colour?")[0]
    assert told.text == found.predictions[0].text
    np.save("v.npy", model.encoder.encode_texts(["a red dog in the snow"]))
    asked = ["task=custom", "run=run", "embeddings=v.npy", "device=cpu"]
    for prompt, what in (("", "is empty"), ("Asked: {question}", "has braces that are not filled in")):
        with pytest.raises(UserError, match=rf"{what}.*data\.prompt='Asked: {{question}}'\. Give prompt="):
            predict_files(compose_config("predict", PredictConfig, [*asked, f"prompt={prompt}"]))
    predict_files(compose_config("predict", PredictConfig, [*asked, "prompt=Asked: What is {} the dog's colour?"]))
    with pytest.raises(UserError, match=r"task\.labels=animals,trips: the data also have the targets travel\. Add"):
        train(compose_config("train", TrainConfig, [*given, "task.labels=[animals,trips]", "output=other"]), "text")


@pytest.mark.slow
def test_words_that_every_caption_starts_with_are_put_before_it():
    given = [
        "task.prompt=A picture of",
        *settings("rows.jsonl"),
        *SMALL_MODEL,
        *SMALL_LOOP,
        "device=cpu",
        "output=run",
        "lm=gpt2-mini",
    ]
    given = [one for one in given if not one.startswith("lm.config")]
    train(compose_config("train", TrainConfig, given), "text")
    found = evaluate(
        compose_config(
            "evaluate",
            EvaluateConfig,
            [
                "run=run",
                "scene=text",
                "device=cpu",
                "num_bootstrap=5",
                *settings("rows.jsonl", "data.group_column=photo"),
            ],
        )
    )
    assert all(example.prompt == "A picture of" for example in found.examples)
    vectors = TransferModel.from_pretrained("run", device="cpu").encoder.encode_texts(["a red dog"])
    np.save("v.npy", vectors)
    predict_files(compose_config("predict", PredictConfig, ["run=run", "embeddings=v.npy", "device=cpu"]))
    (line,) = Path("predictions.jsonl").read_text().splitlines()
    (here,) = TransferModel.from_pretrained("run", device="cpu").write(embeddings=vectors)
    assert json.loads(line)["scores"] == pytest.approx(here.scores, abs=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["task=vqa", "+task.metric=text"], r"task\.metric only applies to task=custom\. Leave"),
        (["task=custom", "task.labels=[a,b]"], r"task\.metric=captions: labels are scored by accuracy only\. Use"),
        (["task=custom", "task.labels=[a]", "task.metric=accuracy"], r"two or more different answers"),
        (["task=snli-ve", "+task.prompt=x"], r"task\.prompt only applies to task=captioning and task=captioning-multi"),
    ],
)  # fmt: skip
def test_settings_of_another_task_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        compose_config("train", TrainConfig, given)
