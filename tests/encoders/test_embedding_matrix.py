import numpy as np
import pytest

from close_transfer.encoders.embedding_cache import EmbeddingMatrix


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", ">f4"])
@pytest.mark.parametrize("shape", [(60, 3), (60, 2, 3)])
def test_rows_in_any_order_are_read_from_many_blocks(dtype, shape, tmp_path):
    whole = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    np.save(tmp_path / "mapped.npy", whole[11:])
    mapped = np.load(tmp_path / "mapped.npy", mmap_mode="r")
    matrix = EmbeddingMatrix([whole[:10].copy(), whole[:0], whole[10:11], mapped])
    assert (matrix.dim, matrix.vectors_per_row) == (3, shape[1] if len(shape) == 3 else 1)
    for rows in ([], [10], [59, 0, 0], [3, 10, 12, 3], [*range(59, -1, -1), 5], [20, 30]):
        expected = whole[np.array(rows, dtype=np.int64)].astype(np.float32)
        found = matrix.gather(np.array(rows, dtype=np.int64))
        assert found.dtype == np.float32 and found.flags.writeable
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("sizes", [(20, 20, 20), (25, 25, 10), (60,), (60, 0), (20, 20, 0, 20), (20, 10, 30)])
@pytest.mark.parametrize("shape", [(60, 3), (60, 2, 3)])
def test_rows_are_found_in_blocks_of_equal_and_of_other_sizes(sizes, shape):
    whole = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    blocks = [block.copy() for block in np.split(whole, np.cumsum(sizes)[:-1])]
    rows = np.random.default_rng(0).permutation(60)
    np.testing.assert_array_equal(EmbeddingMatrix(blocks).gather(rows), whole[rows])


def test_blocks_need_not_be_contiguous():
    whole = np.arange(24, dtype=np.float32).reshape(6, 4)
    matrix = EmbeddingMatrix([whole[::2], whole[1::2, ::-1]])
    np.testing.assert_array_equal(matrix.gather(np.array([1, 3])), [whole[2], whole[1, ::-1]])


@pytest.mark.parametrize("row", [-1, 3])
def test_rows_that_are_not_there_are_refused(row):
    with pytest.raises(IndexError, match="of 3"):
        EmbeddingMatrix([np.zeros((3, 2), dtype=np.float32)]).gather(np.array([0, row]))


def test_no_rows_are_read_from_no_rows():
    assert EmbeddingMatrix([np.zeros((0, 2), dtype=np.float32)]).gather(np.array([], dtype=np.int64)).shape == (0, 2)
