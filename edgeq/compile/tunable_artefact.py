"""Packages to tunable programs: `forward` and `forward_tune` over the same weights, and what is fixed beside them.

    NAME.pte           the program
    NAME.json          the artefact's manifest; "tuning" holds base and layout
    NAME.head          head and biases of the base, safetensors

What the base was like on training data stays in the package (`layout.BASE_FILE`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, Protocol

from edgeq import _paths
from edgeq._errors import FormatError, UnsupportedError

from . import artefact as artefacts
from .artefact import Artefact
from .layout import BASE_FILE, METHOD, PAIR, PARTS, STEP, Base, Layout, Tuning, parse_parts, plain_parts

WEIGHTS = "model.safetensors"
HEAD_SUFFIX = ".head"
_MOST_NEW_CLASSES = 1000


class Entry(Protocol):
    @property
    def sha256(self) -> str: ...


class Manifest(artefacts.Manifest, Protocol):
    @property
    def files(self) -> Mapping[str, Entry]: ...


class Package(Protocol):
    """A verified package."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def signed_by(self) -> str | None: ...
    def config(self) -> dict[str, object]: ...
    def tensors(self) -> dict[str, Any]: ...
    def read(self, name: str, /) -> bytes: ...


def build_tunable(
    package: Package,
    parts: str = "",
    *,
    target: str = "executorch",
    classes: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Artefact, Tuning]:
    """Compile a package with its second method, or take the result from the cache.

    parts    of "head,scales,taps"; "" is all; and "latents:LAYERS", names joined by +, or latents:all
    classes  of the head where there are to be more than the base knows
    raises   UnsupportedError for a network or target without a tunable form, UsageError for unknown parts, and what
             `artefact.build` raises
    """
    chosen = parse_parts(parts)
    target, part = artefacts._split(target)
    if target not in ("executorch", "micro"):
        raise UnsupportedError(
            f"tunable programs are for executorch and micro so far, not {target} (for the base: --delta none)"
        )
    name, origin = package.manifest.name, package.manifest.sha256
    key = f"{origin} {target} {METHOD} {','.join(chosen)} {classes} {artefacts.fingerprint()}"
    file = artefacts._cached_file(key, target, name)
    base = package.read(BASE_FILE) if BASE_FILE in package.manifest.files and plain_parts(chosen) == PARTS else None
    weights = package.manifest.files[WEIGHTS].sha256
    known = artefacts._read_cached(file, target)
    if known is not None:
        try:
            artefacts._require(known, part)
            return known, _tuning(known, weights, base)
        except (OSError, KeyError, FormatError):
            pass  # the sidecar is damaged: compile again
    _paths.writable_home()
    if progress:
        progress(f"compiling {name} for {target}, tunable")
    from edgeq import models

    from . import executorch, micro, tunable

    config = package.config()
    model = models.from_package(config, package.tensors())
    methods = models.methods(config, model)
    if list(methods) != ["forward"]:
        raise UnsupportedError(f"{name}: a network with the methods {', '.join(methods)} cannot be compiled as tunable")
    example = methods["forward"][1]
    layout = tunable.layout_of(model, example, chosen)
    if classes is not None and not layout.classes <= classes <= layout.classes + _MOST_NEW_CLASSES:
        raise UnsupportedError(f"classes: the base knows {layout.classes}, {classes} cannot be taught to it")
    weight, bias = tunable.base_head(model)
    channels = tunable.base_bias(model, example).numpy() if layout.layers else weight.new_zeros(0).numpy()
    measured = None if base is None else Base.from_bytes(base, layout)
    if layout.latents and target != "executorch":
        raise UnsupportedError(f"latents are for executorch so far, not {target}")
    codes = tunable.base_codes(model, layout)
    tuning = Tuning(weights, layout, weight.numpy(), bias.numpy(), channels, measured, codes)
    sigma = None if measured is None else measured.sigma
    second = {
        METHOD: tunable.tunable_method(model, example, layout, sigma, classes=classes),
        STEP: tunable.tunable_method(model, example, layout, sigma, classes=classes, lean=True),
    }
    if layout.layers and tunable.can_pair(model) and target == "executorch":
        second[PAIR] = tunable.tunable_method(model, example, layout, sigma, classes=classes, lean=True, pair=True)
    theta = {name: len(inputs) - len(example) for name, (_, inputs) in second.items()}
    if target == "micro":
        data = micro.lower_tunable({**methods, **second}, theta)
    else:
        data = executorch.lower_methods({**methods, **second}, plain=set(second), borrowed=theta)
    head = tuning.numbers()
    artefacts._write(file.with_suffix(HEAD_SUFFIX), head)
    manifest = {
        "model": name,
        "version": package.manifest.version,
        "package_sha256": origin,
        "signed_by": package.signed_by,
        "target": target,
        "edgeq": metadata.version("edgeq"),
        "executorch": metadata.version("executorch"),
        "tuning": {
            "base_sha256": weights,
            "layout": layout.to_dict(),
            "layout_sha256": layout.sha256,
            "identity": tuning.identity.hex(),
            "base_statistics": None if measured is None else measured.n0,
            "classes": classes or layout.classes,
            "methods": list(second),
            "head_sha256": hashlib.sha256(head).hexdigest(),
            **(
                {"micro": {method: micro.report(data, method).to_dict() for method in second}}
                if target == "micro"
                else {}
            ),
        },
    }
    artefact = artefacts._store(file, data, manifest)
    artefacts._require(artefact, part)
    return artefact, tuning


def _tuning(artefact: Artefact, weights: str, base: bytes | None) -> Tuning:
    found = artefact.manifest["tuning"]
    file = artefact.path.with_suffix(HEAD_SUFFIX)
    head = file.read_bytes()
    if hashlib.sha256(head).hexdigest() != found["head_sha256"]:
        raise FormatError(f"{file}: altered")
    return Tuning.of(weights, Layout.from_dict(found["layout"]), head, base, file.name)


def describe(tuning: Tuning) -> str:
    """One line for a person."""
    layout = tuning.layout
    base = "without base statistics" if tuning.base is None else f"base statistics of {tuning.base.n0} samples"
    return (
        f"tunable: {', '.join(layout.parts)}; {len(layout.layers)} layers, {2 * layout.channels} scales and biases, "
        f"{layout.width} taps, {sum(codes.size for codes, _ in tuning.codes)} latents, "
        f"head {layout.classes} x {layout.hidden}; {base}; "
        f"layout {layout.sha256[:16]}"
    )
