"""Settings of the command that trains over a grid of noise."""

import shlex
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from close_transfer.config.base import AutoNoise, EvalSplit
from close_transfer.config.commands import ChosenTask, listed
from close_transfer.core.schema import NonNegative, Positive, Strict


class SweepConfig(Strict):
    """All of `sweep_noise.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    noises: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    auto: Annotated[tuple[AutoNoise, ...], BeforeValidator(listed)]  # chosen noise to train with as well
    statistics: str | None  # of fit_adapter.py, for auto-unpaired and auto-paired alone
    seeds: Positive
    split: EvalSplit
    settings: str  # of train_text_only.py, for all trainings, as typed there
    eval_settings: str  # of eval_image.py
    num_bootstrap: Positive
    jobs: Positive
    output: str

    @model_validator(mode="after")
    def _statistics_are_there(self) -> "SweepConfig":
        needing = [mode for mode in self.auto if mode != "auto"]
        if needing and self.statistics is None:
            raise ValueError(
                f"auto={','.join(needing)} is chosen by fit_adapter.py; run it, and give its folder as statistics="
            )
        if self.statistics is not None and not needing:
            raise ValueError(
                f"statistics={self.statistics} is for auto=auto-unpaired and auto=auto-paired; statistics that adapters "
                "need go into settings="
            )
        return self

    @model_validator(mode="after")
    def _not_swept_twice(self) -> "SweepConfig":
        taken = ("noise", "noise_rule", "noise_variance", "noise_cosine", "seed", "task", "output", "resume", "runs")
        for setting in shlex.split(self.settings):
            if setting.partition("=")[0] in taken:
                raise ValueError(f"settings={setting}: the sweep sets {', '.join(taken)} itself; leave it out")
        return self
