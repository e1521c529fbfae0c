"""Measures the gap between text and picture vectors, and draws it.

    python scripts/measure_gap.py
    python scripts/measure_gap.py data=coco split=val clip=open_clip clip.model=ViT-B-32 clip.pretrained=openai
    python scripts/measure_gap.py data=table data.path=captions.txt split=train images=false

All settings: configs/measure_gap.yaml.
"""

from close_transfer.cli import command
from close_transfer.config.measure_gap import GapConfig
from close_transfer.pipelines.measure_gap import measure_gap
from close_transfer.reports.gap_report import describe, write_page


@command("measure_gap", GapConfig)
def main(config: GapConfig) -> None:
    gap = measure_gap(config)
    page = write_page(gap, config)
    print(describe(gap))
    print(f"page: {page}")


if __name__ == "__main__":
    main()
