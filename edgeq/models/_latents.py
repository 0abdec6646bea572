"""Starting a low-bit network from the tensors of its float twin or of an earlier stage."""

from collections.abc import Mapping

from torch import Tensor, nn

from edgeq._errors import FormatError

OWN = (".alpha", ".move")  # what a float twin does not have: steps are set by the first batch, shifts start at 0


def load(title: str, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take over every tensor of `state`.

    title   names the network in messages
    raises  FormatError naming a tensor that is missing, left over or of another shape
    """
    own = model.state_dict()
    missing = sorted(name for name in own.keys() - state.keys() if not name.endswith(OWN))
    for kind, names in (("missing", missing), ("unknown", sorted(state.keys() - own.keys()))):
        if names:
            raise FormatError(f"{title} latents: {kind} {', '.join(names[:3])}; other depth or stage?")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise FormatError(f"{name}: expected shape {tuple(own[name].shape)}, got {tuple(tensor.shape)}")
    model.load_state_dict(dict(state), strict=False)
