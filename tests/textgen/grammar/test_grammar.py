"""Grammars: what they write, what stays the same within an item, and what they refuse."""

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


def texts(of, num_texts, keywords=(), given=None, seed=0, fields=("text",), num_items=1):
    rng = random.Random(seed)
    return [item for _ in range(num_texts) for item in of.write(fields, num_items, keywords, given or {}, rng)]


def test_the_same_seed_writes_the_same_and_another_seed_something_else(tmp_path):
    of = grammar(tmp_path)
    first = texts(of, 50, ["owl"])
    assert first == texts(grammar(tmp_path), 50, ["owl"])
    assert first == texts(of, 50, ["owl"])  # nor does what was written before matter
    assert first != texts(of, 50, ["owl"], seed=1)


def test_a_name_stays_what_it_is_within_an_item_and_numbered_ones_differ(tmp_path):
    of = grammar(tmp_path).extended({"text": "{colour} {colour#2} {colour#3} {colour}", "other": "{colour#2}"})
    for item in texts(of, 100, fields=("text", "other")):
        one, two, three, again = item["text"].split()
        assert one == again
        assert {one, two, three} == {"red", "orange", "white"}
        assert item["other"] == two


def test_slots_inside_belong_to_the_numbered_slot_around_them(tmp_path):
    of = grammar(tmp_path).extended(
        {"thing": "{colour} {animal}", "text": "{thing#2} | {colour#2} {animal#2} | {colour}"}
    )
    for item in texts(of, 50):
        whole, parts, other = item["text"].split(" | ")
        assert whole == parts
        assert other != parts.split()[0]


def test_weights_are_kept(tmp_path):
    of = grammar(tmp_path).extended({"text": "{animal}"})
    counts = Counter(item["text"] for item in texts(of, 7000))
    assert {word: round(count / 1000, 1) for word, count in counts.items()} == {
        "dog": pytest.approx(3, abs=0.2),
        "hound": pytest.approx(1, abs=0.2),
        "owl": pytest.approx(2, abs=0.2),
        "duck": pytest.approx(1, abs=0.2),
    }


def test_articles_capitals_and_spaces(tmp_path):
    of = grammar(tmp_path).extended(
        {"size": ["", "old"], "text": "a {size} {animal}  sits with a unicorn for a hour .", "word": "a {animal}"}
    )
    for item in texts(of, 40, fields=("text", "word")):
        assert re.fullmatch(r"(An old \w+|An owl|A (dog|hound|duck)) sits with a unicorn for an hour\.", item["text"])
        assert item["word"] in ("an owl", "a dog", "a hound", "a duck")


def test_values_that_keep_apart_do_not_meet_in_one_scope(tmp_path):
    of = grammar(tmp_path).extended(
        {"text": "{colour} {animal}", "thing": "{colour} {animal}", "two": "{thing#1} {thing#2}"}
    )
    written = {item["text"] for item in texts(of, 300)}
    assert "red duck" not in written
    assert {"white duck", "red owl"} <= written
    assert any("red" in item["two"] and "duck" in item["two"] for item in texts(of, 300, fields=("two",)))


def test_a_frame_gives_way_to_another_where_nothing_is_left(tmp_path):
    of = grammar(tmp_path).extended({"colour": "red", "animal": "duck", "text": ["a {colour} {animal}", "a {animal}"]})
    assert {item["text"] for item in texts(of, 30)} == {"a duck"}
    with pytest.raises(UserError, match=r"apart leaves no value for symbol 'animal'"):
        texts(of.extended({"text": "a {colour} {animal}"}), 1)


def test_keywords_are_put_in_also_as_synonyms_plurals_and_words_of_frames(tmp_path):
    of = grammar(tmp_path).extended(
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
        for item in texts(of, 20, keywords):
            assert set(keywords) <= {lemmatize(word, "en") for word in extract_words(item["text"])}, (keywords, item)


def test_keywords_it_does_not_know_or_cannot_put_together_are_left_out(tmp_path):
    of = grammar(tmp_path).extended({"text": "a {colour} {animal}"})
    assert all("owl" in item["text"] for item in texts(of, 20, ["owl", "spaceship", "dog"]))
    assert all(item["text"].startswith("a") for item in texts(of, 20, ["duck", "red"]))


def test_items_of_a_request_tell_of_one_scene_in_different_words(tmp_path):
    of = grammar(tmp_path)
    for number in range(20):
        items = [item["text"] for item in of.write(["text"], 2, [], {}, random.Random(number))]
        assert len(set(items)) == 2
        told = [re.sub("hound", "dog", text) for text in items]
        assert len({tuple(sorted(set(extract_words(text)) & {"dog", "owl", "duck"})) for text in told}) == 1


def test_variables_of_the_request_are_symbols_and_choose_frames(tmp_path):
    of = grammar(tmp_path).extended(
        {"text": "{name} feeds a {animal}.", "mood": {"glad": ["{name} smiles."], "sad": ["{name} cries."]}}, ["name"]
    )
    (item,) = of.write(["mood", "text"], 1, [], {"name": "Ada {Byron}", "feeling": "sad"}, random.Random(0))
    assert list(item) == ["mood", "text"]
    assert item["mood"] == "Ada {Byron} cries."
    assert item["text"].startswith("Ada {Byron} feeds a")
    with pytest.raises(
        UserError, match=r"recipe.grammar.mood: has frames for glad, sad, and the request gives name=Ada"
    ):
        of.write(["mood", "text"], 1, [], {"name": "Ada"}, random.Random(0))


def test_labels_are_true_by_construction(tmp_path):
    of = grammar(tmp_path).extended(
        {
            "text": ["a {colour} {animal}.", "there is a {colour} {animal}."],
            "hypothesis": {
                "entailment": ["the {animal} is {colour}.", "the {animal} is not {colour#2}."],
                "contradiction": ["the {animal} is {colour#2}.", "the {animal} is not {colour}."],
            },
        }
    )
    for label in ("entailment", "contradiction"):
        for item in texts(of, 100, given={"label": label}, fields=("text", "hypothesis")):
            _, is_not, colour = re.fullmatch(r"The (\w+) is (not )?(\w+)\.", item["hypothesis"]).groups()
            is_true = (colour in extract_words(item["text"])) != bool(is_not)
            assert is_true == (label == "entailment"), item


def test_words_are_lemmas_with_how_often_a_text_holds_them(tmp_path):
    of = grammar(tmp_path).extended({"text": ["the {animal}", "the {animal}", "{animals} {size}"]})
    words = of.words()
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
            r"farm.yaml: symbol 'text' has \{animl\}, .* did you mean \{animal\}\?",
        ),
        ("symbols: {a: 'x {b}', b: 'y {c}', c: '{a#2}'}", r"farm.yaml: symbol 'a' holds itself .*\(a > b > c > a\)"),
        ("symbols: {text: {dog: 0}}", r"symbol 'text': the weight of 'dog' is 0; give a number above 0"),
        ("symbols: {text: {dog: {dog: -1}}}", r"the weight of 'dog' is -1"),
        ("symbols: {text: {dog: {'{x}': 1}}}", r"synonyms of 'dog' hold no slots"),
        ("symbols: {text: [1]}", r"symbol 'text': 1 is no text; put it in quotes"),
        ("symbols: {text: []}", r"symbol 'text': is \{\}; give a list of alternatives"),
        ("symbols: {text: 'a {dog'}", r"has a brace that is no slot"),
        ("symbols: {a-b: x}", r"symbol 'a-b': a name is letters"),
        ("symbols: {text: a}\napart: [[a, b]]", r"apart holds \['a', 'b'\]; give pairs of lists"),
        ("symbols: {text: a}\nweights: {}", r"holds symbols, weights; a grammar has `symbols`"),
        ("- a", r"a grammar has `symbols`"),
        ("a: [", r"cannot be read as YAML"),
    ],
)
def test_what_is_no_grammar_is_refused_by_file_and_symbol(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        grammar(tmp_path, text)


def test_a_file_that_is_not_there_and_a_field_that_is_no_symbol(tmp_path):
    with pytest.raises(UserError, match=r"grammar=.*none.yaml: there is no such file"):
        Grammar.read(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"no symbol 'answer', which is a field of the recipe"):
        texts(grammar(tmp_path), 1, fields=("text", "answer"))
    with pytest.raises(UserError, match=r"recipe.grammar: symbol 'text' has \{nam\}.*did you mean \{name\}"):
        grammar(tmp_path).extended({"text": "{nam} sleeps"}, ["name"])


@pytest.fixture(scope="module")
def picturebook():
    return Grammar.read(PICTUREBOOK)


def test_picturebooks_grammar_writes_many_captions_and_nothing_out_of_place(picturebook):
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


def test_picturebooks_grammar_keeps_to_the_pairs_of_the_training_scenes(picturebook):
    """`test-novel` asks for things in colours that no training caption has; written ones must not give them away."""
    from close_transfer.data.picturebook import world
    from close_transfer.data.picturebook.scenes import is_novel

    written = [item["caption"] for item in texts(picturebook, 3000, fields=("caption",))]
    names = {noun: kind.name for kind in world.KINDS.values() for pair in kind.nouns for noun in pair}
    found = re.findall(
        rf"\b({'|'.join(world.COLOURS)}) ({'|'.join(sorted(names, key=len, reverse=True))})\b", " ".join(written)
    )
    assert len(found) > 1000
    assert not [pair for pair in found if is_novel(names[pair[1]], pair[0])]


def test_picturebooks_grammar_offers_its_content_words_as_keywords(picturebook):
    words = picturebook.words()
    assert {"dog", "red", "beach", "rabbit"} <= set(words)
    assert not {"a", "the", "in", "of"} & set(words)
    for keyword in words:
        (item,) = texts(picturebook, 1, [keyword], fields=("caption",))
        assert keyword in {lemmatize(word, "en") for word in extract_words(item["caption"])}
