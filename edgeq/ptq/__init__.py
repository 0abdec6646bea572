"""Post-training quantisation: INT4 weights for a network that was trained in float."""

from edgeq.ptq.network import check, quantize

__all__ = ["check", "quantize"]
