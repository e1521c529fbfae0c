import json
import random
from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.core.text_normalization import normalize_text
from close_transfer.data.decontamination import check_leakage, exclude_overlap, suggest_overlap_setting
from close_transfer.data.example_kinds import ARTICLES, CAPTIONS, PAIRS, QUESTIONS
from close_transfer.data.examples import Example
from close_transfer.data.leakage import collect_evaluation_texts, collect_training_texts, drop_leaked, find_leaks
from close_transfer.data.sources import load_examples
from tests.data.sources.made import annotation, annotations, data_config, official, questions, write


def counts(training, references):
    leaks = find_leaks(training, references)
    return leaks.num_identical, leaks.num_near


REFERENCE = "A black dog runs across the snow."

IDENTICAL = [
    "a black dog runs across the snow",
    "A  BLACK dog, runs across the snow!",
    "“A black dog” runs across the snow",
]
NEAR = {
    "another order": "Across the snow runs a black dog.",
    "a word missing": "A dog runs across the snow.",
    "a word added": "A big black dog runs across the snow.",
    "a word replaced": "A brown dog runs across the snow.",
    "a repeated word missing": "black dog runs across the snow a a",
}
APART = {
    "two words replaced": "A brown cat runs across the snow.",
    "one replaced and one added": "A big brown dog runs across the snow.",
    "two words missing": "dog runs across the snow",
    "nothing alike": "Two men ride bicycles down a hill.",
    "empty": "",
}


@pytest.mark.parametrize("text", IDENTICAL)
def test_case_punctuation_and_spaces_do_not_hide_a_leak(text):
    assert counts([text], [REFERENCE]) == (1, 0)


@pytest.mark.parametrize("text", NEAR.values(), ids=NEAR)
def test_one_word_of_difference_is_near(text):
    assert counts([text], [REFERENCE]) == (0, 1)
    assert counts([REFERENCE], [text]) == (0, 1)


@pytest.mark.parametrize("text", APART.values(), ids=APART)
def test_more_than_one_word_is_not(text):
    assert counts([text], [REFERENCE]) == (0, 0)


def test_short_texts_count_only_when_identical():
    assert counts(["A dog runs.", "a dog sits"], ["a dog runs", "a dog runs fast here"]) == (1, 0)


def test_compatible_characters_are_the_same():
    assert normalize_text("\uff34\uff57\uff4f “\ufb01ne” dogs…") == "two fine dogs"


def _by_definition(one, other):
    """One word missing, added or replaced, in any order: by removing words from lists, without hashes."""
    one, other = one.split(), other.split()
    if min(len(one), len(other)) < 5 or abs(len(one) - len(other)) > 1:
        return False
    rest = list(other)
    extra = 0
    for word in one:
        if word in rest:
            rest.remove(word)
        else:
            extra += 1
    return extra <= 1 and len(rest) <= 1


def test_signatures_agree_with_the_definition_on_random_texts():
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abcd", k=draw.randint(4, 8))) for _ in range(60)]
    outcomes = {(one, other): counts([one], [other]) for one in texts for other in texts}
    expected = {
        (one, other): (1, 0) if one == other else (0, int(_by_definition(one, other)))
        for one in texts
        for other in texts
    }
    assert outcomes == expected
    assert 100 < sum(near for _, near in outcomes.values()) < 3000


def test_counts_and_first_pairs_are_written_as_json():
    leaks = find_leaks(
        iter([REFERENCE, "something else", *NEAR.values(), REFERENCE]), iter([REFERENCE, REFERENCE.upper()])
    )
    told = leaks.as_dict()
    assert (told["num_training"], told["num_references"], told["num_identical"], told["num_near"]) == (8, 1, 2, 5)
    assert told["examples"][0] == {"kind": "identical", "training": REFERENCE, "reference": REFERENCE}
    assert len(told["examples"]) == 5
    assert len({pair["training"] for pair in told["examples"]}) == 5


def caption(name, *texts, targets=()):
    return Example(name, texts, targets=targets, references=texts)


def test_leaking_captions_are_removed_and_empty_scenes_go():
    examples = [
        caption("both", REFERENCE, "Two men talk."),
        caption("gone", REFERENCE),
        caption("clean", "A cat sleeps on a red sofa."),
        caption("target", "A cat sleeps.", targets=("A cat sleeps.", NEAR["a word added"])),
        caption("no target left", "A cat sleeps.", targets=(REFERENCE,)),
    ]
    before = examples.copy()
    kept, num_removed = drop_leaked(examples, [REFERENCE], CAPTIONS)
    assert [(one.id, one.texts, one.targets) for one in kept] == [
        ("both", ("Two men talk.",), ()),
        ("clean", ("A cat sleeps on a red sofa.",), ()),
        ("target", ("A cat sleeps.",), ("A cat sleeps.",)),
    ]
    assert num_removed == 1 + 1 + 1 + 2
    assert examples == before
    assert counts(collect_training_texts(kept, CAPTIONS), [REFERENCE]) == (0, 0)
    again, num_removed = drop_leaked(kept, [REFERENCE], CAPTIONS)
    assert (list(again), num_removed) == (list(kept), 0)


def test_labels_and_answers_are_not_leaks():
    pair = Example(
        "1", ("A dog runs.",), prompt="An animal moves.", targets=("entailment",), references=("entailment",)
    )
    assert list(collect_training_texts([pair], PAIRS)) == ["A dog runs."]
    assert list(collect_evaluation_texts([pair], PAIRS)) == ["A dog runs."]
    kept, num_removed = drop_leaked([pair], ["entailment"], PAIRS)
    assert (list(kept), num_removed) == ([pair], 0)
    assert list(collect_evaluation_texts([caption("2", "A dog.", "A hound.")], CAPTIONS)) == ["A dog.", "A hound."]
    news = Example("3", ("The mayor speaks.",), targets=("The mayor speaks.",), references=("The mayor speaks.",))
    assert list(collect_training_texts([news], ARTICLES)) == ["The mayor speaks."]


SMALL_TABLE = ["data=file", "data.path=train.txt", "train.max_steps=1"]


def write_lines(name, *texts):
    Path(name).write_text("".join(f"{text}\n" for text in texts))


OTHERS = [f"A {colour} cat sleeps on a {thing}." for colour in ("red", "blue", "old") for thing in ("bed", "box")]


def test_training_leaves_out_the_texts_of_files_and_counts_them():
    write_lines("train.txt", REFERENCE, NEAR["a word added"], *OTHERS)
    write_lines("unwanted.txt", "a black dog runs across the snow")
    Path("more.jsonl").write_text(json.dumps({"sentence1": ["A blue cat sleeps on a bed"]}) + "\n")
    asked = ["exclude_overlap_with=[unwanted.txt,more.jsonl]", "exclude_overlap_column=sentence1", "data.val_share=0.2"]
    clean, counted = exclude_overlap(small_config_of_table(*asked), CAPTIONS, load_training())
    # "A red cat sleeps on a bed", "An old ..." and "a blue cat sleeps on a box" are a word away from the second.
    assert [one.texts[0] for one in clean] == ["A red cat sleeps on a box.", "A old cat sleeps on a box."]
    assert counted == {"texts that are also in unwanted.txt, more.jsonl": 6}


def small_config_of_table(*overrides):
    return compose_config("train", TrainConfig, [*SMALL_TABLE, *overrides])


def load_training():
    texts = Path("train.txt").read_text().splitlines()
    return [caption(str(number), text) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tset", "exclude_overlap_with=tset: there is no such file. Give val, test, or a file of texts"),
        ("x.pdf", r"exclude_overlap_with=x\.pdf: cannot read \.pdf"),
        ("train.txt", r"exclude_overlap_with=train\.txt: no training example would remain\."),
        ("bad.jsonl", r"bad\.jsonl, line 1: not valid JSON .*with data\.on_bad_rows=skip"),
    ],
)
def test_mistakes_in_what_to_leave_out(setting, message):
    write_lines("train.txt", *OTHERS)
    Path("x.pdf").write_text("x")
    Path("bad.jsonl").write_text("{\n")
    with pytest.raises(UserError, match=message):
        exclude_overlap(small_config_of_table(f"exclude_overlap_with={setting}"), CAPTIONS, load_training())


def test_the_advice_names_what_would_remove_the_leaks():
    coco = data_config("coco")
    trained = compose_config("train", TrainConfig, ["data=coco", "data.root=."])
    assert suggest_overlap_setting(trained, coco, "test") == "exclude_overlap_with=test"
    assert (
        suggest_overlap_setting(trained, data_config("coco", "on_missing_image=skip"), "test")
        == "exclude_overlap_with=test"
    )
    assert suggest_overlap_setting(trained, coco, "train") == ""
    without_test = trained.model_copy(update={"exclude_overlap_with": ("test",)})
    assert suggest_overlap_setting(without_test, coco, "test") == ""
    write("nocaps_val_4500_captions.json", {})
    write("snli_1.0_test.jsonl.gz", "")
    assert suggest_overlap_setting(without_test, data_config("nocaps"), "val") == (
        "exclude_overlap_with=[test,nocaps_val_4500_captions.json]"
    )
    assert suggest_overlap_setting(trained, data_config("snli"), "test") == (
        "exclude_overlap_with=snli_1.0_test.jsonl.gz exclude_overlap_column=sentence1"
    )
    assert suggest_overlap_setting(trained, data_config("flickr30k"), "test") == "exclude_overlap_with=FILE"


def test_questions_about_images_are_checked_by_the_captions_of_these_images():
    for split in ("train", "val"):
        asked = [(10, 1, "What runs?"), (20, 2, "What sleeps?"), (30, 3, "Who?")]
        write(f"v2_OpenEnded_mscoco_{split}2014_questions.json", questions(asked))
        answers = [annotation(name, image, ["dog"] * 10) for name, image, _ in asked]
        write(f"v2_mscoco_{split}2014_annotations.json", annotations(answers))
    write("annotations/captions_train2014.json", official({1: [REFERENCE], 2: OTHERS[:1], 3: OTHERS[1:2]}))
    write("annotations/captions_val2014.json", official({1: [REFERENCE.upper()], 2: OTHERS[:1]}))
    trained = compose_config("train", TrainConfig, ["task=vqa", "data=vqa2", "data.root=.", "data.captions_root=."])
    examples = load_examples(trained.data, QUESTIONS, "val", texts_needed=False).examples
    assert not any(example.texts for example in examples)
    told = check_leakage(trained, QUESTIONS, trained.data, "val", examples)
    assert (told["checked"], told["num_references"], told["num_identical"]) == (True, 2, 2)
    told = check_leakage(trained, QUESTIONS, trained.data, "val", examples[:1])
    assert (told["num_references"], told["num_identical"]) == (1, 1)
    Path("annotations/captions_val2014.json").unlink()
    told = check_leakage(trained, QUESTIONS, trained.data, "val", examples)
    assert not told["checked"]
    assert told["reason"].startswith("the evaluation scenes have no text: data.captions.val=")
