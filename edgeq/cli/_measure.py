"""What deploy, bench and eval share: run the session, show the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from edgeq.cli._output import Follow, Progress, print_json, print_table, remark, size

if TYPE_CHECKING:
    from edgeq.bench.report import Report


def measure(
    verb: Literal["deploy", "bench", "eval"],
    model: str,
    device: str,
    target: str,
    options: dict[str, Any],
    *,
    allow_unsigned: bool,
    json: bool,
    follow: bool = False,
) -> None:
    """Carry out a measuring verb. options: further fields of `session.Plan`."""
    from edgeq.bench.session import Plan, run, unwatched

    plan, lines = Plan(verb, target, **options), Follow()
    with lines if follow else Progress() as progress:
        watch = lines.samples if follow else unwatched
        report = run(model, device, plan, allow_unsigned=allow_unsigned, progress=progress, watch=watch)
    for warning in report.warnings:
        remark(f"warning: {warning}")
    if follow:
        lines.report(report.as_json())
    elif json:
        print_json(report.as_json())
    else:
        title = f"{report.model} on {report.device} ({report.isa}, {report.threads} thread(s), {report.target})"
        print_table(_rows(report), title=title)


def _rows(report: Report) -> list[tuple[str, str, str]]:
    """What, figure, and the label without which the figure says nothing."""
    rows: list[tuple[str, str, str]] = []
    if e := report.evaluation:
        if a := e.accuracy:
            label = f"{report.source}: {a.correct} of {a.n}, {e.dataset} {e.split}; 95 %: {a.low:.2f} to {a.high:.2f} %"
            rows.append(("accuracy (top-1)", f"{a.top1:.2f} %", label))
        for f in e.figures:
            interval = "" if f.low is None or f.high is None else f"; 95 %: {f.low:.4g} to {f.high:.4g} {f.unit}"
            label = f"{report.source}: {f.method}, {e.n} items, {e.dataset} {e.split}{interval}"
            rows.append((f.name.replace("_", " "), f"{f.value:.4g} {f.unit}", label))
    elif report.verb != "bench":
        rows.append(("accuracy", "-", "the package carries no data for it; use --full or --data PATH"))
    if t := report.latency:
        label = f"measured: {t.n} runs after {t.warmup} warm-ups; 95 %: {t.p50_low_ms:.3f} to {t.p50_high_ms:.3f} ms"
        rows.append(("latency p50", f"{t.p50_ms:.3f} ms", label))
        rows += [(f"latency {p}", f"{ms:.3f} ms", "measured") for p, ms in (("p90", t.p90_ms), ("p99", t.p99_ms))]
    if report.instructions is not None:
        rows.append(("instructions", f"{report.instructions:,.0f}", "simulated: not a time"))
    if m := report.memory:
        rows.append(
            ("memory, peak", size(m.peak_bytes), f"{report.source}: the whole agent; {size(m.before_bytes)} before")
        )
        if m.planned_bytes:
            rows.append(("memory, planned", size(m.planned_bytes), "estimated: arenas of the program"))
    if report.firmware_bytes:
        flash = size(report.size_bytes + report.firmware_bytes)
        rows.append(("flash", flash, f"{report.source}: the model, and {size(report.firmware_bytes)} of firmware"))
    rows.append(("size", size(report.size_bytes), f"measured: sha256 {report.artefact_sha256[:16]}"))
    if j := report.energy:
        rows.append(
            (
                "energy per inference",
                f"{j.millijoules:.3g} mJ",
                f"{j.kind}: +-{j.uncertainty_millijoules:.2g} mJ, scope {j.scope}, {j.sample.source}",
            )
        )
    rows.append(("package", "signed" if report.signed_by else "NOT SIGNED", report.signed_by or "by a trusted key"))
    rows.append(("run", str(report.run_id), "in the results store"))
    return rows
