"""export_model.py: save a trained model with its card, or publish it on the hub."""

from close_transfer import TransferModel
from close_transfer.config.export_model import ExportModelConfig
from close_transfer.core.console import show
from close_transfer.training.runs import find_run


def main(config: ExportModelConfig) -> None:
    """Save or publish the model of a run."""
    run = find_run(config.run, config.runs, config.task)
    model = TransferModel.from_pretrained(run, "cpu", config.checkpoint, config.base_model)
    if config.output:
        model.save_pretrained(config.output, licence=config.licence)
        show(f"saved: {config.output}")
    if config.push_to_hub:
        show(f"published: {model.push_to_hub(config.push_to_hub, config.private, config.licence)}")
