"""Measures the statistics that adapters such as remove_mean, whiten or linear are fitted by.

    python scripts/fit_adapter.py                 # texts and unpaired pictures (T1)
    python scripts/fit_adapter.py images=false    # texts only (T0)
    python scripts/fit_adapter.py pairs=true      # texts with their own pictures (T4)
    python scripts/train_text_only.py adapter=[remove_mean,gaussian] statistics=runs/statistics
    python scripts/train_text_only.py noise=auto-unpaired statistics=runs/statistics

All settings: configs/fit_adapter.yaml.
"""

from close_transfer.cli import command
from close_transfer.config.compute_statistics import FitConfig
from close_transfer.pipelines.compute_statistics import fit_adapter


@command("fit_adapter", FitConfig)
def main(config: FitConfig) -> None:
    statistics, lines = fit_adapter(config)
    facts = statistics.facts
    print(f"{facts['num_texts']:,} texts, {facts['num_images']:,} pictures{' of the same scenes' * facts['paired']}")
    print(f"regime:     {statistics.regime}")
    print(f"statistics: {config.output} ({', '.join(sorted(statistics.arrays))})")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
