"""Compute the statistics that fit adapters such as remove_mean, whiten or linear, and automatic noise.

    python scripts/compute_statistics.py                 # texts and unpaired images (T1)
    python scripts/compute_statistics.py images=false    # texts only (T0)
    python scripts/compute_statistics.py pairs=true      # texts with their own images (T4)
    python scripts/train_text_only.py adapter=[remove_mean,gaussian] statistics=runs/statistics
    python scripts/train_text_only.py noise=auto-unpaired statistics=runs/statistics

All settings: configs/compute_statistics.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "compute_statistics")
