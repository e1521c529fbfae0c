"""Time and memory of a projection on a text memory, exact and by nearest vectors.

    python benchmarks/memory_projection.py                     # ten million vectors, 128 wide
    python benchmarks/memory_projection.py 1000000 512

The memory has random unit vectors in 16 bits, fifty around each of many centres, as texts cluster by topic. Runs 1,000
queries against the whole memory, then against the nearest vectors that faiss finds. Prints seconds, queries per second,
the agreement of the two on queries near memory vectors, and the largest resident memory.
"""

import resource
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F

from close_transfer.models.text_memory import ExactMemory, NearestMemory

QUERIES, TEMPERATURE, BLOCK, TEXTS_PER_CENTRE = 1000, 0.01, 100_000, 50


def measure_resident_memory() -> float:
    """Return the largest resident memory so far, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main() -> None:
    count, dim = (int(value) for value in (sys.argv[1:] or ("10000000", "128")))
    rng = np.random.default_rng(0)
    vectors = np.empty((count, dim), dtype=np.float16)
    centres = rng.standard_normal((max(1, count // TEXTS_PER_CENTRE), dim), dtype=np.float32)
    for start in range(0, count, BLOCK):
        block = 0.5 * rng.standard_normal((min(BLOCK, count - start), dim), dtype=np.float32)
        block += centres[rng.integers(0, len(centres), len(block))]
        vectors[start : start + BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    near = torch.from_numpy(vectors[rng.integers(0, count, QUERIES)].astype(np.float32))
    queries = F.normalize(near + 0.5 / dim**0.5 * torch.randn(QUERIES, dim), dim=-1)
    print(f"{count:,} vectors, {dim} wide, {vectors.nbytes / 2**30:.2f} GiB; {QUERIES:,} queries")
    answers = {}
    for name, build in (("exact", ExactMemory), ("nearest", NearestMemory)):
        began = time.perf_counter()
        memory = build(vectors, TEMPERATURE)
        built = time.perf_counter() - began
        began = time.perf_counter()
        answers[name] = torch.cat([memory(part) for part in queries.split(64)])
        seconds = time.perf_counter() - began
        print(
            f"{name}: built in {built:.0f} s, {seconds:.1f} s for all queries, {QUERIES / seconds:,.0f} queries/s; "
            f"largest resident memory so far {measure_resident_memory():.2f} GiB"
        )
    agreement = (answers["exact"] * answers["nearest"]).sum(dim=1)
    print(f"cosine between the two: mean {agreement.mean():.4f}, lowest {agreement.min():.4f}")


if __name__ == "__main__":
    main()
