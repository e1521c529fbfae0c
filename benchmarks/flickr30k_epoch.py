"""Speed and memory of one epoch over the 145,000 training captions of Flickr30k: encoding, cache and training loop.

    python benchmarks/flickr30k_epoch.py
    python benchmarks/flickr30k_epoch.py clip=open_clip clip.model=ViT-B-32 clip.weights=random.safetensors

Runs `train_text_only.py data=flickr30k-jsonl train.epochs=1` in a separate process with an empty cache, and prints the
captions encoded and trained per second and the largest resident memory. The default encoder is Picturebook's CLIP,
which does not know this language, so the run says nothing about scores. Needs the data below CLOSE_TRANSFER_DATA
(docs/data.md).
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NUM_CAPTIONS = 145_000
MAX_GIB = 3.0


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            sys.executable, "scripts/train_text_only.py", "data=flickr30k-jsonl", "train.epochs=1", "train.num_validations=1",
            f"output={folder / 'run'}", f"runs={folder / 'runs'}", *sys.argv[1:],
        ]  # fmt: skip
        began = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"CLOSE_TRANSFER_CACHE": str(folder / "cache")})
        seconds = time.perf_counter() - began
        state = json.loads((folder / "run/last/training_state.json").read_text())
        facts = json.loads((folder / "run/facts.json").read_text())
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**30
    trained = facts["num_examples"]
    before = seconds - state["seconds"]
    print(f"encoder: {facts['encoder']}")
    print(f"start, reading and encoding: {before:.0f} s, {trained / before:,.0f} captions/s")
    print(f"training: {state['seconds']:.0f} s, {trained / state['seconds']:,.0f} captions/s over {trained:,} captions")
    print(f"largest resident memory: {gib:.2f} GiB")
    if trained != NUM_CAPTIONS:
        sys.exit(f"there were {trained:,} captions, not {NUM_CAPTIONS:,}")
    if gib > MAX_GIB:
        sys.exit(f"more than {MAX_GIB:g} GiB")


if __name__ == "__main__":
    main()
