"""Start of scripts/synthesize_captions.py: its settings, checked before the pipeline and its libraries load."""

import sys

from close_transfer.core import command_line
from close_transfer.core.guarded_run import run_guarded
from close_transfer.core.startup import loading_libraries
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.folder import merge_remembered_args


def run() -> None:
    """Run the command with the settings that the corpus's folder remembers and those in `sys.argv`."""

    def start() -> None:
        sys.argv[1:] = arguments = merge_remembered_args(sys.argv[1:], "runs/synthetic/{recipe}", "coco-style")

        def execute(config: SynthesizeCaptionsConfig) -> int | None:
            # Imported after the settings are checked: the pipeline loads openai, which takes longer than the check.
            with loading_libraries():
                from textgen.pipeline import synthesize
            return synthesize(config, arguments)

        command_line.run("synthesize_captions", SynthesizeCaptionsConfig, execute)

    run_guarded(start)
