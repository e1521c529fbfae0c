"""Table of measures of the modality gap and of transfer from text to images, one row per encoder.

    python benchmarks/gap_and_transfer.py

Reads the results of `make reproduce-all` in runs/gap/ENCODER and runs/study/transfer-ENCODER, and trains nothing.
Transfer is the score of training on text with noise=auto divided by that of training on images, both tested on images.
"""

import json
from pathlib import Path

MEASURES = ("paired_cosine", "mean_distance", "centred_distance", "difference_std")


def read_result_file(path: Path) -> dict:
    """Read a JSON file that `make reproduce-all` wrote."""
    if not path.is_file():
        raise SystemExit(f"{path}: there is no such file. Run: make reproduce-all")
    return json.loads(path.read_text())


def main() -> None:
    encoders = sorted(path.name for path in Path("runs/gap").iterdir())
    tasks = read_result_file(Path(f"runs/study/transfer-{encoders[0]}/study.json"))["config"]["tasks"]
    head = ["encoder", *MEASURES, "noise=auto took", *(f"transfer, {task}" for task in tasks)]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for encoder in encoders:
        gap = read_result_file(Path(f"runs/gap/{encoder}/gap.json"))["metrics"]
        systems = read_result_file(Path(f"runs/study/transfer-{encoder}/study.json"))["systems"]
        text, images = systems["noise=auto"], systems["images"]
        cells = [f"{gap[name]:.3f}" for name in MEASURES]
        cells.append(f"{text[tasks[0]]['noise']:.3f}")
        cells += [f"{text[task]['score'] / images[task]['score']:.1%}" for task in tasks]
        print(f"| {' | '.join([encoder, *cells])} |")


if __name__ == "__main__":
    main()
