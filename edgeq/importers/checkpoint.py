"""A checkpoint folder as Hugging Face tools write it: `config.json` beside `model.safetensors` or `pytorch_model.bin`.

Nothing in a file is executed: pickles are read with torch's restricted loader, which knows tensors and nothing else.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from edgeq import _json
from edgeq._errors import FormatError, NotFoundError

MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds, on the CPU, in the types of the file."""

    config: dict[str, object]
    tensors: dict[str, Tensor]

    def size(self, name: str, axis: int) -> int:
        """The length of one axis of a matrix that must be there."""
        if name not in self.tensors:
            raise FormatError(f"checkpoint: missing {name}")
        if self.tensors[name].dim() != 2:
            raise FormatError(f"checkpoint: {name}: expected a matrix, got shape {tuple(self.tensors[name].shape)}")
        return self.tensors[name].shape[axis]

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number >= 0 of the configuration; without a default it must be there."""
        value = self.config.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise FormatError(f"config.json: {key!r} must be a whole number, got {value!r}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            raise FormatError(f"config.json: {key!r} must be true or false, got {value!r}")
        return value

    def number(self, key: str, default: float) -> float:
        value = self.config.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise FormatError(f"config.json: {key!r} must be a number, got {value!r}")
        return float(value)

    def text(self, key: str, default: str) -> str:
        value = self.config.get(key, default)
        if not isinstance(value, str):
            raise FormatError(f"config.json: {key!r} must be a text, got {value!r}")
        return value


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read `config.json` and the weights beside it.

    raises  NotFoundError when a file is not there, FormatError for what is not a plain file of tensors
    """
    if not (folder / "config.json").is_file():
        raise NotFoundError(f"{folder}: no config.json; a checkpoint is a folder with config.json and weights")
    about = _read_json(folder / "config.json")
    if "quantization_config" not in about and (old := folder / "quantize_config.json").is_file():
        about["quantization_config"] = {"quant_method": "gptq"} | _read_json(old)  # GPTQ, before it moved in
    for name, read in (("model.safetensors", read_safetensors), ("pytorch_model.bin", read_pickle)):
        if (folder / name).is_file():
            return Checkpoint(about, read(folder / name))
    raise NotFoundError(f"{folder}: neither model.safetensors nor pytorch_model.bin")


def _read_json(path: Path) -> dict[str, object]:
    if (size := path.stat().st_size) > MAX_CONFIG_BYTES:
        raise FormatError(f"{path.name}: {size} bytes, at most {MAX_CONFIG_BYTES} are read")
    return _json.parse(path.read_bytes(), path.name)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, of any type that torch has."""
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"{path.name}: not a safetensors file: {error}") from None


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a torch checkpoint: one flat dictionary of names and tensors, nothing else."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("\n")[0]
        raise FormatError(
            f"{path.name}: holds more than tensors, and nothing in a file is executed: {reason}"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise FormatError(f"{path.name}: not a torch checkpoint, or truncated: {reason}") from None
    if not isinstance(content, dict) or not content:
        raise FormatError(f"{path.name}: expected a dictionary of tensors, got {type(content).__name__}")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise FormatError(
                f"{path.name}: entry {name!r}: expected a name and a dense tensor, got {type(tensor).__name__}"
            )
    return content
