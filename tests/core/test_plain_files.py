"""YAML files of others: plain values only, and names that are parts of a path."""

import pytest

from close_transfer.core.command_line import CONFIGS, CliExtensions, compose_config
from close_transfer.core.errors import UserError
from close_transfer.core.plain_files import check_plain_file
from studies.config import RunStudyConfig
from tests.settings import make_recipe
from textgen.config import SynthesizeCaptionsConfig

# Ten lists, each of ten times the one before: a file of 0.5 kB that grows to a thousand million values.
ALIASES = ", ".join(["l0: &l0 [a]", *(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10))])
# As many pairs, by merge keys.
MERGES = ", ".join(
    ["l0: &l0 {a: 1}", *(f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}" for n in range(1, 10))]
)
RECIPE = "name: own\ntemplate: own.j2\nfields: {text: {}}\n"


def compose(folder, *arguments):
    """Compose the settings with the recipes of a folder and the shipped ones."""
    extensions = CliExtensions(config_folders=(folder, CONFIGS))
    return compose_config("synthesize_captions", SynthesizeCaptionsConfig, arguments, extensions)


def write_recipe(folder, text, name="own"):
    path = folder / "recipe" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("system: 'Key ${oc.env:PLANTED}'", r"holds Key \$\{oc\.env:PLANTED\} at system, and a file of others"),
        ('system: "\\x24{oc.env:PLANTED}"', r"holds \$\{oc\.env:PLANTED\} at system"),
        (
            "grammar: {text: ['a ${base_url}']}",
            r"holds a \$\{base_url\} at grammar\.text\[0\], and a file of others must not read",
        ),
        ("grammar: {'${oc.env:PLANTED}': a}", r"holds \$\{oc\.env:PLANTED\} at grammar\.\$\{oc\.env:PLANTED\}"),
        ("# @package _global_", r"has a `@package` header or a defaults list, .*\. Remove it"),
        ("# @mode x\x85# @package _global_", r"has a `@package` header or a defaults list"),
        ("# @mode x\u2028# @package _global_", r"has a `@package` header or a defaults list"),
        ("defaults: [/fragments/hydra]", r"has a `@package` header or a defaults list"),
        ("<<: {defaults: [/fragments/hydra]}", r"has a `@package` header or a defaults list"),
        ("grammar: &x {a: [*x]}", r"holds more than 100,000 values, or more than 50 .*\. Shorten the file"),
        (f"grammar: {{{ALIASES}}}", r"holds more than 100,000 values"),
        (f"grammar: {{{MERGES}}}", r"holds more than 100,000 values"),
        ("rows: ../secret.jsonl", r"names the file \.\./secret\.jsonl at rows, .*or give recipe\.rows=PATH"),
        ("examples: /etc/passwd", r"names the file /etc/passwd at examples"),
        ("examples: C:\\secret.jsonl", r"names the file C:\\secret\.jsonl at examples"),
        ("rows: ~/secret.jsonl", r"names the file ~/secret\.jsonl at rows"),
        ("rows: [", r"cannot be read as YAML .*\. Correct the file"),
    ],
)
def test_a_recipe_that_reads_anything_else_is_refused(more, message, tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED", "sk-planted-4f1b9c7e2a60d853")
    write_recipe(tmp_path, f"{RECIPE}{more}\n")
    with pytest.raises(UserError, match=f"^recipe=own: {tmp_path}/recipe/own.yaml {message}") as caught:
        compose(tmp_path, "recipe=own")
    assert "sk-planted" not in str(caught.value)


def test_the_default_recipe_is_checked_too(tmp_path):
    write_recipe(tmp_path, RECIPE + "system: ${seed}\n", "coco-style")
    with pytest.raises(UserError, match=r"recipe=coco-style: .* at system"):
        compose(tmp_path)


def test_a_plain_recipe_is_used_as_it_is(tmp_path):
    write_recipe(tmp_path, RECIPE + "system: costs $5 {a}\nrows: rows/own.jsonl\n")
    recipe = compose(tmp_path, "recipe=own", "recipe.examples=/elsewhere/examples.jsonl").recipe
    assert (recipe.system, recipe.rows, recipe.examples) == (
        "costs $5 {a}",
        "rows/own.jsonl",
        "/elsewhere/examples.jsonl",
    )


def test_every_shipped_recipe_is_plain():
    recipes = sorted((CONFIGS / "recipe").glob("*.yaml"))
    assert recipes
    for path in recipes:
        check_plain_file(path, f"recipe={path.stem}", ("template", "rows", "examples"))


@pytest.mark.parametrize("name", ["../../../x", "/x", "a/b", "..", ".", ".x", "a\\b", "", "a b", "-x", "x" * 101, "~x"])
def test_a_name_does_not_lead_to_another_folder(name, tmp_path):
    with pytest.raises(ValueError, match=r"name\n.*cannot be a part of a path\. Use up to 100 letters"):
        make_recipe(name=name)
    with pytest.raises(ValueError, match=r"name\n.*cannot be a part of a path"):
        RunStudyConfig.model_validate({"name": name})


@pytest.mark.parametrize("name", ["coco-style", "a.b_c-1", "für-kinder", "x" * 100])
def test_usual_names_are_kept(name):
    assert make_recipe(name=name).name == name


@pytest.mark.parametrize(
    "train", ["a=b; touch x", "a=$(id)", "a=`id`", "a=b\nid", "a=b && id", "id", "a=b > c", "a='b"]
)
def test_a_recipe_adds_no_command_to_the_printed_one(train):
    with pytest.raises(ValueError, match=r"recipe\.train=.*: is not a list of settings"):
        make_recipe(train=train)


def test_settings_with_quotes_stay_in_the_printed_command():
    train = 'task=custom data=file data.prompt="Is it {a}; or b?" data.target_column=text'
    assert make_recipe(train=train).train == train
