"""Parallel trainings with their tests, run as the commands that a user would type; finished ones are not repeated.

Each worker is a process with one thread, because the threads of two trainings slow each other down. It loads the
libraries once.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from close_transfer.cli import compose_config
from close_transfer.config.choices import InputModality
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.atomic_files import read_json, write_json
from close_transfer.core.child_processes import open_pool
from close_transfer.core.errors import UserError
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.train import train

T = TypeVar("T")

_SETTINGS_FILE = "asked.json"  # marks a finished test


@dataclass(frozen=True)
class Job:
    """Training and its tests.

    Attributes:
        folder: folder of the run.
        input_modality: "text" to train as `train_text_only.py` does, "image" as `train_on_images.py`.
        settings: settings of that script, without `output` and `resume`.
        tests: settings of `eval_image.py` by the test's folder, below the run's folder.
    """

    folder: Path
    input_modality: InputModality
    settings: tuple[str, ...]
    tests: Mapping[str, tuple[str, ...]]

    def collect_settings(self, test: str) -> dict[str, Any]:
        """Return all settings that decide the results of one test."""
        return {"input_modality": self.input_modality, "train": sorted(self.settings), "test": sorted(self.tests[test])}

    def find_missing_tests(self) -> list[str]:
        """Return the names of the tests that are not finished.

        Raises:
            UserError: if the folder holds results of other settings.
        """
        missing_tests = []
        for name in self.tests:
            path = self.folder / name / _SETTINGS_FILE
            if not path.is_file():
                missing_tests.append(name)
            elif (old_settings := read_json(path)) != (new_settings := self.collect_settings(name)):
                differing = sorted(
                    setting
                    for key in new_settings
                    for setting in set(_format_list(old_settings.get(key))) ^ set(_format_list(new_settings[key]))
                )
                raise UserError(
                    f"{self.folder / name} holds results of other settings ({', '.join(differing)}). Give another output=, "
                    "or remove that folder"
                )
        return missing_tests


def _format_list(value: Any) -> list[str]:
    return list(map(str, value)) if isinstance(value, list) else [str(value)]


def run_job(job: Job) -> None:
    """Train unless that is done, and run the tests that are missing.

    The settings are written last, next to the results, so that the file marks a finished test of a finished training.

    Raises:
        UserError: with the job's folder, for errors that the user can fix, and if training was interrupted.
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
            raise UserError("training was stopped early. Run the same command to resume it")
        for name in job.find_missing_tests():
            eval_settings = [
                task,
                f"run={job.folder}",
                f"output={job.folder / name}",
                "leakage=false",
                *job.tests[name],
            ]
            evaluate(compose_config("evaluate", EvaluateConfig, eval_settings))
            write_json(job.folder / name / _SETTINGS_FILE, job.collect_settings(name))
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
    """Call a function in parallel processes of one thread each; yield (position of the arguments, result) as they come.

    If the caller fails or is interrupted, the workers end too. Those that train save a checkpoint first, unless the
    caller is killed.
    """
    calls = list(arguments)
    old_num_threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # for the workers, which read it when they start
    try:
        with open_pool(min(workers, max(1, len(calls)))) as pool:
            # The calls are submitted within `try`: after a signal among them, the pool would wait for all that began.
            try:
                futures = {pool.submit(function, *call): position for position, call in enumerate(calls)}
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


def run_jobs(jobs: Sequence[Job], workers: int, label: str) -> None:
    """Run the jobs that are not finished, in order, `workers` at a time; `label` is the title of the progress bar.

    Raises:
        UserError: of the first job that failed; results of finished jobs are kept.
    """
    waiting = [job for job in jobs if job.find_missing_tests()]
    with tqdm(total=len(jobs), initial=len(jobs) - len(waiting), unit="training", desc=label) as bar:
        for _ in run_in_workers(_run_quietly, ((job,) for job in waiting), workers):
            bar.update()
