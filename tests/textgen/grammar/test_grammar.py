"""Grammars: texts, bindings within an item, keywords, and refused files."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from textgen.grammar.grammar import Grammar
from textgen.text.keywords import extract_words, lemmatize

PICTUREBOOK = Path(__file__).parents[3] / "configs/grammars/picturebook.yaml"

FARM = """
origin: written for a test
apart: [[[duck], [red]]]
symbols:
  text: ["{size} {animal} and {size#2} {animal#2}.", "there is a {animal} with a {animal#2}.", "a {animal}, a {animal#2}."]
  animal: {dog: {dog: 3, hound: 1}, owl: 2, duck: 1}
  animals: [dogs, owls, ducks]
  colour: [red, orange, white]
  size: ["a big", "a small"]
  group: ["{many} {animals}", "{animals}"]
  many: [two, several]
"""


def grammar(tmp_path, text=FARM):
    path = tmp_path / "farm.yaml"
    path.write_text(text, encoding="utf-8")
    return Grammar.read(path)


def texts(written_by, num_texts, keywords=(), given=None, seed=0, fields=("text",), num_items=1):
    rng = random.Random(seed)
    return [item for _ in range(num_texts) for item in written_by.write(fields, num_items, keywords, given or {}, rng)]


def test_the_same_seed_writes_the_same_and_another_seed_something_else(tmp_path):
    farm = grammar(tmp_path)
    first = texts(farm, 50, ["owl"])
    assert first == texts(grammar(tmp_path), 50, ["owl"])
    assert first == texts(farm, 50, ["owl"])  # earlier texts do not matter
    assert first != texts(farm, 50, ["owl"], seed=1)


def test_a_name_is_bound_within_an_item_and_numbered_names_differ(tmp_path):
    farm = grammar(tmp_path).extend({"text": "{colour} {colour#2} {colour#3} {colour}", "other": "{colour#2}"})
    for item in texts(farm, 100, fields=("text", "other")):
        first, second, third, repeated = item["text"].split()
        assert first == repeated
        assert {first, second, third} == {"red", "orange", "white"}
        assert item["other"] == second


def test_inner_slots_inherit_the_number_of_the_slot_around_them(tmp_path):
    farm = grammar(tmp_path).extend(
        {"thing": "{colour} {animal}", "text": "{thing#2} | {colour#2} {animal#2} | {colour}"}
    )
    for item in texts(farm, 50):
        whole, parts, other = item["text"].split(" | ")
        assert whole == parts
        assert other != parts.split()[0]


def test_alternatives_follow_their_weights(tmp_path):
    farm = grammar(tmp_path).extend({"text": "{animal}"})
    counts = Counter(item["text"] for item in texts(farm, 7000))
    assert {word: round(count / 1000, 1) for word, count in counts.items()} == {
        "dog": pytest.approx(3, abs=0.2),
        "hound": pytest.approx(1, abs=0.2),
        "owl": pytest.approx(2, abs=0.2),
        "duck": pytest.approx(1, abs=0.2),
    }


def test_articles_capitals_and_spaces_are_corrected(tmp_path):
    farm = grammar(tmp_path).extend(
        {"size": ["", "old"], "text": "a {size} {animal}  sits with a unicorn for a hour .", "word": "a {animal}"}
    )
    for item in texts(farm, 40, fields=("text", "word")):
        assert re.fullmatch(r"(An old \w+|An owl|A (dog|hound|duck)) sits with a unicorn for an hour\.", item["text"])
        assert item["word"] in ("an owl", "a dog", "a hound", "a duck")


def test_incompatible_values_do_not_occur_in_one_scope(tmp_path):
    farm = grammar(tmp_path).extend(
        {"text": "{colour} {animal}", "thing": "{colour} {animal}", "two": "{thing#1} {thing#2}"}
    )
    written = {item["text"] for item in texts(farm, 300)}
    assert "red duck" not in written
    assert {"white duck", "red owl"} <= written
    assert any("red" in item["two"] and "duck" in item["two"] for item in texts(farm, 300, fields=("two",)))


def test_a_dead_end_chooses_another_frame(tmp_path):
    farm = grammar(tmp_path).extend({"colour": "red", "animal": "duck", "text": ["a {colour} {animal}", "a {animal}"]})
    assert {item["text"] for item in texts(farm, 30)} == {"a duck"}
    with pytest.raises(UserError, match=r"apart leaves no value for symbol 'animal'"):
        texts(farm.extend({"text": "a {colour} {animal}"}), 1)


def test_keywords_are_placed_as_synonyms_plurals_and_words_of_frames(tmp_path):
    farm = grammar(tmp_path).extend(
        {"text": ["a {animal} sitting on a {animal#2}", "{group} and a {colour} {animal}", "a {animal}"]}
    )
    for keywords in (
        ["hound"],
        ["dog", "owl"],
        ["sitting", "duck"],
        ["several", "white"],
        ["orange", "owl"],
        ["two", "owl", "hound"],
    ):
        for item in texts(farm, 20, keywords):
            assert set(keywords) <= {lemmatize(word, "en") for word in extract_words(item["text"])}, (keywords, item)


def test_unknown_and_incompatible_keywords_are_left_out(tmp_path):
    farm = grammar(tmp_path).extend({"text": "a {colour} {animal}"})
    assert all("owl" in item["text"] for item in texts(farm, 20, ["owl", "spaceship", "dog"]))
    assert all(item["text"].startswith("a") for item in texts(farm, 20, ["duck", "red"]))


def test_items_of_a_request_describe_one_scene_in_different_words(tmp_path):
    farm = grammar(tmp_path)
    for number in range(20):
        items = [item["text"] for item in farm.write(["text"], 2, [], {}, random.Random(number))]
        assert len(set(items)) == 2
        normalized = [re.sub("hound", "dog", text) for text in items]
        assert len({tuple(sorted(set(extract_words(text)) & {"dog", "owl", "duck"})) for text in normalized}) == 1


def test_variables_of_a_request_fill_slots_and_choose_frames(tmp_path):
    farm = grammar(tmp_path).extend(
        {"text": "{name} feeds a {animal}.", "mood": {"glad": ["{name} smiles."], "sad": ["{name} cries."]}}, ["name"]
    )
    (item,) = farm.write(["mood", "text"], 1, [], {"name": "Ada {Byron}", "feeling": "sad"}, random.Random(0))
    assert list(item) == ["mood", "text"]
    assert item["mood"] == "Ada {Byron} cries."
    assert item["text"].startswith("Ada {Byron} feeds a")
    with pytest.raises(
        UserError, match=r"recipe.grammar.mood: has frames for glad, sad, and the request gives name=Ada"
    ):
        farm.write(["mood", "text"], 1, [], {"name": "Ada"}, random.Random(0))


def test_labels_are_true_by_construction(tmp_path):
    farm = grammar(tmp_path).extend(
        {
            "text": ["a {colour} {animal}.", "there is a {colour} {animal}."],
            "hypothesis": {
                "entailment": ["the {animal} is {colour}.", "the {animal} is not {colour#2}."],
                "contradiction": ["the {animal} is {colour#2}.", "the {animal} is not {colour}."],
            },
        }
    )
    for label in ("entailment", "contradiction"):
        for item in texts(farm, 100, given={"label": label}, fields=("text", "hypothesis")):
            _, is_not, colour = re.fullmatch(r"The (\w+) is (not )?(\w+)\.", item["hypothesis"]).groups()
            is_true = (colour in extract_words(item["text"])) != bool(is_not)
            assert is_true == (label == "entailment"), item


def test_word_frequencies_are_expected_occurrences_of_lemmas(tmp_path):
    farm = grammar(tmp_path).extend({"text": ["the {animal}", "the {animal}", "{animals} {size}"]})
    words = farm.compute_word_frequencies()
    assert words == pytest.approx(
        {
            "owl": 2 / 7 * 2 / 3 + 1 / 9,
            "dog": 3 / 7 * 2 / 3 + 1 / 9,
            "duck": 1 / 7 * 2 / 3 + 1 / 9,
            "hound": 1 / 7 * 2 / 3,
            "big": 1 / 6,
            "small": 1 / 6,
        }
    )
    assert list(words.values()) == sorted(words.values(), reverse=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "symbols: {text: 'a {animl}', animal: [dog]}",
            r"farm.yaml: symbol 'text' has \{animl\}, .* Did you mean \{animal\}\?",
        ),
        ("symbols: {a: 'x {b}', b: 'y {c}', c: '{a#2}'}", r"farm.yaml: symbol 'a' contains itself .*\(a > b > c > a\)"),
        ("symbols: {text: {dog: 0}}", r"symbol 'text': the weight of 'dog' is 0\. Give a number above 0"),
        ("symbols: {text: {dog: {dog: -1}}}", r"the weight of 'dog' is -1"),
        ("symbols: {text: {dog: {'{x}': 1}}}", r"synonyms of 'dog' cannot have slots"),
        ("symbols: {text: [1]}", r"symbol 'text': 1 is not text\. Put it in quotes"),
        ("symbols: {text: []}", r"symbol 'text': is \{\}\. Give a list of alternatives"),
        ("symbols: {text: 'a {dog'}", r"has a brace outside a slot"),
        ("symbols: {a-b: x}", r"symbol 'a-b': cannot be a name\. Use letters"),
        ("symbols: {text: a}\napart: [[a, b]]", r"apart holds \['a', 'b'\]\. Give pairs of lists"),
        ("symbols: {text: a}\nweights: {}", r"holds symbols, weights\. Give `symbols`"),
        ("- a", r"Give `symbols`, and optionally"),
        ("a: [", r"cannot be read as YAML"),
    ],
)
def test_an_invalid_grammar_is_refused_with_file_and_symbol(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        grammar(tmp_path, text)


def test_a_missing_file_and_a_field_without_a_symbol_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"grammar=.*none.yaml: there is no such file"):
        Grammar.read(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"no symbol 'answer', which is a field of the recipe"):
        texts(grammar(tmp_path), 1, fields=("text", "answer"))
    with pytest.raises(UserError, match=r"recipe.grammar: symbol 'text' has \{nam\}.*Did you mean \{name\}"):
        grammar(tmp_path).extend({"text": "{nam} sleeps"}, ["name"])


@pytest.fixture(scope="module")
def picturebook():
    return Grammar.read(PICTUREBOOK)


def test_the_picturebook_grammar_writes_many_well_formed_captions(picturebook):
    written = [item["caption"] for item in texts(picturebook, 3000, fields=("caption",))]
    assert len(set(written)) > 2500
    for text in written:
        assert re.fullmatch(r"[A-Z][a-z, -]+\.", text), text
        assert "  " not in text
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text.lower()), text
        if re.search("kitchen|bedroom", text):
            assert not re.search("bus|coach|horse|pon|house|cottage|star|night|sunset|evening", text), text
        if "black and white p" in text:
            assert not re.search("red|green|blue|yellow|pink|purple|orange|brown", text), text


def test_the_picturebook_grammar_writes_only_pairs_of_the_training_scenes(picturebook):
    """`test-novel` has objects in colours that no training caption has, so the grammar must not write them either."""
    from close_transfer.data.picturebook import world
    from close_transfer.data.picturebook.scenes import is_novel

    written = [item["caption"] for item in texts(picturebook, 3000, fields=("caption",))]
    names = {noun: kind.name for kind in world.KINDS.values() for pair in kind.nouns for noun in pair}
    found = re.findall(
        rf"\b({'|'.join(world.COLOURS)}) ({'|'.join(sorted(names, key=len, reverse=True))})\b", " ".join(written)
    )
    assert len(found) > 1000
    assert not [pair for pair in found if is_novel(names[pair[1]], pair[0])]


def test_the_picturebook_grammar_offers_its_content_words_as_keywords(picturebook):
    words = picturebook.compute_word_frequencies()
    assert {"dog", "red", "beach", "rabbit"} <= set(words)
    assert not {"a", "the", "in", "of"} & set(words)
    for keyword in words:
        (item,) = texts(picturebook, 1, [keyword], fields=("caption",))
        assert keyword in {lemmatize(word, "en") for word in extract_words(item["caption"])}
