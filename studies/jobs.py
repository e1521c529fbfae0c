"""Trainings with their tests, several side by side, as the commands a user would type; finished ones stay.

Each worker is one process on one thread (threads of one training get in the way of the other's) and loads
the libraries once.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from close_transfer.cli import compose_config
from close_transfer.config.choices import InputModality
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.atomic_files import read_json, write_json
from close_transfer.core.errors import UserError
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.train import train

T = TypeVar("T")

_ASKED_FILE = "asked.json"


@dataclass(frozen=True)
class Job:
    """One training and what it is tested on.

    Attributes:
        folder: of the run.
        input_modality: "text" as `train_text_only.py`, "image" as `train_on_images.py`.
        settings: of that script; `output` and `resume` are set here.
        tests: settings of `eval_image.py` by the name of the folder that the test gets within the run's.
    """

    folder: Path
    input_modality: InputModality
    settings: tuple[str, ...]
    tests: Mapping[str, tuple[str, ...]]

    def asked(self, test: str) -> dict[str, Any]:
        """All that decides the results of one test."""
        return {"input_modality": self.input_modality, "train": sorted(self.settings), "test": sorted(self.tests[test])}

    def find_missing_tests(self) -> list[str]:
        """Return the names of the tests that are not finished.

        Raises:
            UserError: if the folder holds results of other settings.
        """
        missing_tests = []
        for name in self.tests:
            path = self.folder / name / _ASKED_FILE
            if not path.is_file():
                missing_tests.append(name)
            elif (old_settings := read_json(path)) != (new_settings := self.asked(name)):
                differing = sorted(
                    setting
                    for key in new_settings
                    for setting in set(_format_list(old_settings.get(key))) ^ set(_format_list(new_settings[key]))
                )
                raise UserError(
                    f"{self.folder / name} holds results of other settings ({', '.join(differing)}); give another output=, or "
                    "remove that folder"
                )
        return missing_tests


def _format_list(value: Any) -> list[str]:
    return list(map(str, value)) if isinstance(value, list) else [str(value)]


def run_job(job: Job) -> None:
    """Trains, unless that is done, and makes the tests that are missing.

    What was asked is written last, beside the results, so its presence means a test of a finished training.

    Raises:
        UserError: with the job's folder, for whatever the user can mend, and if training was asked to stop.
    """
    task = next((setting for setting in job.settings if setting.startswith("task=")), "task=captioning")
    output_settings = [
        f"output={job.folder}",
        "resume=auto",
        f"runs={job.folder.parent / 'latest'}",
        "train.tensorboard=false",
    ]
    try:
        _, outcome = train(compose_config("train", TrainConfig, [*job.settings, *output_settings]), job.input_modality)
        if outcome.stopped_early:
            raise UserError("training was stopped; the same command goes on from there")
        for name in job.find_missing_tests():
            eval_settings = [
                task,
                f"run={job.folder}",
                f"output={job.folder / name}",
                "leakage=false",
                *job.tests[name],
            ]
            evaluate(compose_config("evaluate", EvaluateConfig, eval_settings))
            write_json(job.folder / name / _ASKED_FILE, job.asked(name))
    except UserError as error:
        raise UserError(f"{job.folder}: {error}") from error


def _run_quietly(job: Job) -> None:
    torch.set_num_threads(1)
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        run_job(job)


def run_in_workers(
    function: Callable[..., T], arguments: Iterable[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, T]]:
    """Results of calls in processes of one thread each, as they come; with the position of their arguments.

    Whatever ends the caller ends the workers: those that train save what they have.
    """
    calls = list(arguments)
    old_num_threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers, which read it when they start
    try:
        with ProcessPoolExecutor(min(workers, max(1, len(calls))), mp_context=get_context("spawn")) as pool:
            futures = {pool.submit(function, *call): position for position, call in enumerate(calls)}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in active_children():
                    worker.terminate()
                raise
    finally:
        if old_num_threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = old_num_threads


def run_jobs(jobs: Sequence[Job], workers: int, what: str) -> None:
    """Does what is missing, `workers` at a time, in the order given; `what` stands before the progress bar.

    Raises:
        UserError: of the first job that failed; the others are kept.
    """
    waiting = [job for job in jobs if job.find_missing_tests()]
    with tqdm(total=len(jobs), initial=len(jobs) - len(waiting), unit="training", desc=what) as bar:
        for _ in run_in_workers(_run_quietly, ((job,) for job in waiting), workers):
            bar.update()
