"""Tests of F1 by type of word, for evaluation folders on Picturebook."""

import json

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.baseline import BaselineConfig
from close_transfer.core.atomic_files import write_json
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import CAPTIONS
from close_transfer.data.sources import load_examples
from close_transfer.pipelines.baseline import evaluate_baseline
from studies.word_kinds import KINDS_OF_WORDS
from studies.word_transfer import build_word_table
from tests.conftest import SMALL_DATA


@pytest.fixture
def results(tmp_path):
    """Evaluate the nearest training captions; return the folder and the examples."""
    folder = tmp_path / "nearest"
    given = [*SMALL_DATA, "device=cpu", "num_bootstrap=20", f"output={folder}"]
    made = compose_config("baseline", BaselineConfig, given)
    evaluate_baseline(made)
    return folder, load_examples(made.data, CAPTIONS, "test").examples


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
