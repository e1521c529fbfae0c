"""The steps of the study of captioners: each runs once, and an error ends only its system."""

import json
from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from studies.captioners import jobs as captioner_jobs
from studies.captioners.jobs import list_jobs
from studies.captioners.study import run_study
from tests.conftest import SMALL, SMALL_DATA, SMALL_LOOP
from tests.studies.test_captioners import config, make_step


@pytest.fixture
def in_this_process(monkeypatch):
    """Run the jobs in this process."""
    monkeypatch.setattr(
        captioner_jobs, "run_in_workers", lambda function, calls, _: enumerate(function(*call) for call in calls)
    )


@pytest.fixture
def commands(monkeypatch, in_this_process):
    """Replace the commands of the study; return the list that collects their names and folders."""
    ran = []

    def stand_in(step):
        ran.append((step.name, Path(step.folder).parts[1], step._choose_resume()))
        if step.folder == Path("out/cap/seed-0/captions"):
            raise UserError("the disk is full")
        (job,) = [job for job in list_jobs(config()) if job.steps[0].folder in (step.folder, step.folder.parent)]
        make_step(job, step, 1.0, 4, 90.0, ())

    monkeypatch.setattr(captioner_jobs.Step, "run", stand_in)
    monkeypatch.setattr(captioner_jobs, "check_settings", lambda waiting: None)
    return ran


def test_an_error_ends_only_its_system_and_finished_steps_are_not_repeated(commands):
    asked = config("seeds=1", "only=[cap,cappa]")
    with pytest.raises(UserError, match=r"1 of the trainings .*\ncap seed 0, captions: the disk is full"):
        run_study(asked)
    steps = ["training", "composition", "captions", "probes", "zero-shot"]
    assert [(name, system) for name, system, _ in commands] == [
        *((name, "cap") for name in steps[:3]),
        *((name, "cappa") for name in steps),
    ]
    assert "| cappa | 1 |" in Path("out/captioners.md").read_text()
    commands.clear()
    with pytest.raises(UserError):
        run_study(asked)
    assert [name for name, _, _ in commands] == ["captions"]


def test_tests_may_follow_the_trainings(commands):
    run_study(config("seeds=1", "only=[blind]", "train_only=true"))
    assert [name for name, _, _ in commands] == ["training"]
    run_study(config("seeds=1", "only=[blind]"))
    assert [name for name, _, _ in commands] == ["training", "composition", "captions", "probes", "zero-shot"]


def test_a_stopped_training_is_resumed_and_a_finished_one_only_marked():
    training = list_jobs(config())[0].steps[0]
    assert training._choose_resume() == []
    training.folder.mkdir(parents=True)
    assert training._choose_resume() == ["resume=true"]
    summary = training.folder / "captioner.json"
    summary.write_text('{"stopped_early": true}')
    assert training._choose_resume() == ["resume=true"]
    summary.write_text('{"stopped_early": false}')
    training.run()
    assert training.is_finished


@pytest.mark.slow
def test_scores_of_items_are_those_that_the_commands_report(in_this_process):
    sizes = "captioner.width=16 captioner.depth=1 captioner.decoder_depth=1 captioner.heads=2"
    run_study(
        config(
            "only=[cap]",
            "seeds=1",
            f"train_overrides={' '.join([sizes, *SMALL_DATA, *SMALL_LOOP, 'device=cpu'])}",
            "composition_overrides=num_order=8 num_per_swap=8 num_twins_per_swap=4 num_bootstrap=20 device=cpu",
            "caption_overrides=num_beams=1 num_bootstrap=20 device=cpu",
            f"probe_overrides={' '.join(SMALL_DATA)} targets=[kinds,places] attention_pool.steps=3 num_bootstrap=20 device=cpu",
            "with_recipes=true",
            "~recipes.close",
            "recipes.limber=clip.features=grid mapper.num_tokens=1",
            f"recipe_overrides={' '.join(SMALL)}",
        )
    )
    scores = json.loads(Path("out/captioners.json").read_text())["systems"]["cap"]["metrics"]
    counts = {"composition": 8, "captions": 1, "probes": 12, "zero-shot": 2, "recipe-limber/captions": 1}
    for test, count in counts.items():
        results = json.loads(Path(f"out/cap/seed-0/{test}/results.json").read_text())["metrics"]
        prefix = "limber/" if "limber" in test else ""
        names = {metric: prefix + metric.removesuffix("_likelihood") for metric in results}
        compared = {metric: scores[name]["score"] for metric, name in names.items() if name in scores}
        assert len(compared) == count
        assert compared == pytest.approx({metric: results[metric] for metric in compared})
