"""Words of captions by type and by property, for evaluation folders as a command finds them."""

import json
import shutil
from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.baseline import BaselineConfig
from close_transfer.core.atomic_files import write_json
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import CAPTIONS
from close_transfer.data.sources import load_examples
from close_transfer.pipelines.baseline import evaluate_baseline
from studies.commands import compose_config as compose_study
from studies.config import ScoreByWordTypeConfig
from studies.evaluated_captions import read_evaluated_captions
from studies.word_finders import PicturebookFinder
from studies.word_kinds import KINDS_OF_WORDS
from studies.word_transfer import build_word_table, score_by_word_type
from tests.conftest import SMALL_DATA
from tests.studies.small_wordnet import write_small_wordnet


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Evaluate the nearest training captions; return the folder and the examples."""
    folder = tmp_path_factory.mktemp("evaluated") / "nearest"
    given = [*SMALL_DATA, "device=cpu", "num_bootstrap=20", f"output={folder}"]
    made = compose_config("baseline", BaselineConfig, given)
    evaluate_baseline(made)
    return folder, load_examples(made.data, CAPTIONS, "test").examples


@pytest.fixture
def results(evaluated, tmp_path):
    """Copy the evaluation, so that a test may change it; return the folder and the examples."""
    folder, examples = evaluated
    return shutil.copytree(folder, tmp_path / "nearest"), examples


def cells(table):
    return [line.split(" | ")[1:] for line in table.splitlines()[2:]]


def test_captions_that_say_what_all_references_say_score_100_and_empty_ones_nothing(results):
    folder, examples = results
    said = {example.id: " ".join(example.references) for example in examples}
    lines = [{"id": name, "prediction": text} for name, text in said.items()]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ((*row,),) = cells(build_word_table([folder], 20))
    assert [cell.split()[0] for cell in row] == ["100.0"] * len(KINDS_OF_WORDS)
    others = [{"id": line["id"], "prediction": "an image of a zebra that is magenta"} for line in lines]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in others))
    ((*row,),) = cells(build_word_table([folder], 20))
    assert not any(cell.startswith("100") for cell in row)


def test_a_row_a_folder_a_column_a_kind_of_word(results):
    folder, _ = results
    table = build_word_table([folder, folder], 20)
    assert table.splitlines()[0] == f"| results | {' | '.join(KINDS_OF_WORDS)} |"
    first, second = cells(table)
    assert first == second
    for cell in first:
        value, low, high = (float(part.strip("()|")) for part in cell.replace("to ", "").split()[:3])
        assert 0 <= low <= value <= high <= 100


def test_a_caption_may_hold_any_character_and_damaged_lines_are_named(results):
    folder, examples = results
    lines = [{"id": example.id, "prediction": "a dog\u2028next to a cat"} for example in examples]
    path = folder / "predictions.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    assert set(read_evaluated_captions(folder).captions) == {"a dog\u2028next to a cat"}
    path.write_text('{"id": "test-0"}\n')
    with pytest.raises(UserError, match=r"predictions\.jsonl, line 1: .*prediction.*evaluate again"):
        read_evaluated_captions(folder)


def test_other_results_are_refused(results):
    folder, _ = results
    told = json.loads((folder / "results.json").read_text())
    write_json(folder / "results.json", told | {"task": "vqa"})
    with pytest.raises(UserError, match="has no captions of Picturebook"):
        build_word_table([folder], 20)


def test_the_data_of_the_test_count_where_the_training_had_others(results):
    folder, _ = results
    before = build_word_table([folder], 20)
    told = json.loads((folder / "results.json").read_text())
    ((kind, config),) = [(kind, config) for kind, config in told["config"].items() if config and config.get("data")]
    trained = {"data": {"name": "file", "path": "captions.jsonl"}}
    write_json(folder / "results.json", told | {"config": {"train": trained, kind: config}})
    assert build_word_table([folder], 20) == before


def score(*settings):
    given = ["num_bootstrap=20", "output=words", *settings]
    return score_by_word_type(compose_study("score_by_word_type", ScoreByWordTypeConfig, given))


def test_types_are_written_as_json_and_as_a_page(results):
    folder, _ = results
    shown = score(f"evaluations={folder}")
    assert shown.startswith(build_word_table([folder], 20))
    written = json.loads(Path("words/types.json").read_text())
    assert list(written["evaluations"][0]["types"]) == list(KINDS_OF_WORDS)
    assert "F1 in percent" in Path("words/types.html").read_text()


def test_properties_are_in_the_terminal_in_json_and_on_the_page(results):
    folder, examples = results
    shown = score(f"evaluations={folder}", "analysis=properties", "num_words=5")
    assert "Recall of the 5 most frequent nouns, modifiers and relations" in shown
    assert "note: Nouns have no categories and similarities, because wordnet= is not given. Give a folder" in shown
    assert "Recall by word" not in shown  # on the page only
    (found,) = json.loads(Path("words/properties.json").read_text())["evaluations"]
    assert found["num_images"] == len(examples)
    assert all(len(found["words"][name]) == 5 for name in ("nouns", "modifiers"))
    page = Path("words/properties.html").read_text()
    assert "Recall by word: nouns" in page and found["words"]["nouns"][0]["word"] in page
    assert "clip art" in page and "by category" not in page


@pytest.mark.slow  # importing nltk takes seconds
def test_with_wordnet_nouns_have_categories_and_similarities(results, tmp_path):
    pytest.importorskip("nltk", reason="nltk reads WordNet's files; pip install nltk")
    folder, _ = results
    wordnet = write_small_wordnet(tmp_path / "wordnet")
    shown = score(f"evaluations={folder}", "analysis=properties", f"wordnet={wordnet}")
    assert "Recall of nouns by category" in shown and "Wu-Palmer similarity" in shown and "wordnet= is not" not in shown
    (found,) = json.loads(Path("words/properties.json").read_text())["evaluations"]
    assert {"animals", "other"} <= found["categories"].keys()
    assert "| results | all nouns | " in shown
    assert '<th class="value">category</th>' in Path("words/properties.html").read_text()


def test_properties_of_other_data_than_picturebook_are_measured(results, monkeypatch):
    folder, examples = results
    rows = [{"image": f"{e.id}.png", "text": e.references[0], "all": list(e.references)} for e in examples]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = ["data=file", "data.path=rows.jsonl", "data.references_column=all", "data.image_column=image"]
    data = compose_config("baseline", BaselineConfig, [*table, "output=x"]).data
    names = [example.id for example in load_examples(data, CAPTIONS, "test").examples]
    lines = [{"id": name, "prediction": "A red dog."} for name in names]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = json.loads((folder / "results.json").read_text())
    config = {"baseline": told["config"]["baseline"] | {"data": data.model_dump(mode="json")}}
    write_json(folder / "results.json", told | {"data": "file", "config": config})
    monkeypatch.setattr("studies.word_properties.TaggedFinder", lambda references: PicturebookFinder())
    assert "| 12 |" in score(f"evaluations={folder}", "analysis=properties")
    assert "clip art" not in Path("words/properties.html").read_text()
    with pytest.raises(UserError, match=r"has no captions of Picturebook.*or analysis=properties"):
        score(f"evaluations={folder}")


def test_predictions_that_the_data_no_longer_have_are_refused(results):
    folder, _ = results
    line = json.dumps({"id": "gone", "prediction": "a dog"})
    (folder / "predictions.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=r"no longer has 1 of its images, such as gone\. Evaluate again"):
        build_word_table([folder], 20)


def test_results_that_do_not_say_their_data_are_refused(results):
    folder, _ = results
    told = json.loads((folder / "results.json").read_text())
    write_json(folder / "results.json", told | {"config": {"score": {"references": "x.json"}}})
    with pytest.raises(UserError, match=r"does not say which data it is on\. Give evaluations of eval_image"):
        build_word_table([folder], 20)


def test_wordnet_needs_the_analysis_that_reads_it():
    with pytest.raises(UserError, match="only applies to analysis=properties"):
        score("evaluations=x", "wordnet=here")
