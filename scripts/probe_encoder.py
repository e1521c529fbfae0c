"""Probe an encoder: few-shot, linear and attention-pool classifiers, and zero-shot classification.

    python scripts/probe_encoder.py
    python scripts/probe_encoder.py targets=[kinds,places] probes=[few_shot,zero_shot]
    python scripts/probe_encoder.py run=latest probes=[zero_shot]
    python scripts/probe_encoder.py images=photos clip=open_clip clip.model=ViT-B-32 clip.pretrained=openai

All settings: configs/probe_encoder.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "probe_encoder")
