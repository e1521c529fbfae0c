"""Parser of real forms of answers: items, and reasons of refusals."""

import pytest

from tests.settings import make_recipe
from textgen.generators.response_parser import Unusable, parse_items

ONE = make_recipe(name="one", template="one.j2", fields={"text": {}})
THREE = make_recipe(name="three", template="three.j2", fields={"text": {}}, items_per_request=3)
PAIR = make_recipe(name="pair", template="pair.j2", fields={"text": {}, "hypothesis": {}})
PAIRS = PAIR.model_copy(update={"items_per_request": 3})
MOOD = make_recipe(
    name="mood", template="mood.j2", fields={"text": {}, "mood": {"values": ["glad", "sad"]}}, items_per_request=3
)

DOG = "A dog runs."


@pytest.mark.parametrize(
    "answer",
    [
        DOG,
        f"  {DOG}\n\n",
        f'"{DOG}"',
        f"“{DOG}”",
        f"1. {DOG}",
        f"- {DOG}",
        "A dog\nruns.",
        f"Here is a caption:\n\n{DOG}",
        f"text: {DOG}",
        f"**text:** {DOG}",
        f'Text: "{DOG}"',
        f"Caption: {DOG}",
        f"**Caption:** {DOG}",
        f"Sentence 1: {DOG}",
        f"Alternative text: {DOG}",
        f"{DOG}\n\nWords: cat, tree\nCaption: A cat climbs a tree.\n\nWords: boat",
        f" {DOG}\nNote: both words are in it.",
        f'{{"text": "{DOG}"}}',
        f'{{"Text": "{DOG}"}}',
        f'{{"caption": "{DOG}"}}',
        f'{{"items": [{{"text": "{DOG}"}}]}}',
        f'{{"result": {{"items": [{{"text": "{DOG}"}}]}}}}',
        f'[{{"caption": "{DOG}"}}]',
        f'["{DOG}"]',
        f'```json\n{{"text": "{DOG}"}}\n```',
        f"```\n{DOG}\n```",
        f'Sure! Here it is: {{"text": "{DOG}"}} Hope that helps.',
        '{"text": "A dog\\n runs."}',
        '{"text": "A d\\u006fg runs.", "confidence": 0.9}',
        f"<think>\nA dog {{runs}}? Or a cat.\n</think>\n\n{DOG}",
        f"Two words. A cat sleeps.\nOr a dog?\n</think>\n{DOG}",  # the chat template wrote the opening tag
        f'<think>a</think> <think>b</think>{{"text": "{DOG}"}}',
        f"[THINK]A cat.[/THINK]{DOG}",
        f"<|channel|>analysis<|message|>A cat.<|end|><|start|>assistant<|channel|>final<|message|>{DOG}",
        f'{{"text": "“{DOG}”"}}',
        f'{{"text": "\\"{DOG}\\""}}',
        f"„{DOG}“",
        f"”{DOG}”",
        f"“{DOG}\"",
        f"‹{DOG}›",  # noqa: RUF001
    ],
)  # fmt: skip
def test_one_text_is_found_in_any_wrapping(answer):
    assert parse_items(answer, ONE) == [{"text": DOG}]


@pytest.mark.parametrize(
    "answer",
    [
        "One dog.\nTwo dogs.\nThree dogs.",
        "1. One dog.\n2. Two dogs.\n3. Three dogs.",
        "1) One dog.\n2) Two dogs.\n\n3) Three dogs.",
        "* One dog.\n* Two dogs.\n* Three dogs.",
        "Here are three captions:\n- One dog.\n- Two dogs.\n- Three dogs.",
        "Of course.\n\n1. One dog.\n2. Two dogs.\n3. Three dogs.\n\nTell me if you want more!",
        "1. **Text:** One dog.\n2. **Text:** Two dogs.\n3. **Text:** Three dogs.",
        "Caption 1: One dog.\nCaption 2: Two dogs.\nCaption 3: Three dogs.",
        "1. Caption: One dog.\n2. Caption: Two dogs.\n3. Caption: Three dogs.",
        '1. "One dog."\n2. "Two dogs."\n3. “Three dogs.”',
        '["One dog.", "Two dogs.", "Three dogs."]',
        '{"captions": ["One dog.", "Two dogs.", "Three dogs."]}',
        '{"items": [{"text": "One dog."}, {"text": "Two dogs."}, {"text": "Three dogs."}]}',
        '{"text": "One dog."}\n{"text": "Two dogs."}\n{"text": "Three dogs."}',
        '{"items": [{"text": "One dog."}, {"text": "Two dogs."}, {"text": "Three dogs."}, {"text": "Four dogs."}]}',
        "One dog.\nTwo dogs.\nThree dogs.\nFour dogs.",
        '{"items": [{"text": "One dog."}, {"text": " "}, 7, {"text": "Two dogs."}, {"text": "Three dogs."}]}',
    ],
)
def test_several_texts_are_found_and_surplus_is_dropped(answer):
    assert [item["text"] for item in parse_items(answer, THREE)] == ["One dog.", "Two dogs.", "Three dogs."]


@pytest.mark.parametrize(
    "answer",
    [
        '{"text": "A dog runs.", "hypothesis": "It rests."}',
        '{"hypothesis": "It rests.", "text": "A dog runs.", "note": "none"}',
        '{"TEXT": "A dog runs.", "Hypothesis": "It rests."}',
        '{"item": {"text": "A dog runs.", "hypothesis": "It rests."}}',
        "text: A dog runs.\nhypothesis: It rests.",
        "Text: A dog runs.\n\nHypothesis: It rests.",
        "**text:** A dog runs.\n**hypothesis:** It rests.",
        "**Text**: A dog runs.\n**Hypothesis**: It rests.",
        "__text__: A dog runs.\n__hypothesis__: It rests.",
        "- text: A dog runs.\n- hypothesis: It rests.",
        '1. text: "A dog runs."\n   hypothesis: "It rests."',
        "Sure:\ntext: A dog runs.\nhypothesis: It rests.\nIs that all?",
        "text:\nA dog runs.\nhypothesis:\nIt rests.",
    ],
)
def test_named_fields_are_found(answer):
    (item,) = parse_items(answer, PAIR)
    assert list(item.items()) == [("text", "A dog runs."), ("hypothesis", "It rests.")]


def test_a_repeated_field_begins_a_new_item():
    answer = "1. text: One.\nhypothesis: Not one.\n2. text: Two.\n3. text: Three.\nhypothesis: Not three."
    assert parse_items(answer, PAIRS) == [
        {"text": "One.", "hypothesis": "Not one."},
        {"text": "Three.", "hypothesis": "Not three."},
    ]


def test_text_is_unchanged():
    for text in (
        "Ein Hund läuft über die Straße.",
        "一只狗在跑。",
        "A dog 🐕 runs.",
        "2 dogs run.",
        "A dog's bone [red] lies {there}.",
        "A sign says [1] on a wall.",
        "'It's mine,' says the man.",
        "“Go” and “stop” are on signs.",
        "“Go” and “stop”",
        'A sign that says "stop" and a "go".',
        "There is text: a note on a wall.",
        "Two texts hang on a wall.",
        "A caption under a picture: a dog.",
        "A sign says: STOP",
    ):
        assert parse_items(text, ONE) == [{"text": text}]
    assert parse_items('{"text": "Zażółć \\"gęślą\\" {jaźń}"}', ONE) == [{"text": 'Zażółć "gęślą" {jaźń}'}]


def test_allowed_values_are_matched_in_any_case():
    answer = '[{"text": "One.", "mood": "SAD"}, {"text": "Two.", "mood": "angry"}, {"text": "Three.", "mood": "glad"}]'
    assert parse_items(answer, MOOD) == [{"text": "One.", "mood": "sad"}, {"text": "Three.", "mood": "glad"}]


@pytest.mark.parametrize(
    ("answer", "recipe", "reason"),
    [
        ("", ONE, "the answer is empty"),
        (" \n```json\n```", ONE, "the answer is empty"),
        ("<think>hm</think>", ONE, "the answer is empty"),
        ("<think>A dog runs.\nA cat", THREE, "it ends inside its reasoning"),
        ('{"text": "“”"}', ONE, "an item has no text in 'text'"),
        ('{"text": "A dog ru', ONE, "its JSON is truncated or broken"),
        ('[{"text": "A dog runs."}, {"text": "A c', THREE, "its JSON is truncated or broken"),
        ('{"text": "A dog runs.",}', ONE, "its JSON is truncated or broken"),
        ("[" * 100_000, ONE, "its JSON is truncated or broken"),
        ("[]", ONE, "its list of items is empty"),
        ('{"items": []}', THREE, "its list of items is empty"),
        ("{}", ONE, "an item has no text in 'text'"),
        ('{"text": null}', ONE, "an item has no text in 'text'"),
        ('{"text": "  "}', ONE, "an item has no text in 'text'"),
        ('{"text": ["A dog runs."]}', ONE, "an item has no text in 'text'"),
        ("[1, 2]", ONE, "an item is a int, not an object"),
        ('["A dog runs."]', PAIR, "an item is a str, not an object"),
        ('{"text": "A dog runs."}', PAIR, "an item has no text in 'hypothesis'"),
        ("text: A dog runs.", PAIR, "no lines name all of text, hypothesis"),
        ("A dog runs. It rests.", PAIR, "no lines name all of text, hypothesis"),
        ('{"text": "A dog.", "mood": "angry"}', MOOD, "mood is 'angry', not one of glad, sad"),
    ],
)
def test_an_unusable_answer_is_refused_with_the_reason(answer, recipe, reason):
    with pytest.raises(Unusable) as caught:
        parse_items(answer, recipe)
    assert str(caught.value) == reason


def test_characters_that_no_file_can_hold_are_replaced():
    assert parse_items('{"text": "A dog \\ud83d runs."}', ONE) == [{"text": "A dog \ufffd runs."}]
    assert parse_items("A dog\0 runs.", ONE) == [{"text": "A dog\ufffd runs."}]
