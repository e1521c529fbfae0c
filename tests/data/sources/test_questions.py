from collections import Counter

import pytest

from close_transfer.core.errors import UserError
from close_transfer.tasks.vqa import choose_targets
from tests.data.sources.made import annotation, annotations, coco_name, load, official, picture, questions, vqa_e, write

TEN = ["red"] * 6 + ["dark red"] * 3 + [""]
ASKED = [(420, 42, "What colour is it?"), (421, 42, "Is it a dog?"), (70, 7, "How many cats?")]
ANSWERED = [
    annotation(420, 42, TEN),
    annotation(421, 42, ["yes"] * 10, "yes/no", "is it"),
    annotation(70, 7, ["2"] * 10, "number", "how many"),
]
CAPTIONS = {42: ["A red dog.", "A dog runs."], 7: ["Two cats."]}


def write_vqa(split="train", asked=ASKED, answered=ANSWERED, captions=CAPTIONS):
    write(f"v2_OpenEnded_mscoco_{split}2014_questions.json", questions(asked, f"{split}2014"))
    write(f"v2_mscoco_{split}2014_annotations.json", annotations(answered, f"{split}2014"))
    write(f"annotations/captions_{split}2014.json", official(captions, f"{split}2014"))


def test_a_question_has_its_image_s_captions_and_all_ten_answers_as_they_are():
    write_vqa()
    colour, dog, cats = load("vqa2", "vqa", "train").examples
    assert colour.id == "420"
    assert colour.texts == ("A red dog.", "A dog runs.")
    assert colour.prompt == "What colour is it?"
    assert colour.references == tuple(TEN)
    assert (dog.category, dog.subcategory) == ("yes/no", "is it")
    assert cats.texts == ("Two cats.",)


def test_targets_are_what_annotators_agree_on():
    assert choose_targets(TEN) == ("red", "dark red")


def test_images_are_named_by_folder_and_id():
    write_vqa("val")
    picture(f"val2014/{coco_name('val2014', 42)}")
    assert load("vqa2", "vqa", "val").examples[0].image.open().size == (40, 30)


@pytest.mark.parametrize(
    ("subtype", "part"), [("val2014", "val2014"), ("test-dev2015", "test2015"), ("../x", "val2014")]
)
def test_images_are_named_as_the_file_of_questions_says(subtype, part):
    write_vqa("val")
    write("v2_OpenEnded_mscoco_val2014_questions.json", questions(ASKED, subtype))
    assert load("vqa2", "vqa", "val").examples[0].image.key == coco_name(part, 42)


def test_images_without_captions_are_an_error_with_counts_or_left_out_and_counted():
    write_vqa(captions={42: CAPTIONS[42]})
    with pytest.raises(
        UserError, match=r"1 of 3 questions of train are about images without a caption.*data\.on_missing_scene=skip"
    ):
        load("vqa2", "vqa", "train")
    loaded = load("vqa2", "vqa", "train", "on_missing_scene=skip")
    assert [e.id for e in loaded.examples] == ["420", "421"]
    assert loaded.skipped == Counter({"questions whose image has no caption": 1})


def test_captions_of_other_images_altogether_are_an_error_with_any_setting():
    write_vqa(captions={1: ["A bird."]})
    with pytest.raises(UserError, match=r"none of the 3 questions of train is about an image with a caption"):
        load("vqa2", "vqa", "train", "on_missing_scene=skip")


def test_captions_are_not_needed_if_images_are_the_input():
    write_vqa()
    write("annotations/captions_train2014.json", "damaged")
    loaded = load("vqa2", "vqa", "train", texts_needed=False)
    assert [e.texts for e in loaded.examples] == [(), (), ()]


def test_the_test_split_has_no_answers():
    write("v2_OpenEnded_mscoco_test-dev2015_questions.json.gz", questions(ASKED, "test2015"))
    picture(f"test2015/{coco_name('test2015', 7)}")
    loaded = load("vqa2", "vqa", "test", texts_needed=False)
    assert [e.references for e in loaded.examples] == [(), (), ()]
    assert loaded.examples[2].image.open().size == (40, 30)


def test_questions_and_annotations_that_do_not_meet_are_counted():
    write_vqa(answered=[*ANSWERED[:2], annotation(99, 9, TEN)])
    loaded = load("vqa2", "vqa", "train")
    assert len(loaded.examples) == 2
    assert loaded.skipped == Counter({"questions without an annotation": 1, "annotations without a question": 1})


def test_annotations_of_other_questions_altogether_are_an_error():
    write_vqa(answered=[annotation(99, 9, TEN)])
    with pytest.raises(
        UserError, match=r"none of the 3 questions of train has an annotation in data\.annotations\.train="
    ):
        load("vqa2", "vqa", "train")


def test_what_is_unusable_in_any_of_the_files_is_said_and_counted():
    damaged = annotation(421, 42, ["yes"])
    damaged["answers"] = []
    write_vqa(asked=[*ASKED, (71, 7, "")], answered=[ANSWERED[0], damaged, ANSWERED[2]])
    captions = official(CAPTIONS, "train2014")
    captions["annotations"][0]["caption"] = 5
    write("annotations/captions_train2014.json", captions)
    with pytest.raises(UserError, match=r"annotations\[1\]: field 'answers' is an empty list"):
        load("vqa2", "vqa", "train")
    loaded = load("vqa2", "vqa", "train", "on_bad_rows=skip")
    assert [(e.id, e.texts) for e in loaded.examples] == [("420", ("A dog runs.",)), ("70", ("Two cats.",))]
    assert loaded.skipped == Counter(
        {"unusable annotations": 1, "unusable caption entries": 1, "unusable questions": 1, "questions without an annotation": 1}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("questions", r"questions\[3\]: field 'question_id' is '420', which another entry has too"),
        ("annotations", r"annotations\[3\]: field 'question_id' is '420', which another entry has too"),
    ],
)
def test_repeated_ids_are_no_silent_choice(where, message):
    more = {"questions": {"asked": [*ASKED, ASKED[0]]}, "annotations": {"answered": [*ANSWERED, ANSWERED[0]]}}
    write_vqa(**more[where])
    with pytest.raises(UserError, match=message):
        load("vqa2", "vqa", "train")


EXPLAINED = [
    vqa_e(42, "What colour is it?", TEN, "A red dog runs over the grass."),
    vqa_e(7, "How many cats?", ["2"] * 10, "Two cats sleep.", "how many"),
]


def test_vqa_e_takes_the_first_explanation_as_the_scene():
    write("VQA-E_train_set.json", EXPLAINED)
    first, second = load("vqa-e", "vqa-e", "train").examples
    assert first.texts == ("A red dog runs over the grass.",)
    assert (first.prompt, first.references) == ("What colour is it?", tuple(TEN))
    assert (second.category, second.subcategory) == ("", "how many")
    assert first.id != second.id


def test_ids_of_vqa_e_are_places_in_its_file_whatever_the_split():
    write("VQA-E_val_set.json", [EXPLAINED[0], {}, EXPLAINED[1]])
    ids = {
        split: [e.id for e in load("vqa-e", "vqa-e", split, "on_bad_rows=skip").examples] for split in ("val", "test")
    }
    assert ids == {"val": ["0", "2"], "test": ["0", "2"]}


def test_vqa_e_tests_on_its_validation_set():
    write("VQA-E_val_set.json", EXPLAINED)
    picture(f"val2014/{coco_name('val2014', 42)}")
    assert load("vqa-e", "vqa-e", "test").examples[0].image.open().size == (40, 30)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"explanation": []}, r"entry \[1\]: field 'explanation' is an empty list"),
        ({"explanation": [0.71]}, r"entry \[1\]: field 'explanation' is a number \(0\.71\), not text"),
        ({"answers": ["yes", None]}, r"entry \[1\]: field 'answers' is null, not text"),
        ({"answers": "yes"}, r"entry \[1\]: field 'answers' is text, not a list"),
        ({"img_id": None}, r"entry \[1\]: field 'img_id' is null"),
    ],
)
def test_vqa_e_entries_that_cannot_be_used_are_said_or_counted(values, message):
    write("VQA-E_train_set.json", [EXPLAINED[0], EXPLAINED[1] | values])
    with pytest.raises(UserError, match=message):
        load("vqa-e", "vqa-e", "train")
    loaded = load("vqa-e", "vqa-e", "train", "on_bad_rows=skip")
    assert (len(loaded.examples), loaded.num_skipped) == (1, 1)


def test_each_kind_of_questions_is_a_task_of_its_own():
    with pytest.raises(
        UserError, match=r"task=vqa-e: data=vqa2 serves only vqa\. Choose one of these, or one of data=vqa-e"
    ):
        load("vqa2", "vqa-e", "train")
