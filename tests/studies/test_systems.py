"""Several systems on several tasks: rows are the results of their runs, set against one of them by scene."""

import json
from pathlib import Path

import numpy as np
import pytest

from close_transfer.core.errors import UserError
from studies import systems
from studies.commands import COMMANDS, FOLDERS, compose_config
from studies.config import RunStudyConfig
from studies.jobs import run_job
from studies.systems import list_jobs, measure_cosine_to_images, run_study
from tests.conftest import SMALL
from tests.markers import mostly_slow

STUDIES = sorted(path.stem for path in (FOLDERS[0] / "study").glob("*.yaml"))


def config(*overrides):
    given = [
        f"train_overrides={' '.join(SMALL)}", "eval_overrides=num_bootstrap=20 device=cpu num_beams=1", "num_bootstrap=50",
        "seeds=2", "output=out", "num_workers=1",
    ]  # fmt: skip
    return compose_config("run_study", RunStudyConfig, [*given, *overrides])


@pytest.fixture
def own_study(monkeypatch, tmp_path):
    """Return the configuration of a study of four small systems, and the list of its jobs, which run in this process."""
    done = []

    def stand_in(jobs, workers, what):
        for job in jobs:
            if job.find_missing_tests():
                run_job(job)
                done.append("/".join(job.folder.parts[-3:]))

    monkeypatch.setattr(systems, "run_jobs", stand_in)
    rows = {
        "plain": {"train_overrides": "noise=0.1"},
        "plain, memory": {"run": "plain", "eval_overrides": "text_memory=train"},
        "centred": {
            "train_overrides": "noise=auto adapter=[remove_mean,gaussian]",
            "statistics_overrides": "images=true",
        },
        "images": {"input_modality": "image"},
        "nearest": {"baseline": "nearest"},
        "zero-shot": {"baseline": "zero-shot", "tasks": ["vqa"]},
    }
    made = config("tasks=[captioning,vqa]").model_copy(
        update={
            "systems": {name: systems.SystemConfig(**one) for name, one in rows.items()},
            "baseline": "plain", "cosines": True, "costs": True, "task_overrides": {},
        }
    )  # fmt: skip
    return made, done


@pytest.mark.slow
def test_rows_are_the_means_of_their_results_and_say_what_they_saw(own_study):
    made, done = own_study
    said = run_study(made)
    assert len(done) == 2 * 2 * 3  # tasks, seeds, trainings; the memory shares one
    table = json.loads(Path("out/study.json").read_text())["systems"]
    assert list(table) == ["plain", "plain, memory", "centred", "images", "nearest", "zero-shot"]
    for task in ("captioning", "vqa"):
        rows = [row[task] for row in table.values() if task in row]
        without_training = ["T0"] if task == "captioning" else ["T0", "T0"]
        assert [row["data_regime"] for row in rows] == ["T0", "T0", "T1", "T4", *without_training]
        assert [row["noise"] > 0 for row in rows][:4] == [True, True, True, False]
        for folder, name in (("plain", "plain"), ("plain", "plain-memory"), ("centred", "centred")):
            told = [
                json.loads(Path(f"out/{task}/{folder}/seed-{seed}/test-{name}/results.json").read_text())
                for seed in (0, 1)
            ]
            row = table[name.replace("-", ", ")][task]
            assert row["by_seed"] == pytest.approx([one["metrics"][row["metric"]] for one in told])
            assert row["score"] == pytest.approx(np.mean(row["by_seed"]))
            assert bool(told[0]["text_memory"]) == (name == "plain-memory")
            against = row["score"] - table["plain"][task]["score"]
            assert row["against_baseline"][0] == pytest.approx(against)
    assert "| centred | T1 |" in said
    (zero_shot,) = [line for line in said.splitlines() if line.startswith("| zero-shot |")]
    assert [cell.strip() for cell in zero_shot.split("|")[4:7]] == ["none", "", ""]  # nothing trained, no captioning
    (plain,) = [line for line in said.splitlines() if line.startswith("| plain |")]
    trained = json.loads(Path("out/captioning/plain/seed-0/facts.json").read_text())["num_trained_parameters"]
    assert plain.split("|")[4].strip() == f"{trained:,}"
    assert table["plain"]["captioning"]["minutes"] > 0
    assert table["zero-shot"]["vqa"]["by_seed"] == [
        json.loads(Path("out/vqa/zero-shot/results.json").read_text())["metrics"]["accuracy"]
    ]
    assert len(table["nearest"]["captioning"]["by_seed"]) == 1
    again = run_study(made)
    assert again == said
    assert len(done) == 12


@pytest.mark.slow
def test_the_cosine_is_that_of_texts_and_pictures_behind_the_adapters(own_study):
    made, _ = own_study
    run_study(made.model_copy(update={"tasks": ("captioning",), "seeds": 1}))
    plain, centred = (
        measure_cosine_to_images(Path(f"out/captioning/{name}/seed-0"), "test") for name in ("plain", "centred")
    )
    assert 0.45 < plain < 0.65  # Picturebook's CLIP, its model card: 0.567 over other captions
    assert abs(plain - centred) > 0.001
    pictures = measure_cosine_to_images(Path("out/captioning/images/seed-0"), "test")
    assert pictures == pytest.approx(plain)


@pytest.mark.parametrize("name", mostly_slow(STUDIES[::-1], every=len(STUDIES)))
def test_every_study_that_is_shipped_composes_with_all_its_trainings(name):
    from close_transfer.config.train import TrainConfig

    settings = " ".join(one for one in SMALL if not one.startswith("lm."))  # some bring their own language model
    shipped = config(f"study={name}", "seeds=1", f"train_overrides={settings}")
    assert shipped.baseline in shipped.systems
    for job in list_jobs(shipped):
        compose_config("train", TrainConfig, job.settings)
    assert len({job.folder for job in list_jobs(shipped)}) == len(list_jobs(shipped))


@pytest.mark.slow
def test_mistakes_are_told_before_anything_is_trained(own_study):
    made, done = own_study
    nowhere = made.train_overrides + " clip=open_clip clip.model=local-dir:nowhere"
    with pytest.raises(UserError, match=r"systems\.nearest: .*nowhere.*leave this system out with '~systems\.nearest'"):
        run_study(
            made.model_copy(
                update={
                    "train_overrides": nowhere,
                    "systems": {n: one for n, one in made.systems.items() if not one.statistics_overrides},
                }
            )
        )
    wrong = {**made.systems, "wrong": systems.SystemConfig(train_overrides="noise=0.1 adapter=whitten")}
    with pytest.raises(UserError, match=r"systems.wrong: adapter=whitten: allowed are .*Did you mean whiten"):
        run_study(made.model_copy(update={"systems": wrong}))
    assert not done
    with pytest.raises(
        UserError, match=r"baseline=other: there is no such system\. Use one of nearest training text, zero-shot, none"
    ):
        config("baseline=other")


def test_baselines_of_a_study_are_asked_what_its_tests_are_asked():
    given = [
        "train_overrides='data=file data.path=known.jsonl clip=picturebook'",
        "eval_overrides='data=file data.path=asked.jsonl'",
    ]
    told = [
        "data@training=file",
        "training.path=known.jsonl",
        "clip=picturebook",
        "data=file",
        "data.path=asked.jsonl",
    ]
    assert systems.compose_baseline_settings(config(*given)) == told
    told = ["training.num_train=9", "data@training=picturebook", "data=file", "data.path=asked.jsonl"]
    assert systems.compose_baseline_settings(config("train_overrides='data.num_train=9'", given[1])) == told
    assert systems.compose_baseline_settings(config("train_overrides='data.num_train=9'")) == ["data.num_train=9"]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("study_few_shot", "score_by_word_type")])
def test_every_study_composes(name):
    assert compose_config(name, COMMANDS[name].load_schema())


def test_a_list_of_one_is_asked_for_as_a_list():
    schema = COMMANDS["study_few_shot"].load_schema()
    with pytest.raises(UserError, match=r"^runs=r/one: should be a list\. Give runs=\[r/one\]$"):
        compose_config("study_few_shot", schema, ["runs=r/one"])
