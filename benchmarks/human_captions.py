"""CIDEr of Picturebook's human-like captions: each of a test scene's five captions against the other four.

python benchmarks/human_captions.py
"""

import numpy as np

from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.metrics.captions import caption_scores


def main() -> None:
    captions_by_scene = [[caption.text for caption in captions(scene)] for scene in scenes("test", 1000)]
    scores = [
        caption_scores(
            [scene_captions[writer] for scene_captions in captions_by_scene],
            [scene_captions[:writer] + scene_captions[writer + 1 :] for scene_captions in captions_by_scene],
            10,
        ).metrics["CIDEr"]
        for writer in range(5)
    ]
    print(f"{np.mean(scores):.1f}")


if __name__ == "__main__":
    main()
