"""Recipes: prompts, schemas, ids, invalid templates and inconsistent settings."""

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


def make_request(recipe, keywords=("owl", "tree"), given=None, examples=(1, 0), seed=5, corpus="key"):
    return recipe.make_request(corpus, 0, keywords, given or {"label": "true"}, examples, seed)


def test_a_prompt_is_filled_with_the_requests_inputs():
    made = recipe(
        "{% for one in examples %}\n{{ one.text }} ({{ one.keywords | join(', ') }})\n{% endfor %}\n"
        "{{ num_items }} about {{ keywords | join(' and ') }}, {{ label }}\n",
        items_per_request=2,
    )
    assert made.render_prompt(make_request(made)) == "A cat rests. (cat)\nA dog runs. (dog)\n2 about owl and tree, true"


def test_values_are_text_and_never_a_template():
    made = recipe("{{ keywords[0] }} {{ label }}")
    filled = made.render_prompt(make_request(made, keywords=("{{ 1/0 }}",), given={"label": "<b> & {% raw %}"}))
    assert filled == "{{ 1/0 }} <b> & {% raw %}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{{ keyword }}",
            r"recipe.template=own.j2: 'keyword' is undefined\. Use the variables of a request: examples, keywords, label, num_items",
        ),
        ("{{ examples[0].caption }}", r"has no attribute 'caption'\. Use the variables of a request"),
        ("{{ keywords[7] }}", r"recipe.template=own.j2: .*\. Use the variables of a request"),
        ("{{ keywords + 1 }}", r"recipe.template=own.j2: .*\. Use the variables of a request"),
        ("{{ 1 // 0 }}", r"recipe.template=own.j2: .*\. Use the variables of a request"),
        ("{{ keywords.__class__.__mro__ }}", r"recipe.template=own.j2: .*unsafe.*\. Use the variables of a request"),
        ("{{ ''.__class__.__base__.__subclasses__() }}", r"recipe.template=own.j2: .*unsafe"),
        ("{{ examples[0].update(text='x') }}", r"recipe.template=own.j2: .*(unsafe|safely).*"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_refused_with_the_known_variables(template, message):
    made = recipe(template)
    with pytest.raises(UserError, match=message):
        made.render_prompt(make_request(made))


@pytest.mark.parametrize("template", ["{{ keywords", "{% for a in examples %}", "{% if %}", "{{ 'a' | nofilter }}"])
def test_an_invalid_template_is_refused_in_one_line(template):
    with pytest.raises(UserError, match=r"^recipe.template=own.j2: [^\n]*\. Correct the template$"):
        recipe(template)


def test_instructions_are_the_templates_own_words():
    made = recipe("Write {{ num_items }} captions.{% for one in examples %}{{ one.text }}{% endfor %} {{ label }}")
    assert made.instructions.split() == ["Write", "captions."]
    assert recipe("{{ keywords[0] + 1 }} Write.").instructions == ""


def test_schemas_fit_strict_structured_output():
    single = recipe("", fields={"text": {"description": "a caption"}, "mood": {"values": ["glad", "sad"]}}).schema
    assert single == {
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


def test_an_id_depends_on_everything_that_decides_the_answer():
    made = recipe("x")
    ids = [
        make_request(made).id,
        make_request(made, keywords=("tree", "owl")).id,
        make_request(made, given={"label": "false"}).id,
        make_request(made, examples=(0, 1)).id,
        make_request(made, seed=6).id,
        make_request(made, corpus="another").id,
        make_request(recipe("x", [{**EXAMPLES[0], "text": "A dog ran."}, EXAMPLES[1]])).id,
    ]
    assert len(set(ids)) == len(ids)
    assert make_request(made).id == make_request(recipe("x")).id
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
        assert [part for part in before if before[part] != changed.fingerprints[part]] == [name]


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    assert to_canonical_json({"b": [1, "ä"], "a": None}) == '{"a":null,"b":[1,"ä"]}'
    assert hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1}) != hash_json({"a": 1, "b": 3})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fields": {"caption": {}}}, "recipe.fields: has no `text`"),
        ({"fields": {"text": {}, "id": {}}}, "'id' is a column of every corpus"),
        ({"fields": {"text": {}, "a b": {}}}, "should match pattern"),
        ({"keep_columns": ["text"], "rows": "x.jsonl"}, "'text' is a field of the answer already"),
        ({"keep_columns": ["group"], "rows": "x.jsonl"}, "'group' is a column of every corpus"),
        ({"keep_columns": ["label"]}, "'label' is neither in recipe.balanced_values nor a column of recipe.rows"),
        ({"balanced_values": {"label": []}}, "recipe.balanced_values.label: has no value"),
        ({"must_contain": {"answer": "text"}}, "'answer' is not a field. Use one of text"),
        ({"words": [9, 3]}, r"recipe.words=\[9,3\]: is not a range\. Give the smaller number first"),
        ({"template": None}, "without a template it filters existing text. Give recipe.rows=FILE"),
    ],
)
def test_inconsistent_settings_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        settings(**changed)


def make_inputs(*arguments):
    return RecipeInputs(compose_config("synthesize_captions", SynthesizeCaptionsConfig, arguments))


def test_a_users_template_and_examples_are_used(tmp_path):
    (tmp_path / "own.j2").write_text("{{ examples[0].text }} / {{ keywords[0] }}")
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(example) + "\n" for example in EXAMPLES))
    made = make_inputs(f"recipe.template={tmp_path / 'own.j2'}", f"recipe.examples={tmp_path / 'own.jsonl'}").recipe
    assert made.render_prompt(make_request(made)) == "A cat rests. / owl"


def test_examples_from_references_contain_their_keywords(tmp_path):
    texts = ["A dog chases a red ball.", "It is.", "Two owls sit in a tall tree."]
    (tmp_path / "captions.txt").write_text("\n".join(texts))
    examples = make_inputs("recipe.examples=references", f"references={tmp_path / 'captions.txt'}").recipe.examples
    assert {example["text"] for example in examples} == {texts[0], texts[2]}
    assert all(len(example["keywords"]) == 2 for example in examples)
    with pytest.raises(UserError, match=r"recipe.examples=references: needs reference texts .*Give references=FILE"):
        _ = make_inputs("recipe.examples=references").recipe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recipe.template=none.j2"], r"recipe.template=none.j2: cannot be read"),
        (["recipe=news", "recipe.rows=none.jsonl"], r"recipe.rows=.*none.jsonl: there is no such file"),
        (["recipe.examples=none.jsonl"], r"recipe.examples=.*none.jsonl: there is no such file"),
        (["recipe.examples=[{text: A dog.}]", "recipe=entailment"], r"recipe.examples, number 1: has no 'hypothesis'"),
    ],
)
def test_missing_files_and_fields_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        _ = make_inputs(*arguments).recipe


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"article": ""}', r"row 1: has no text in column 'article'; its columns are article"),
        ('{"story": "x"}', r"row 1: has no text in column 'article'; its columns are story"),
        ("", r"recipe.rows=.*own.jsonl: the file is empty"),
        ('{"article": "a \\ud83d b"}', r"own.jsonl, line 1"),
    ],
)
def test_unusable_rows_are_refused(tmp_path, row, message):
    (tmp_path / "own.jsonl").write_text(row)
    with pytest.raises(UserError, match=message):
        _ = make_inputs("recipe=news", f"recipe.rows={tmp_path / 'own.jsonl'}").recipe
