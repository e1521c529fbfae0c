"""Score the predictions of any system with the official scorers, without a model.

    python scripts/score_predictions.py predictions=captions.json references=captions_val2017.json output=scored
    python scripts/score_predictions.py task=vqa predictions=answers.json references=annotations.json output=scored
    python scripts/score_predictions.py task=snli-ve predictions=labels.jsonl references=snli_ve_test.jsonl output=scored

All settings: configs/score_predictions.yaml. Formats: docs/evaluation.md.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "score_predictions")
