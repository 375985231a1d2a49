"""Two readers of one format, ours for headers from elsewhere and the library's for files here, say the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from reach.heads.files import FIRST_BYTES
from reach.heads.tensor_files import TORCH_DTYPES, SafetensorsFile, SafetensorsParts
from solvers.errors import BadInput


class Sliced:
    """The parts of a file, cut out of it into a folder."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.place, self.size = str(path), path.stat().st_size
        self._content, self._folder = path.read_bytes(), folder

    def read(self, start: int, stop: int, what: str) -> Path:
        assert 0 <= start < stop <= self.size or self.size == 0
        part = self._folder / f"{start}-{stop}"
        part.write_bytes(self._content[start:stop])
        return part

    def at_hand(self, start: int, stop: int) -> bool:
        return (self._folder / f"{start}-{stop}").exists()

    def forget(self, start: int, stop: int) -> None:
        (self._folder / f"{start}-{stop}").unlink()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """One tensor of each type, one empty, one without axes, one of many axes."""
    tensors = {f"t.{name}": torch.zeros(3, 2).to(dtype) for name, dtype in TORCH_DTYPES.items() if name[0] != "U"}
    tensors |= {"empty": torch.zeros(0, 4), "scalar": torch.tensor(2.5), "deep": torch.ones(1, 2, 1, 3)}
    tensors["random"] = torch.randn(5, 7)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


def same(one: torch.Tensor, two: torch.Tensor) -> bool:
    bits = [tensor.contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor for tensor in (one, two)]
    return one.dtype == two.dtype and one.shape == two.shape and torch.equal(*bits)


def test_every_type_is_read_alike(file: Path, tmp_path: Path) -> None:
    near, far = SafetensorsFile(file), SafetensorsParts(Sliced(file, tmp_path))
    assert set(near.names) == set(far.names)
    for name in near.names:
        assert near.dtype(name) == far.dtype(name)
        assert same(near.tensor(name), far.tensor(name))


def test_tensors_are_at_hand_once_they_were_read(file: Path, tmp_path: Path) -> None:
    far = SafetensorsParts(Sliced(file, tmp_path))
    assert not far.at_hand("random")
    far.tensor("random")
    assert far.at_hand("random")


def test_a_long_header_comes_in_two_parts(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(4)}, file, metadata={"remark": "x" * 3 * FIRST_BYTES})
    far = SafetensorsParts(Sliced(file, tmp_path))
    assert torch.equal(far.tensor("a"), torch.ones(4))


def test_bytes_changed_in_the_header(file: Path, tmp_path: Path) -> None:
    """What the library takes is taken, as the same numbers; the rest is one line. Never a byte beyond the file."""
    good = file.read_bytes()
    end = 8 + int.from_bytes(good[:8], "little")
    dice, taken, refused = random.Random(2), 0, 0
    folder = tmp_path / "parts"
    folder.mkdir()
    changed = tmp_path / "changed.safetensors"
    for _ in range(600):
        content = bytearray(good)
        for _ in range(dice.randint(1, 2)):
            content[dice.randrange(end)] = dice.choice(b'0123456789"[]{},:aF\x00\xff')
        changed.unlink(missing_ok=True)
        changed.write_bytes(content)
        try:
            far = SafetensorsParts(Sliced(changed, folder))
            found = {name: far.tensor(name) for name in far.names if far.dtype(name) in TORCH_DTYPES}
        except BadInput as error:
            assert "\n" not in str(error)
            found, refused = None, refused + 1
        try:
            with safe_open(changed, framework="pt") as handle:
                expected = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        except (SafetensorError, RuntimeError, AttributeError, TypeError):
            continue
        taken += 1
        assert found is not None
        assert all(same(found[name], tensor) for name, tensor in expected.items())
    assert taken > 20
    assert refused > 100
