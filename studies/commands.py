"""The commands of the studies; they take settings as all commands do."""

from collections.abc import Sequence
from pathlib import Path

from close_transfer import cli
from close_transfer.cli import CONFIGS, Command, run_command
from close_transfer.core.schema import C

FOLDERS = (Path(__file__).parent / "configs", CONFIGS)


def _build_command(name: str, module: str, summary: str) -> Command:
    return Command(name, summary, config_module="studies.config", pipeline_module=f"studies.{module}")


COMMANDS = {
    command.name: command
    for command in (
        _build_command("run_study", "systems", "Train and compare several systems on several tasks."),
        _build_command("sweep_noise", "noise_sweep", "Train over a grid of noise, and plot score against noise."),
        _build_command("study_corpora", "corpora", "Train on growing pieces of text corpora."),
        _build_command(
            "study_few_shot", "few_shot", "Ask frozen language models questions with examples in the prompt."
        ),
        _build_command("study_captioners", "captioners.study", "Train, test and probe captioners and their controls."),
        _build_command("study_real_vectors", "real_vectors", "Compare systems on real CLIP embeddings."),
        _build_command("score_by_word_type", "word_transfer", "Score captions by the words that they have."),
        _build_command("export_grammar", "export_grammar", "Derive a grammar from Picturebook's captions."),
    )
}


def compose_config(config_name: str, schema: type[C], arguments: Sequence[str] = ()) -> C:
    """Return the checked settings that a study would get for these arguments.

    Raises:
        UserError: for every mistake in them.
    """
    return cli.compose_config(config_name, schema, arguments, FOLDERS)


def run(script: str) -> None:
    """Run the study of a script with the settings in `sys.argv`."""
    run_command(COMMANDS[script], script, FOLDERS)
