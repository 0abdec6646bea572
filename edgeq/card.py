"""The model card: what a package says of itself to a reader, and to the Hub in the block at its top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeq.package import Metric


@dataclass(frozen=True)
class Card:
    """What the card tells beyond configuration and metrics.

    summary  one or two sentences
    notes    sections: heading -> markdown text
    """

    name: str
    licence: str
    summary: str
    notes: Mapping[str, str] = field(default_factory=dict)


def render(card: Card, config: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    """The package's README.md: metadata block, table of figures with their labels, usage, notes."""
    from huggingface_hub import ModelCardData

    tags = ["edgeq", str(config["scheme"]), str(config["model"])]
    data = ModelCardData(
        license=card.licence.lower(), library_name="edgeq", pipeline_tag=str(config["task"]), tags=tags
    )
    rows = ["| figure | value | source | conditions |", "|---|---|---|---|", *map(_row, metrics)]
    sections = "".join(f"\n## {heading}\n{text.strip()}\n" for heading, text in card.notes.items())
    return (
        f"---\n{data.to_yaml()}\n---\n# {card.name}\n{card.summary.strip()}\n\n## Figures\n"
        + "\n".join(rows)
        + f"\n\n## Use\n```\nedgeq deploy {card.name} --device local\n```\n"
        + sections
    )


def _row(metric: Metric) -> str:
    known = ("name", "value", "unit", "source")
    value = metric["value"]
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
    conditions = ", ".join(f"{key} {value}" for key, value in metric.items() if key not in known)
    return f"| {metric['name']} | {shown} {metric['unit']} | {metric['source']} | {conditions} |"
