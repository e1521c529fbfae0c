"""Write captions, answers or labels for images, or for vectors of the run's encoder.

    python scripts/predict.py images=photo.jpg
    python scripts/predict.py images=folder task=vqa prompt="How many dogs are there?" output=answers.jsonl
    python scripts/predict.py embeddings=vectors.npy num_return=3
    python scripts/predict.py images=photo.jpg text_memory=train     # projected onto the training texts

All settings: configs/predict.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "predict")
