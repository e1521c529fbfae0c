"""Captions, answers or verdicts for pictures, or for vectors of the run's encoder.

    python scripts/predict.py images=photo.jpg
    python scripts/predict.py images=folder task=vqa prompt="How many dogs are there?" output=answers.jsonl
    python scripts/predict.py embeddings=vectors.npy num_return=3
    python scripts/predict.py images=photo.jpg memory=train     # projected on the training texts

All settings: configs/predict.yaml.
"""

from close_transfer.cli import command
from close_transfer.config.predict import PredictConfig
from close_transfer.pipelines.console import prediction_ended
from close_transfer.pipelines.predict import predict_files


@command("predict", PredictConfig)
def main(config: PredictConfig) -> None:
    print(prediction_ended(predict_files(config)))


if __name__ == "__main__":
    main()
