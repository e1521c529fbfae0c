"""Recipes at work: prompts, schemas, ids; templates that cannot be used; settings that do not fit together."""

import json

import pytest

from close_transfer.core.command_line import compose_config
from close_transfer.core.errors import UserError
from tests.settings import make_recipe
from textgen.config import SynthesizeCaptionsConfig
from textgen.prompts.inputs import RecipeInputs
from textgen.prompts.recipe import Recipe
from textgen.text.hashing import hash_json, to_canonical_json

EXAMPLES = [{"text": "A dog runs.", "keywords": ["dog"]}, {"text": "A cat rests.", "keywords": ["cat"]}]


def settings(**changed):
    return make_recipe(**changed)


def recipe(template, examples=EXAMPLES, **changed):
    return Recipe(settings(**changed), template, examples)


def request(of, keywords=("owl", "tree"), given=None, examples=(1, 0), seed=5, corpus="key"):
    return of.request(corpus, 0, keywords, given or {"label": "true"}, examples, seed)


def test_a_prompt_is_filled_with_all_that_the_request_has():
    of = recipe(
        "{% for one in examples %}\n{{ one.text }} ({{ one.keywords | join(', ') }})\n{% endfor %}\n"
        "{{ num_items }} about {{ keywords | join(' and ') }}, {{ label }}\n",
        items_per_request=2,
    )
    assert of.prompt(request(of)) == "A cat rests. (cat)\nA dog runs. (dog)\n2 about owl and tree, true"


def test_values_are_text_and_never_a_template():
    of = recipe("{{ keywords[0] }} {{ label }}")
    filled = of.prompt(request(of, keywords=("{{ 1/0 }}",), given={"label": "<b> & {% raw %}"}))
    assert filled == "{{ 1/0 }} <b> & {% raw %}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{{ keyword }}",
            r"recipe.template=own.j2: 'keyword' is undefined; a request has examples, keywords, label, num_items",
        ),
        ("{{ examples[0].caption }}", r"has no attribute 'caption'; a request has"),
        ("{{ keywords[7] }}", r"recipe.template=own.j2: .*; a request has"),
        ("{{ keywords + 1 }}", r"recipe.template=own.j2: .*; a request has"),
        ("{{ 1 // 0 }}", r"recipe.template=own.j2: .*; a request has"),
        ("{{ keywords.__class__.__mro__ }}", r"recipe.template=own.j2: .*unsafe.*; a request has"),
        ("{{ ''.__class__.__base__.__subclasses__() }}", r"recipe.template=own.j2: .*unsafe"),
        ("{{ examples[0].update(text='x') }}", r"recipe.template=own.j2: .*(unsafe|safely).*"),
    ],
)
def test_a_template_that_cannot_be_filled_says_what_a_request_has(template, message):
    of = recipe(template)
    with pytest.raises(UserError, match=message):
        of.prompt(request(of))


@pytest.mark.parametrize("template", ["{{ keywords", "{% for a in examples %}", "{% if %}", "{{ 'a' | nofilter }}"])
def test_a_template_with_a_mistake_is_refused_at_once_in_one_line(template):
    with pytest.raises(UserError, match=r"^recipe.template=own.j2: [^\n]*; mend the template$"):
        recipe(template)


def test_the_instructions_are_the_templates_own_words():
    of = recipe("Write {{ num_items }} captions.{% for one in examples %}{{ one.text }}{% endfor %} {{ label }}")
    assert of.instructions.split() == ["Write", "captions."]
    assert recipe("{{ keywords[0] + 1 }} Write.").instructions == ""


def test_schemas_are_what_strict_output_allows():
    one = recipe("", fields={"text": {"description": "a caption"}, "mood": {"values": ["glad", "sad"]}}).schema
    assert one == {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "a caption"},
            "mood": {"type": "string", "enum": ["glad", "sad"]},
        },
        "required": ["text", "mood"],
        "additionalProperties": False,
    }
    several = recipe("", items_per_request=3).schema
    assert several["properties"]["items"]["minItems"] == several["properties"]["items"]["maxItems"] == 3
    assert several["required"] == ["items"] and several["additionalProperties"] is False


def test_an_id_is_of_everything_that_decides_the_answer():
    of = recipe("x")
    ids = [
        request(of).id,
        request(of, keywords=("tree", "owl")).id,
        request(of, given={"label": "false"}).id,
        request(of, examples=(0, 1)).id,
        request(of, seed=6).id,
        request(of, corpus="another").id,
        request(recipe("x", [{**EXAMPLES[0], "text": "A dog ran."}, EXAMPLES[1]])).id,
    ]
    assert len(set(ids)) == len(ids)
    assert request(of).id == request(recipe("x")).id
    assert len(ids[0]) == 24 and int(ids[0], 16)


def test_every_part_of_a_recipe_has_its_own_fingerprint():
    before = recipe("x").fingerprints
    for name, changed in {
        "template": recipe("y"),
        "system message": recipe("x", system="Be brief."),
        "fields": recipe("x", items_per_request=2),
        "examples": recipe("x", EXAMPLES[:1]),
        "balance": recipe("x", balanced_values={"label": ["a", "b"]}),
        "number of keywords": recipe("x", keywords=1),
        "rows": Recipe(settings(), "x", EXAMPLES, [{"a": "b"}]),
    }.items():
        assert [one for one in before if before[one] != changed.fingerprints[one]] == [name]


def test_a_value_has_one_text_whatever_the_order_of_its_keys():
    assert to_canonical_json({"b": [1, "ä"], "a": None}) == '{"a":null,"b":[1,"ä"]}'
    assert hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1}) != hash_json({"a": 1, "b": 3})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fields": {"caption": {}}}, "recipe.fields: one must be `text`"),
        ({"fields": {"text": {}, "id": {}}}, "'id' is a column of every corpus"),
        ({"fields": {"text": {}, "a b": {}}}, "should match pattern"),
        ({"keep_columns": ["text"], "rows": "x.jsonl"}, "'text' is a field of the answer already"),
        ({"keep_columns": ["group"], "rows": "x.jsonl"}, "'group' is a column of every corpus"),
        ({"keep_columns": ["label"]}, "'label' is neither in recipe.balanced_values nor a column of recipe.rows"),
        ({"balanced_values": {"label": []}}, "recipe.balanced_values.label: names no value"),
        ({"must_contain": {"answer": "text"}}, "'answer' is no field; there are text"),
        ({"words": [9, 3]}, r"recipe.words=\[9,3\]: the fewest come first"),
        ({"template": None}, "without a template it filters text that exists; give recipe.rows=FILE"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        settings(**changed)


def prepared(*arguments):
    return RecipeInputs(compose_config("synthesize_captions", SynthesizeCaptionsConfig, arguments))


def test_a_template_and_examples_of_ones_own(tmp_path):
    (tmp_path / "own.j2").write_text("{{ examples[0].text }} / {{ keywords[0] }}")
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(one) + "\n" for one in EXAMPLES))
    of = prepared(f"recipe.template={tmp_path / 'own.j2'}", f"recipe.examples={tmp_path / 'own.jsonl'}").recipe
    assert of.prompt(request(of)) == "A cat rests. / owl"


def test_examples_from_the_references_hold_their_keywords(tmp_path):
    texts = ["A dog chases a red ball.", "It is.", "Two owls sit in a tall tree."]
    (tmp_path / "captions.txt").write_text("\n".join(texts))
    found = prepared("recipe.examples=references", f"references={tmp_path / 'captions.txt'}").recipe.examples
    assert {one["text"] for one in found} == {texts[0], texts[2]}
    assert all(len(one["keywords"]) == 2 for one in found)
    with pytest.raises(UserError, match=r"recipe.examples=references: needs references=FILE"):
        _ = prepared("recipe.examples=references").recipe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recipe.template=none.j2"], r"recipe.template=none.j2: cannot be read"),
        (["recipe=news", "recipe.rows=none.jsonl"], r"recipe.rows=.*none.jsonl: there is no such file"),
        (["recipe.examples=none.jsonl"], r"recipe.examples=.*none.jsonl: there is no such file"),
        (["recipe.examples=[{text: A dog.}]", "recipe=entailment"], r"recipe.examples, number 1: has no 'hypothesis'"),
    ],
)
def test_files_that_are_not_there_or_lack_fields(arguments, message):
    with pytest.raises(UserError, match=message):
        _ = prepared(*arguments).recipe


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"article": ""}', r"row 1: has no text in 'article'; its columns are article"),
        ('{"story": "x"}', r"row 1: has no text in 'article'; its columns are story"),
        ("", r"recipe.rows=.*own.jsonl: the file is empty"),
        ('{"article": "a \\ud83d b"}', r"own.jsonl, line 1"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path, row, message):
    (tmp_path / "own.jsonl").write_text(row)
    with pytest.raises(UserError, match=message):
        _ = prepared("recipe=news", f"recipe.rows={tmp_path / 'own.jsonl'}").recipe
