"""BiViT state dicts: the authors' names of the binary layers, inside timm's names of a vision transformer (OIHW)."""

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from edgeq.importers._state_dict import Entry, load, ohwi_to_oihw, same


def load_state(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy the authors' tensors into a BiViT, or into one of its layers whose names then have no prefix.

    `scaling_factor` (O, 1) is the learnt alpha; it is absent where alpha is the mean |W| of the row.
    raises  FormatError naming the tensors that are missing, left over, of another shape, or not finite
    """
    load("BiViT checkpoint", entries(model), tensors)


def entries(model: nn.Module) -> Iterator[Entry]:
    """Every tensor that a state dict of this network or layer holds."""
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2] == "alpha":
            yield Entry(name.removesuffix("alpha") + "scaling_factor", parameter, _column)
        else:
            yield Entry(name, parameter, ohwi_to_oihw if parameter.dim() == 4 else same)


def _column(alpha: Tensor) -> Tensor:
    return alpha[:, None]
