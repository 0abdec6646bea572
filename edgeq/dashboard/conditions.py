"""What repeating a run needs, and who vouches for what ran: the same lines on the run's page and in a report."""

from __future__ import annotations

from edgeq.dashboard import labels
from edgeq.results import Row


def values(run: Row) -> list[Row]:
    """The values of a run as `Store.run` gives it."""
    found = run["values"]
    assert isinstance(found, list)
    return found


def conditions(run: Row) -> dict[str, str]:
    """What, and its value in words."""
    signature = run["signature"]
    vouched = labels.SIGNATURES.get(None if signature is None else str(signature), str(signature))
    rows = {
        "signature of the package": vouched + (f" ({run['signed_by']})" if run["signed_by"] else ""),
        "deployed file, SHA-256": run["artefact_sha256"],
        "package, SHA-256 of the manifest": run["package_sha256"],
        "package, commit": run["package_commit"],
        "revision of the model": run["revision"],
        "weights": run["scheme"],
        "EdgeQ": f"{run['edgeq_version']} {run['edgeq_commit']}".strip(),
        "target, backend": f"{run['target']}, {run['backend']}",
        "kernels (ISA), threads": f"{run['isa']}, {run['threads']}",
        "warm-up, timed runs": f"{run['warmup']}, {run['n']}",
        "data": " ".join(str(run[key]) for key in ("dataset", "split", "items") if run[key] is not None),
        "temperature, start to end": _span(run["temp_start_c"], run["temp_end_c"], 1, "°C"),
        "clock, start to end": _span(run["freq_start_hz"], run["freq_end_hz"], 1e6, "MHz"),
    }
    return {key: str(value or "-") for key, value in rows.items()}


def _span(start: object, end: object, scale: float, unit: str) -> str:
    def one(value: object) -> str:
        return f"{value / scale:.4g}" if isinstance(value, int | float) else "unknown"

    return "not known" if start is None and end is None else f"{one(start)} to {one(end)} {unit}"
