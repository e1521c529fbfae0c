"""Filters that read one text: assistant talk, leaked prompts, markup, loops and truncation."""

import pytest

from textgen.corpus.candidate import Candidate
from textgen.filters.assistant_talk import AssistantTalk
from textgen.filters.markup import Markup
from textgen.filters.prompt_leaks import PromptLeaks
from textgen.filters.repetition import Repetition
from textgen.filters.truncated import Truncated


def reason(stage, text, **fields):
    return stage.find_reasons([Candidate("r-0", "r", text, **fields)])[0]


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but I cannot assist with that request.",
        "Sorry, I can't do that.",
        "Unfortunately, I cannot fulfill this request.",
        "I can't write a caption about that.",
        "As an AI language model, I do not have eyes.",
        "Sure! Here is a caption: A dog runs.",
        '"Sure! A dog runs in the park."',
        "Certainly, here is one: a dog.",
        "Certainly.",
        "Here are five captions:",
        "Here's a caption that uses both words: a dog",
        "The caption is: a dog",
        "A dog runs. Let me know if you need more!",
        "Please provide me with the keywords.",
        "This caption contains the keywords dog and park.",
        "This caption uses both given words and is 14 words long.",
        "The words given are dog and park.",
        "A dog runs in the park. (6 words)",
        "(Note that the word dog was inflected.)",
        "It is not possible to create a caption with these words.",
        "Certainly, a dog runs in the park.",
        "Okay, so I need a caption with a dog and a park.",
        "The user wants a caption with a dog.",
        "Here's one: A dog runs in the park.",
        "I've written a caption for you: a dog.",
        "This is a caption about a dog.",
        "A dog, which includes both words.",
        "A dog runs. (Words: dog, park)",
        "Sorry, these words cannot be combined.",
        "N/A - no such words",
        "Here you go: a dog in a park.",
        "This request goes against my guidelines.",
        "Could you give me two words?",
        "A dog in a park, both keywords used.",
    ],
)
def test_assistant_talk_is_removed(text):
    assert reason(AssistantTalk(), text)


@pytest.mark.parametrize(
    "text",
    [
        "I can't see the dog from my kitchen window",
        "I'm sorry I missed the bus, so I walk along the river.",
        "I'm sorry, but I can't continue up the hill on my bike.",
        "I am afraid of the big dog that runs toward me.",
        "I can't help laughing at my cat.",
        "I can't write with this broken pencil.",
        "I won't answer the phone while I cook dinner.",
        "Unfortunately I can't find my keys on the table.",
        "I hope this train comes soon.",
        "I am an air traffic controller in my tower.",
        "Here is my cat on the sofa.",
        "Here are two dogs playing in the snow.",
        "Sure footed goats climb a cliff.",
        "Sorry, we are closed, reads a sign in the shop window.",
        "Certainly the happiest girl eats an apple.",
        "Sure, a bit heavy, but it kept us dry.",
        "It is hard to make a snowman with these gloves.",
        "So I have breakfast with my mother.",
        "I note that the words on the statue are gone.",
        "I would need a ladder to reach that kite.",
        'The words "happy birthday" are written on a cake.',
        "Got it for my mother, who loves it.",
        "Note that the lid does not fit the larger pot.",
        "Four girls (12 years) hold a sign with two words.",
    ],
)
def test_first_person_captions_are_kept(text):
    assert reason(AssistantTalk(), text) is None


def test_assistant_talk_is_found_in_every_field():
    assert reason(AssistantTalk(), "A dog runs.", fields={"answer": "I'm sorry, but I can't help with that."})


PROMPT = """Write one caption for a picture that shows {{ keywords }}. Use {% if plain %}plain{% endif %} words only.
Alternative text:"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Write one caption: for a dog", "write one caption for a"),
        ("a dog in {{ keywords }}", "placeholder"),
        ("a {keywords} dog", "placeholder"),
        ("Keywords: dog, park", "label"),
        ("caption 1: a dog runs", "label"),
        ("A dog.\nText: a cat", "label"),
        ("**Premise:** a dog runs", "label"),
        ('"text": "A dog runs."', "label"),
        ("Option 1: a dog runs", "label"),
        ("My caption: a dog runs", "label"),
        ("Photo caption: a dog runs", "label"),
        ("Final answer: a dog runs", "label"),
        ("Caption (8 to 20 words): a dog runs", "label"),
        ("Assistant: A dog runs.", "label"),
        ("Alternative text: a dog runs", "label"),  # as the template says
        ("A photo of [object] in [place]", "placeholder"),
    ],
)
def test_leaked_parts_of_the_prompt_are_removed(text, why):
    assert why in reason(PromptLeaks(PROMPT, ["premise"]), text)


@pytest.mark.parametrize(
    "text",
    [
        "A picture that shows a dog.",
        "The clock says 12:30.",
        "He shows words only to her.",
        "A text: message",
        "Score: [3] to 2",
    ],
)
def test_fewer_words_of_the_prompt_are_not_a_leak(text):
    assert reason(PromptLeaks(PROMPT, ["premise"]), text) is None


@pytest.mark.parametrize(
    "text",
    [
        "```A dog```", "a <b>dog</b>", "a dog</s>", "<|im_end|> a dog", "see https://example.org", "**A dog** runs",
        "# A dog runs", "- a dog", "\u2022 a dog", "1. A dog", "A dog.\n2) A cat", '{"text": "a dog"}', "a\x07 dog",
        "A dog on a beach #dog #beach", "A dog by @dogs",
        "A *dog* runs", "A _big dog_ runs", '"A dog runs',
        "a dog \ufffd", r"a dog\n\na cat",
    ],
)  # fmt: skip
def test_markup_is_removed(text):
    assert reason(Markup(), text)


@pytest.mark.parametrize(
    "text",
    [
        "2 dogs run.",
        "# 8 for Iowa State runs.",
        "A well-known man - alone - smiles.",
        "A dog's 5.5 m leap, 3 < 4",
        "A shirt reads #1 DAD.",
        '"Stop," says a sign.',
        'A sign says "stop',
        "A 5* hotel, 2 * 3 = 6",
    ],
)
def test_plain_text_is_kept(text):
    assert reason(Markup(), text) is None


@pytest.mark.parametrize(
    "text",
    ["the the the the the", "A dog, a dog, a dog, a dog", "Dog dog. DOG dog", "a man sits on a on a on a on a bench"],
)
def test_loops_are_removed(text):
    assert "4 times in a row" in reason(Repetition(), text)


@pytest.mark.parametrize("text", ["A very, very, very big dog.", "A cat catches a cat.", "Ok Ok Ok, says the sign."])
def test_emphasis_is_kept(text):
    assert reason(Repetition(), text) is None


def test_a_loop_is_found_in_every_field():
    assert reason(Repetition(), "A dog runs.", fields={"answer": "dog dog dog dog"})


def test_english_texts_that_end_with_a_function_word_are_removed():
    assert reason(Truncated("en"), "A man rides a") == 'it ends with "a"'
    assert reason(Truncated("en"), "A man rides a bike and.") is None
    assert reason(Truncated("en"), "A ramp that a boy rides on") is None
    assert reason(Truncated("pt"), "A menina salta e olha para a") is None
    assert reason(Truncated(None), "A man rides a") is None
