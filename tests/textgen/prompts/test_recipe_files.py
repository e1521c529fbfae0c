"""The recipes that come along: their settings, templates and examples, and that each can be written offline."""

import json
import random
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment, StrictUndefined, meta

from textgen.config import RecipeSettings
from textgen.grammar.grammar import Grammar
from textgen.text.keywords import extract_words, lemmatize

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "configs/recipe").glob("*.yaml"))
NAMES = [file.stem for file in FILES]


def recipe(name):
    return RecipeSettings(**yaml.safe_load((ROOT / f"configs/recipe/{name}.yaml").read_text(encoding="utf-8")))


def rows(of):
    if of.rows is None:
        return [{}]
    return [json.loads(line) for line in (ROOT / "configs/recipe" / of.rows).read_text(encoding="utf-8").splitlines()]


def given(of, number):
    row = rows(of)[number % len(rows(of))]
    return {**row, **{name: values[number % len(values)] for name, values in of.balanced_values.items()}}


def lemmas(text):
    return {lemmatize(word, "en") for word in extract_words(text)}


WRITTEN = [name for name in NAMES if recipe(name).template is not None]


def test_all_styles_are_there():
    assert set(NAMES) >= {
        "coco-style", "egocentric", "uplifting", "character", "reviews", "paraphrase-group", "entailment", "vqa", "news",
    }  # fmt: skip
    assert set(NAMES) - set(WRITTEN) == {"reviews"}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_named_after_its_file_and_says_what_it_is_and_how_it_trains(name):
    of = recipe(name)
    assert of.name == name
    assert of.train.startswith("task=")
    assert of.licence
    head = (ROOT / f"configs/recipe/{name}.yaml").read_text(encoding="utf-8").split("\nname:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"recipe={name}" in head
    assert "CLOSE" in head


@pytest.mark.parametrize("name", WRITTEN)
def test_examples_have_every_field_and_hold_their_own_keywords(name):
    of = recipe(name)
    assert 0 < of.examples_per_request < len(of.examples)  # so that they rotate
    for example in of.examples:
        assert set(of.fields) <= set(example)
        assert all(isinstance(example[field], str) and example[field] for field in of.fields)
        assert set(of.balanced_values) <= set(example)
        assert all(example[variable] in values for variable, values in of.balanced_values.items())
        assert len(example.get("keywords", ())) == of.keywords
        assert {lemmatize(word, "en") for word in example.get("keywords", ())} <= lemmas(example["text"]), example
        assert of.words[0] <= len(example["text"].split()) <= of.words[1]
        assert len({example[field] for field in of.must_differ}) == len(of.must_differ)
        for field, other in of.must_contain.items():
            assert example[field] in example[other].lower()
    texts = [tuple(example[field] for field in of.fields) for example in of.examples]
    assert len(set(texts)) == len(texts)


def test_coco_style_has_enough_examples_to_rotate():
    of = recipe("coco-style")
    assert len(of.examples) >= 2 * of.examples_per_request == 16


@pytest.mark.parametrize("name", WRITTEN)
def test_a_template_shows_the_request_and_its_examples(name):
    of = recipe(name)
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (ROOT / "configs/recipe" / of.template).read_text(encoding="utf-8")
    shown = list(of.examples[: of.examples_per_request])
    variables = {**given(of, 1), "keywords": ["lantern", "otter"], "examples": shown, "num_items": of.items_per_request}
    prompt = environment.from_string(source).render(variables)
    assert meta.find_undeclared_variables(environment.parse(source)) <= set(variables)
    assert ("lantern, otter" in prompt) == (of.keywords > 0)
    assert all(example[field] in prompt for example in shown for field in of.fields)
    assert all(
        value in prompt for value in (given(of, 1)[variable] for variable in (*of.balanced_values, *of.keep_columns))
    )
    assert "json" not in prompt.lower()
    if len(of.fields) > 1:
        assert all(f"{field}: {shown[0][field]}\n" in prompt for field in of.fields)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_grammar_writes_every_recipe_offline(name):
    of = recipe(name)
    grammar = Grammar.read(ROOT / "configs/grammars/picturebook.yaml").extend(of.grammar, given(of, 0))
    words = grammar.compute_word_frequencies()
    rng = random.Random(0)
    num_held, num_texts, distinct = 0, 0, set()
    for number in range(120):
        keywords = rng.choices(list(words), list(words.values()), k=of.keywords)
        items = grammar.write(list(of.fields), of.items_per_request, keywords, given(of, number), rng)
        assert len(items) == of.items_per_request
        for item in items:
            assert list(item) == list(of.fields)
            assert all(item.values())
            assert not any("{" in value for value in item.values())
            num_texts += 1
            num_held += (any if of.keywords_present == "any" else all)(
                word in lemmas(item["text"]) for word in keywords
            )
            distinct.add(tuple(item.values()))
            for field, other in of.must_contain.items():
                assert item[field] in item[other].lower()
            assert len({item[field] for field in of.must_differ}) == len(of.must_differ)
    assert num_held >= (0 if of.keywords_present == "none" else 0.75 * num_texts)
    assert len(distinct) > (20 if name == "news" else 0.7 * num_texts)


def test_words_of_a_style_mark_its_own_texts():
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
    of = recipe("vqa")
    grammar = Grammar.read(ROOT / "configs/grammars/picturebook.yaml").extend(of.grammar, of.balanced_values)
    numbers = {"two", "three", "four"}
    rng = random.Random(0)
    for asked in of.balanced_values["asked"] * 40:
        (item,) = grammar.write(list(of.fields), 1, [], {"asked": asked}, rng)
        assert item["question"].endswith("?")
        assert item["answer"] == item["answer"].lower()
        assert item["answer"] in item["text"].lower()
        assert (item["answer"] in numbers) == (asked == "number")
        assert not set(extract_words(item["answer"])) <= set(extract_words(item["question"]))


def test_written_hypotheses_about_colour_have_the_right_label():
    of = recipe("entailment")
    grammar = Grammar.read(ROOT / "configs/grammars/picturebook.yaml").extend(of.grammar, of.balanced_values)
    colours = {"red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"}
    rng = random.Random(0)
    num_seen = 0
    for label in of.balanced_values["label"] * 150:
        (item,) = grammar.write(list(of.fields), 1, [], {"label": label}, rng)
        said = colours & set(extract_words(item["hypothesis"]))
        if not said:
            continue
        num_seen += 1
        holds = said <= set(extract_words(item["text"]))
        negated = bool({"not", "nothing"} & set(extract_words(item["hypothesis"])))
        assert label == ("entailment" if holds != negated else "contradiction"), item
    assert num_seen > 100


def test_a_recipe_that_does_not_say_how_it_trains_trains_on_captions():
    """The printed command must be whole: data.path= alone is refused by the trainer."""
    unsaid = yaml.safe_load((ROOT / "configs/recipe_defaults.yaml").read_text(encoding="utf-8"))
    own = RecipeSettings(name="own", template="own.j2", fields={"text": {}})
    assert own.train == unsaid["train"] == "task=captioning data=file"
