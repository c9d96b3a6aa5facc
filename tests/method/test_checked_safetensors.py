"""A file of tensors that says of itself whether it is what was written."""

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from study.method.checked_safetensors import from_checked_bytes, to_checked_bytes

TENSORS = {
    "a": torch.tensor([[0.5, -0.0], [1e-45, 3e38]]),
    "b": torch.arange(5, dtype=torch.uint8),
    "c": torch.tensor(7.0, dtype=torch.bfloat16),
    "d": torch.rand(2, 3, generator=torch.Generator().manual_seed(0)).T,
}
METADATA = {"epoch": "3", "name": "naïve 🐈\n"}


def test_tensors_and_metadata_come_back_to_the_bit() -> None:
    tensors, metadata = from_checked_bytes(to_checked_bytes(TENSORS, METADATA))
    assert metadata == METADATA
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
        bits = tensor.contiguous().reshape(-1).view(torch.uint8)
        assert torch.equal(tensors[name].reshape(-1).view(torch.uint8), bits)


def test_without_tensors_the_metadata_come_back() -> None:
    assert from_checked_bytes(to_checked_bytes({}, METADATA)) == ({}, METADATA)


def test_any_reader_of_safetensors_reads_it() -> None:
    assert torch.equal(load(to_checked_bytes(TENSORS, METADATA))["b"], TENSORS["b"])


def test_equal_contents_are_equal_bytes_in_whatever_order_they_are_given() -> None:
    expected = to_checked_bytes(TENSORS, METADATA)
    for _ in range(8):  # the library orders metadata by chance
        again = to_checked_bytes(dict(reversed(TENSORS.items())), dict(reversed(METADATA.items())))
        assert again == expected


def test_no_byte_of_it_can_change_unseen() -> None:
    contents = to_checked_bytes({"a": torch.tensor([1.5, 2.5])}, {"epoch": "3"})
    kept = from_checked_bytes(contents)
    for place in range(len(contents)):
        changed = bytearray(contents)
        changed[place] ^= 1
        try:
            tensors, metadata = from_checked_bytes(bytes(changed))
        except (SafetensorError, ValueError):
            continue
        # What pads the header means nothing.
        assert (list(tensors), metadata) == (list(kept[0]), kept[1]), place
        assert torch.equal(tensors["a"], kept[0]["a"]), place


@pytest.mark.parametrize("length", [0, 5, 40, -1])
def test_a_file_that_was_cut_is_no_such_file(length: int) -> None:
    with pytest.raises(SafetensorError):
        from_checked_bytes(to_checked_bytes(TENSORS, METADATA)[:length])


def test_a_file_without_a_hash_is_refused_unless_that_is_allowed() -> None:
    plain = save({"b": TENSORS["b"]}, METADATA)
    with pytest.raises(ValueError, match="not those that were written"):
        from_checked_bytes(plain)
    tensors, metadata = from_checked_bytes(plain, strict=False)
    assert torch.equal(tensors["b"], TENSORS["b"])
    assert metadata == METADATA


def test_a_wrong_hash_is_refused_even_where_none_is_needed() -> None:
    with pytest.raises(ValueError, match="not those that were written"):
        from_checked_bytes(save({"b": TENSORS["b"]}, {"sha256": "0" * 64}), strict=False)
