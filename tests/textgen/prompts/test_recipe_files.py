"""Shipped recipes: settings, templates and examples; each can be written offline."""

import datetime
import json
import random
from pathlib import Path

import pyarrow
import pytest
import yaml
from jinja2 import Environment, StrictUndefined, meta
from pyarrow import parquet

from close_transfer.core.errors import UserError
from tests.settings import make_recipe
from textgen.grammar.grammar import Grammar
from textgen.prompts.recipe_files import read_examples, read_recipe_rows
from textgen.text.keywords import extract_words, lemmatize

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "configs/recipe").glob("*.yaml"))
NAMES = [file.stem for file in FILES]


def recipe(name):
    return make_recipe(**yaml.safe_load((ROOT / f"configs/recipe/{name}.yaml").read_text(encoding="utf-8")))


def rows(settings):
    if settings.rows is None:
        return [{}]
    return [
        json.loads(line) for line in (ROOT / "configs/recipe" / settings.rows).read_text(encoding="utf-8").splitlines()
    ]


def given(settings, number):
    row = rows(settings)[number % len(rows(settings))]
    return {**row, **{name: values[number % len(values)] for name, values in settings.balanced_values.items()}}


def lemmas(text):
    return {lemmatize(word, "en") for word in extract_words(text)}


WRITTEN = [name for name in NAMES if recipe(name).template is not None]


def test_all_styles_exist():
    assert set(NAMES) >= {
        "coco-style", "egocentric", "uplifting", "character", "reviews", "paraphrase-group", "entailment", "vqa", "news",
    }  # fmt: skip
    assert set(NAMES) - set(WRITTEN) == {"reviews"}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_named_after_its_file_and_documented(name):
    settings = recipe(name)
    assert settings.name == name
    assert settings.train.startswith("task=")
    assert settings.licence
    head = (ROOT / f"configs/recipe/{name}.yaml").read_text(encoding="utf-8").split("\nname:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"recipe={name}" in head
    assert "CLOSE" in head


@pytest.mark.parametrize("name", WRITTEN)
def test_examples_have_every_field_and_contain_their_keywords(name):
    settings = recipe(name)
    assert 0 < settings.examples_per_request < len(settings.examples)  # so that they rotate
    for example in settings.examples:
        assert set(settings.fields) <= set(example)
        assert all(isinstance(example[field], str) and example[field] for field in settings.fields)
        assert set(settings.balanced_values) <= set(example)
        assert all(example[variable] in values for variable, values in settings.balanced_values.items())
        assert len(example.get("keywords", ())) == settings.keywords
        assert {lemmatize(word, "en") for word in example.get("keywords", ())} <= lemmas(example["text"]), example
        assert settings.words[0] <= len(example["text"].split()) <= settings.words[1]
        assert len({example[field] for field in settings.must_differ}) == len(settings.must_differ)
        for field, other in settings.must_contain.items():
            assert example[field] in example[other].lower()
    texts = [tuple(example[field] for field in settings.fields) for example in settings.examples]
    assert len(set(texts)) == len(texts)


def test_coco_style_has_enough_examples_to_rotate():
    settings = recipe("coco-style")
    assert len(settings.examples) >= 2 * settings.examples_per_request == 16


@pytest.mark.parametrize("name", WRITTEN)
def test_a_prompt_contains_the_request_and_its_examples(name):
    settings = recipe(name)
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (ROOT / "configs/recipe" / settings.template).read_text(encoding="utf-8")
    shown = list(settings.examples[: settings.examples_per_request])
    variables = {
        **given(settings, 1),
        "keywords": ["lantern", "otter"],
        "examples": shown,
        "num_items": settings.items_per_request,
    }
    prompt = environment.from_string(source).render(variables)
    assert meta.find_undeclared_variables(environment.parse(source)) <= set(variables)
    assert ("lantern, otter" in prompt) == (settings.keywords > 0)
    assert all(example[field] in prompt for example in shown for field in settings.fields)
    assert all(
        value in prompt
        for value in (given(settings, 1)[variable] for variable in (*settings.balanced_values, *settings.keep_columns))
    )
    assert "json" not in prompt.lower()
    if len(settings.fields) > 1:
        assert all(f"{field}: {shown[0][field]}\n" in prompt for field in settings.fields)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_grammar_writes_every_recipe_offline(name):
    settings = recipe(name)
    grammar = Grammar.read(ROOT / "configs/grammars/picturebook.yaml").extend(settings.grammar, given(settings, 0))
    words = grammar.compute_word_frequencies()
    rng = random.Random(0)
    num_held, num_texts, distinct = 0, 0, set()
    for number in range(120):
        keywords = rng.choices(list(words), list(words.values()), k=settings.keywords)
        items = grammar.write(list(settings.fields), settings.items_per_request, keywords, given(settings, number), rng)
        assert len(items) == settings.items_per_request
        for item in items:
            assert list(item) == list(settings.fields)
            assert all(item.values())
            assert not any("{" in value for value in item.values())
            num_texts += 1
            num_held += (any if settings.keywords_present == "any" else all)(
                word in lemmas(item["text"]) for word in keywords
            )
            distinct.add(tuple(item.values()))
            for field, other in settings.must_contain.items():
                assert item[field] in item[other].lower()
            assert len({item[field] for field in settings.must_differ}) == len(settings.must_differ)
    assert num_held >= (0 if settings.keywords_present == "none" else 0.75 * num_texts)
    assert len(distinct) > (20 if name == "news" else 0.7 * num_texts)


def test_style_words_occur_in_texts_of_their_style_only():
    base = Grammar.read(ROOT / "configs/grammars/picturebook.yaml")
    rng = random.Random(0)
    for name, other in (("egocentric", "coco-style"), ("uplifting", "coco-style")):
        marks = set(recipe(name).style_words)

        def share(style, marks=marks):
            grammar = base.extend(recipe(style).grammar)
            texts = [grammar.write(["text"], 1, [], {}, rng)[0]["text"] for _ in range(200)]
            return sum(bool(marks & set(extract_words(text))) for text in texts) / 200

        assert share(name) > 0.8
        assert share(other) == 0


def test_written_questions_are_answered_by_their_scenes():
    settings = recipe("vqa")
    grammar = Grammar.read(ROOT / "configs/grammars/picturebook.yaml").extend(
        settings.grammar, settings.balanced_values
    )
    numbers = {"two", "three", "four"}
    rng = random.Random(0)
    for asked in settings.balanced_values["asked"] * 40:
        (item,) = grammar.write(list(settings.fields), 1, [], {"asked": asked}, rng)
        assert item["question"].endswith("?")
        assert item["answer"] == item["answer"].lower()
        assert item["answer"] in item["text"].lower()
        assert (item["answer"] in numbers) == (asked == "number")
        assert not set(extract_words(item["answer"])) <= set(extract_words(item["question"]))


def test_written_hypotheses_about_colour_have_the_right_label():
    settings = recipe("entailment")
    grammar = Grammar.read(ROOT / "configs/grammars/picturebook.yaml").extend(
        settings.grammar, settings.balanced_values
    )
    colours = {"red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"}
    rng = random.Random(0)
    num_seen = 0
    for label in settings.balanced_values["label"] * 150:
        (item,) = grammar.write(list(settings.fields), 1, [], {"label": label}, rng)
        named_colours = colours & set(extract_words(item["hypothesis"]))
        if not named_colours:
            continue
        num_seen += 1
        holds = named_colours <= set(extract_words(item["text"]))
        negated = bool({"not", "nothing"} & set(extract_words(item["hypothesis"])))
        assert label == ("entailment" if holds != negated else "contradiction"), item
    assert num_seen > 100


def test_a_recipe_without_training_settings_trains_on_captions():
    """Expect a complete printed command, because the trainer refuses data.path= alone."""
    assert make_recipe().train == "task=captioning data=file"


def test_rows_may_be_a_list_of_objects(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"text": "A dog."}, {"text": "A cat."}], indent=1))
    settings = make_recipe(template=None, rows=str(path))
    assert read_recipe_rows(settings, check_text=True) == [{"text": "A dog."}, {"text": "A cat."}]
    path.write_text('[{"text": "A dog."}, "A cat."]')
    with pytest.raises(
        UserError, match=r"rows\.json, entry 2: is not an object with fields\. Give one JSON object per entry"
    ):
        read_recipe_rows(settings, check_text=True)


def test_texts_of_rows_and_examples_are_checked(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,keywords\nhttps://e.org/1.jpg,a\nhttps://e.org/2.jpg,b\n")
    message = (
        r"rows\.csv, column text: 2 of 2 texts are addresses, such as 'https.*'\. Give a file whose column 'text' "
    )
    existing, written = make_recipe(template=None, rows=str(path)), make_recipe(examples=str(path))
    with pytest.raises(UserError, match=message + r"holds sentences, or check_text=false if"):
        read_recipe_rows(existing, check_text=True)
    with pytest.raises(UserError, match=message):
        read_examples(written, (), 0, None, check_text=True)
    assert len(read_recipe_rows(existing, check_text=False)) == 2
    assert len(read_examples(written, (), 0, None, check_text=False)) == 2


def test_rows_of_a_table_under_txt_are_read(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("image,text\n1.jpg,A dog.\n")
    assert read_recipe_rows(make_recipe(template=None, rows=str(path)), True) == [{"image": "1.jpg", "text": "A dog."}]


def test_rows_of_parquet_leave_out_bytes_and_name_dates(tmp_path):
    path = tmp_path / "rows.parquet"
    columns = {"text": ["A dog."], "image": [b"\xff"]}
    parquet.write_table(pyarrow.table(columns), path)
    settings = make_recipe(template=None, rows=str(path))
    assert read_recipe_rows(settings, check_text=True) == [{"text": "A dog."}]
    parquet.write_table(pyarrow.table(columns | {"day": [datetime.date(2026, 1, 2)]}), path)
    with pytest.raises(
        UserError, match=r"line 1: column 'day' holds a date, not text\. Save it as text, or leave it out"
    ):
        read_recipe_rows(settings, check_text=True)
