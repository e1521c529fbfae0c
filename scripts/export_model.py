"""Saves a run's model with its card, to be loaded by `TransferModel.from_pretrained`, and puts it on the hub if asked.

    python scripts/export_model.py output=captioner
    python scripts/export_model.py task=vqa licence=apache-2.0 push_to_hub=someone/answers-from-text

All settings: configs/export.yaml.
"""

from close_transfer import TransferModel
from close_transfer.cli import command
from close_transfer.config.export_model import ExportConfig
from close_transfer.training.run_folder import find_run


@command("export", ExportConfig)
def main(config: ExportConfig) -> None:
    run = find_run(config.run, config.runs, config.task)
    model = TransferModel.from_pretrained(run, "cpu", config.checkpoint, config.base)
    if config.output:
        model.save_pretrained(config.output, licence=config.licence)
        print(f"saved: {config.output}")
    if config.push_to_hub:
        print(f"on the hub: {model.push_to_hub(config.push_to_hub, config.private, config.licence)}")


if __name__ == "__main__":
    main()
