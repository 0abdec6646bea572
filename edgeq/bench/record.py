"""What was measured, on what, out of what: the part of a run that is known before its figures are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edgeq.bench import host
from edgeq.bench.report import Report
from edgeq.package import SIGNATURE
from edgeq.results import DeviceRecord, Layer, ModelRecord, Provenance, RunRecord, Series, Store

if TYPE_CHECKING:
    from edgeq.compile import Artefact
    from edgeq.device import Info
    from edgeq.hub import PulledPackage

_SCHEMES = {
    "b1": "binary",
    "u1": "binary",
    "t2": "ternary",
    "s2": "shift",
    "s3": "shift",
    "s4": "shift",
    "i4": "int4",
    "i8": "int8",
    "f32": "fp32",
    "W1": "binary",
    "W2": "ternary",
    "W4": "int4",
    "W8": "int8",
}
STORE_KINDS = ("host", "phone", "board", "mcu", "browser")
BACKEND = "edgeq-agent"


@dataclass(frozen=True)
class Subject:
    """Device, artefact and package of one run, and the state of the machine when it began."""

    url: str
    arch: str
    device: DeviceRecord
    model: ModelRecord
    provenance: Provenance
    verb: str
    target: str
    isa: str
    threads: int
    simulated: bool
    firmware_bytes: int
    started_utc: str

    @classmethod
    def begin(cls, info: Info, url: str, artefact: Artefact, package: PulledPackage, *, verb: str) -> Self:
        """Note everything that must be noted before the first measurement."""
        manifest, config = package.manifest, package.config()
        revision = f"{manifest.version}@{package.commit[:12]}" if package.commit else str(manifest.version)
        facts = {"name": info.name, "cpu": info.cpu, "arch": info.arch, "agent": info.kind}
        local = is_local(url)
        return cls(
            url=url,
            arch=info.arch,
            device=DeviceRecord(
                url, _kind(info.kind, local), info.isa, ram_bytes=info.memory_bytes or None, facts=facts
            ),
            model=ModelRecord(
                manifest.name, revision, artefact.sha256, scheme(config.get("scheme")), artefact.size_bytes
            ),
            provenance=Provenance(
                edgeq_version=host.version("edgeq") or "",
                edgeq_commit=host.commit(),
                package_sha256=manifest.sha256,
                package_commit=package.commit,
                signature=_signature(package),
                signed_by=package.signed_by,
                temp_start_c=host.temperature_c() if local else None,
                freq_start_hz=host.frequency_hz() if local else None,
                host=host.facts(),
            ),
            verb=verb,
            target=artefact.target,
            isa=info.isa,
            threads=info.threads,
            simulated=info.tick != "ns",
            firmware_bytes=info.code_bytes,
            started_utc=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )

    @property
    def on_this_host(self) -> bool:
        return is_local(self.url)

    def report(self) -> Report:
        """A report without figures yet."""
        return Report(
            verb=self.verb,
            model=self.model.name,
            device=self.url,
            target=self.target,
            isa=self.isa,
            threads=self.threads,
            size_bytes=self.model.size_bytes,
            artefact_sha256=self.model.sha256,
            package_sha256=self.provenance.package_sha256 or "",
            signed_by=self.provenance.signed_by,
            simulated=self.simulated,
            firmware_bytes=self.firmware_bytes,
        )


def is_local(url: str) -> bool:
    """Does this URL name the machine we sit at?"""
    return url == "local" or url.startswith("local:")


def store_report(
    report: Report,
    subject: Subject,
    samples: Sequence[int] = (),
    path: Path | None = None,
    *,
    layers: Sequence[Layer] = (),
    series: Sequence[Series] = (),
) -> Report:
    """Write a finished report to the store; give it back with its run id, and a warning if the store was damaged."""
    local, evaluation, timing = subject.on_this_host, report.evaluation, report.latency
    warm = next(([value for _, value in c.points] for c in series if c.name == "temperature" and not local), [])
    made = replace(subject.provenance, temp_start_c=warm[0]) if warm else subject.provenance
    with Store.open(path) as store:
        if store.set_aside is not None:
            damaged = f"the results store was damaged; it was moved to {store.set_aside} and a new one begun"
            report = replace(report, warnings=(*report.warnings, damaged))
        run_id = store.add_run(
            RunRecord(
                device=subject.device,
                model=subject.model,
                verb=subject.verb,
                backend=BACKEND,
                target=subject.target,
                isa=subject.isa,
                threads=subject.threads,
                started_utc=subject.started_utc,
                warmup=timing.warmup if timing else 0,
                n=len(samples),
                provenance=replace(
                    made,
                    temp_end_c=host.temperature_c() if local else warm[-1] if warm else None,
                    freq_end_hz=host.frequency_hz() if local else None,
                    warnings=report.warnings,
                ),
                values=report.values(),
                samples_ns=samples if timing else (),
                layers=layers,
                series=series,
                dataset=evaluation.dataset if evaluation else None,
                split=evaluation.split if evaluation else None,
                items=evaluation.n if evaluation else None,
            )
        )
    return replace(report, run_id=run_id)


def scheme(text: object) -> str:
    """The store's word for a package's scheme: "b1b1", "t2i8", "W1A4" and the like go by their weights."""
    word = str(text)
    for code, name in _SCHEMES.items():
        if word.startswith(code):
            return name
    return word


def _kind(kind: str, local: bool) -> str:
    """The store's word for what the agent calls itself."""
    return "host" if local else kind if kind in STORE_KINDS else "board"


def _signature(package: PulledPackage) -> str:
    if package.signed_by is not None:
        return "trusted"
    return "untrusted" if (package.path / SIGNATURE).exists() else "unsigned"
