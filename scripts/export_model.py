"""Save a run's model with its card for `TransferModel.from_pretrained`, and publish it on the hub if asked.

    python scripts/export_model.py output=captioner
    python scripts/export_model.py task=vqa licence=apache-2.0 push_to_hub=someone/answers-from-text

All settings: configs/export_model.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "export_model")
