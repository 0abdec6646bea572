"""`edgeq finetune`: teach a packed model on the device that holds it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq._errors import FinetuneError, UsageError
from edgeq.cli import _output
from edgeq.cli._options import DEFAULT_DEVICE, AllowUnsigned, Device, Follow, Json, Key, examples
from edgeq.cli._output import Progress, print_json, print_table, remark, size

if TYPE_CHECKING:
    from edgeq.tune import Learned, Learner

EPILOG = examples(
    "edgeq finetune denseshift-kws --data my-voice.npz",
    "edgeq finetune pokebnn-fashion -d ssh://pi@board --data shifted.npz --method stats --test check.npz",
    "edgeq finetune denseshift-kws --data my-voice.npz --cost costs.csv",
    "edgeq finetune denseshift-kws -d adb: --data my-voice.npz --min-battery 30 --max-celsius 40",
    "edgeq finetune denseshift-kws --data my-voice.npz --method t1 --set steps=300 --set lr_ac=0.003 --json",
)


def command(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Zoo name, Hub id or package folder.")] = None,
    device: Device = DEFAULT_DEVICE,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="PATH", help="Samples: .npz with x and, for most methods, y; texts: .csv."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="auto, stats, solve, head, t0, t1, t2, t3, zeroqat or mezo.")
    ] = "auto",
    test: Annotated[
        Path | None, typer.Option("--test", metavar="PATH", help="Other samples, to tell what came of it.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same data, same device: same delta.")] = 1,
    classes: Annotated[
        int | None, typer.Option("--classes", min=2, help="Of the head, where some are new to the base.")
    ] = None,
    cost: Annotated[
        Path | None,
        typer.Option("--cost", metavar="CSV", help="What it costs to say column for row, a row and column a class."),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            "--score",
            metavar="FILE.py:FUNCTION",
            help="To lower by t0, zeroqat or mezo: (logits, labels) -> a number each. The file is executed.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the module; repeatable.")
    ] = None,
    flags: Annotated[
        list[str] | None,
        typer.Option("--flag", help="no_stats, no_cache, unguarded, exact_head, few_samples, fresh; repeatable."),
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Stop after so long; again goes on.")] = None,
    min_battery: Annotated[
        float | None,
        typer.Option("--min-battery", metavar="PERCENT", help="Stop below it, unless charging; again goes on."),
    ] = None,
    max_celsius: Annotated[
        float | None, typer.Option("--max-celsius", metavar="DEGREES", help="Stop above it; again goes on.")
    ] = None,
    on_device: Annotated[
        bool, typer.Option("--on-device", help="Learn on the device itself; a microcontroller does so anyway.")
    ] = False,
    no_apply: Annotated[bool, typer.Option("--no-apply", help="Keep the delta, but go on using the base.")] = False,
    rollback: Annotated[
        int | None, typer.Option("--rollback", metavar="RUN", help="Undo this run of the results store; nothing else.")
    ] = None,
    key: Key = None,
    allow_unsigned: AllowUnsigned = False,
    follow: Follow = False,
    json: Json = False,
) -> None:
    """Personalise a packed model on its device by forward passes alone. The base file is never written.

    Ctrl-C stops within one pass; the same command goes on where it was, as it does after a crash.
    """
    if rollback is not None:
        _roll_back(rollback, json=json)
        return
    if model is None or data is None:
        raise UsageError("finetune needs MODEL and --data PATH (an .npz with x and y)")
    from edgeq import _own_code, keys
    from edgeq.tune import Limits, Wishes, finetune, read_costs

    wishes = Wishes(
        method=method,  # type: ignore[arg-type]  # checked there, with a message of its own
        seed=seed,
        flags=tuple(flags or ()),
        changes=_settings(changes or []),
        classes=classes,
        seconds=seconds,
        limits=Limits(min_battery, max_celsius),
        cost=None if cost is None else read_costs(cost),
        score=None if score is None else _own_code.load(score),
        apply=not no_apply,
        on_device=on_device,
    )
    signer = keys.load_named(key)
    with _output.Follow() if follow else Progress() as progress:
        learned = finetune(
            model,
            device,
            data,
            wishes,
            test=test,
            key=signer,
            allow_unsigned=allow_unsigned,
            progress=progress,
            started=_stop_on_signals,
        )
        if learned.report.outcome == "failed":
            raise FinetuneError(f"{learned.model}: nothing was learned: {learned.report.status}")
        if isinstance(progress, _output.Follow):
            progress.report(learned.as_json())
            return
    for warning in learned.warnings:
        remark(f"warning: {warning}")
    if json:
        print_json(learned.as_json())
    else:
        print_table(_rows(learned), title=f"{learned.model} on {learned.device}: {learned.verdict}")


def _stop_on_signals(learner: Learner) -> None:
    def stop(_signal: int, _frame: Any) -> None:
        learner.stop()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)


def _settings(changes: list[str]) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for text in changes:
        name, _, value = text.partition("=")
        if name in ("loss", "optimiser") and value:
            found[name] = value
            continue
        try:
            number = float(value)
        except ValueError:
            raise UsageError(f"--set {text}: expected NAME=NUMBER, such as steps=300") from None
        found[name] = int(number) if value.strip().lstrip("-").isdecimal() else number
    return found


def _rows(learned: Learned) -> list[tuple[str, str, str]]:
    report = learned.report
    from edgeq.tune import told

    rows = [("verdict", learned.verdict, report.outcome if report.status == "ok" else report.status)]
    if report.base.samples and report.best.samples:
        for when, score, who in (
            ("before", report.base, f"{report.base.samples} samples"),
            ("after", report.best, learned.judged_by),
        ):
            what, _, figure = told(score.metric, learned.measure).partition(" ")
            rows.append((f"{what} {when}", figure, who))
    if learned.test_before is not None and learned.test_after is not None:
        label = "measured: on the device, samples that nothing was learned from"
        rows.append(("test", f"{learned.test_before:.1f} -> {learned.test_after:.1f} %", label))
    rows.append(("passes", str(learned.passes), "samples through the network"))
    rows.append(("time", f"{learned.seconds:.1f} s", "measured"))
    rows.append(("memory", size(learned.arena_bytes + learned.module_bytes), _memory(learned)))
    if learned.delta is not None:
        signed = learned.delta.signed_by or "NOT SIGNED: edgeq keygen device"
        rows.append(("delta", learned.delta.id, f"{size(learned.delta.size_bytes)}, {signed}, {learned.delta.path}"))
    rows.append(("run", str(learned.run_id), "in the results store"))
    return rows


def _memory(learned: Learned) -> str:
    return f"planned: {size(learned.arena_bytes)} arena of the network, {size(learned.module_bytes)} tuning module"


def _roll_back(run_id: int, *, json: bool) -> None:
    from edgeq import deltas
    from edgeq.results import Store

    with Store.open(readonly=True) as store:
        run = store.run(run_id)
    if run["verb"] != "finetune":
        raise UsageError(f"run {run_id} is a {run['verb']}, not a finetune")
    model, details = str(run["model"]), run["details"]
    learned = str(details.get("delta_sha256", ""))[:12] if isinstance(details, dict) else ""
    if not learned:
        raise UsageError(f"run {run_id} kept no delta: there is nothing to roll back")
    active = deltas.in_use(model)
    was = deltas.roll_back(model) if active == learned else None
    if json:
        print_json({"model": model, "rolled_back": was})
    elif was is not None:
        print(f"{model}: delta {was} rolled back; the base is used")
    else:
        used = "the base" if active is None else f"delta {active}"
        print(f"{model}: delta {learned} of run {run_id} is not in use; {used} is")
