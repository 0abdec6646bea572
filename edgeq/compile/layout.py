"""What there is to tune in a program, and what its base was like: all that a device and a delta must agree on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np

from edgeq import _json
from edgeq._errors import FormatError, UsageError
from edgeq._weights import read_tensors, write_tensors

from .start import Start

PARTS = ("head", "scales", "taps")
LATENTS = "latents:"  # a part that names layers: latents:stem+blocks.1, or latents:all
METHOD, STEP = "forward_tune", "forward_step"  # the second gives logits and hidden only: all that a step asks for
PAIR = "forward_pair"  # the same for one sample with two rows of ac, the signs of a step
BASE_FILE = "tuning.safetensors"  # in a package: a `Base`
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layer:
    """A tunable layer: its a are ac[offset : offset + channels], its c follow. Layers of one depth read one input."""

    name: str
    channels: int
    offset: int
    depth: int


@dataclass(frozen=True)
class Tap:
    """Outputs of a layer, taps[offset : offset + width]."""

    layer: str
    offset: int
    width: int


@dataclass(frozen=True)
class LatentLayer:
    """A layer, by its index among the tunable ones, whose codes (outputs, inputs) in -top..top may be learned.

    kind  how codes follow from latents, `edgeq.ops.Latent`
    """

    layer: int
    outputs: int
    inputs: int
    kind: int
    top: int

    @property
    def signs(self) -> bool:
        """-1 and 1 alone?"""
        return self.kind == 1


@dataclass(frozen=True)
class Layout:
    """What a delta is made for. Two programs of one layout and one base take the same deltas."""

    parts: tuple[str, ...]
    layers: tuple[Layer, ...]
    taps: tuple[Tap, ...]
    classes: int
    hidden: int
    latents: tuple[LatentLayer, ...] = ()

    @property
    def without_latents(self) -> Layout:
        """What base statistics are measured for."""
        return replace(self, parts=plain_parts(self.parts), latents=())

    @property
    def channels(self) -> int:
        return sum(layer.channels for layer in self.layers)

    @property
    def width(self) -> int:
        """Of `taps`."""
        return sum(tap.width for tap in self.taps)

    def to_dict(self) -> dict[str, Any]:
        return {
            "parts": list(self.parts),
            "layers": [[layer.name, layer.channels, layer.offset, layer.depth] for layer in self.layers],
            "taps": [[tap.layer, tap.offset, tap.width] for tap in self.taps],
            "classes": self.classes,
            "hidden": self.hidden,
            **({"latents": [list(astuple(latent)) for latent in self.latents]} if self.latents else {}),
        }

    @property
    def sha256(self) -> str:
        return hashlib.sha256(_json.canonical(self.to_dict())).hexdigest()

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Layout:
        """Raises FormatError for what `to_dict` never wrote."""
        try:
            layout = cls(
                tuple(str(part) for part in found["parts"]),
                tuple(Layer(str(n), int(c), int(o), int(d)) for n, c, o, d in found["layers"]),
                tuple(Tap(str(n), int(o), int(w)) for n, o, w in found["taps"]),
                int(found["classes"]),
                int(found["hidden"]),
                tuple(LatentLayer(*(int(i) for i in latent)) for latent in found.get("latents", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"tuning manifest: layout cannot be read: {error!r}") from None
        return layout


def parse_parts(text: str) -> tuple[str, ...]:
    """ "head,scales" -> ("head", "scales"); "" is all but latents. The head is always there."""
    given = [part.strip() for part in text.split(",") if part.strip()]
    names = sorted({name for part in given if part.startswith(LATENTS) for name in part[len(LATENTS) :].split("+")})
    wanted = {part for part in given if not part.startswith(LATENTS)} or set(PARTS)
    if unknown := sorted(wanted - set(PARTS)):
        raise UsageError(f'tunable: part "{unknown[0]}" is not known; there are: {", ".join(PARTS)}, latents:LAYERS')
    if names and "scales" not in wanted:
        raise UsageError("tunable: latents need scales beside them")
    return (*(part for part in PARTS if part in wanted | {"head"}), *([LATENTS + "+".join(names)] if names else []))


def plain_parts(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Without latents."""
    return tuple(part for part in parts if not part.startswith(LATENTS))


def latent_names(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Layers, or names that theirs begin with, whose codes are to be learned."""
    return tuple(name for part in parts if part.startswith(LATENTS) for name in part[len(LATENTS) :].split("+"))


@dataclass(frozen=True)
class Base:
    """What `measure_base` found on n0 samples; L layers, n channels in all, T taps of d - 1 columns.

    sigma     (L,) root mean square of a layer's s0
    m0, s0    (n,) before the activation, all positions pooled
    rms       (T,)
    triangle  float32: row i holds entries i..d-1 of the upper factor of the Gram matrix of [taps / rms, 1], then one
              right-hand side a class; targets [y = c] - 1 / classes
    start     where `zeroqat` begins; None: at the codes
    """

    n0: int
    sigma: Array
    m0: Array
    s0: Array
    rms: Array
    head_sigma: float
    triangle: Array
    start: Start | None = None

    def to_bytes(self, layout: Layout) -> bytes:
        """The file `tuning.safetensors` of a package."""
        return write_tensors(
            {
                "layout": np.frombuffer(bytes.fromhex(layout.without_latents.sha256), np.uint8),
                "n0": np.array([self.n0], np.int32),
                "head_sigma": np.array([self.head_sigma], np.float32),
                **{name: getattr(self, name) for name in ("sigma", "m0", "s0", "rms", "triangle")},
                **({} if self.start is None else self.start.tensors()),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, layout: Layout, where: str = BASE_FILE) -> Base:
        """Raises FormatError for a file that is not one, or was measured on another network."""
        found = dict(read_tensors(data, where))
        start = Start.of(found, [layer.channels for layer in layout.layers], where)
        d, layers, n = layout.width + 1, len(layout.layers), layout.channels
        shapes: Mapping[str, tuple[int, ...]] = {
            "layout": (32,),
            "n0": (1,),
            "head_sigma": (1,),
            "sigma": (layers,),
            "m0": (n,),
            "s0": (n,),
            "rms": (len(layout.taps),),
            "triangle": (d * (d + 1) // 2 + d * layout.classes,),
        }
        for name in sorted(shapes.keys() | found.keys()):
            if name not in found or name not in shapes or found[name].shape != shapes[name]:
                shape = found[name].shape if name in found else "missing"
                raise FormatError(f'{where}: tensor "{name}" is {shape}, expected {shapes.get(name, "nothing")}')
        if found["layout"].tobytes().hex() != layout.without_latents.sha256:
            raise FormatError(f"{where}: was measured on another network, or by another version of EdgeQ")
        floats = {name: found[name].astype(np.float32) for name in ("sigma", "m0", "s0", "rms", "triangle")}
        n0, head_sigma = int(found["n0"][0]), float(found["head_sigma"][0])
        if n0 < 1 or head_sigma <= 0 or any((floats[name] <= 0).any() for name in ("sigma", "s0", "rms")):
            raise FormatError(f"{where}: n0, head_sigma, sigma, s0 and rms must be positive")
        return cls(n0=n0, head_sigma=head_sigma, start=start, **floats)


@dataclass(frozen=True)
class Tuning:
    """What a tuning run and a delta must know of a tunable program; n channels of all layers.

    base_sha256  of the package's `model.safetensors`
    head_weight  (C, H), head_bias (C,), bias (n,): real units
    base         None: the package was made without training data
    codes        (outputs, inputs) int8 of every layer with latents, and its channels' scales (outputs,)
    """

    base_sha256: str
    layout: Layout
    head_weight: Array
    head_bias: Array
    bias: Array
    base: Base | None
    codes: tuple[tuple[Array, Array], ...] = ()

    @property
    def identity(self) -> bytes:
        """32 bytes that name what a delta's numbers mean: the layout and, where there is one, the base's scales."""
        digest = hashlib.sha256(bytes.fromhex(self.layout.sha256))
        if (base := self.base) is not None:
            for array in (base.sigma, base.rms, base.m0, base.s0):
                digest.update(array.astype("<f4").tobytes())
        return digest.digest()

    def numbers(self) -> bytes:
        """The head, the biases and codes that may be learned as safetensors; the base has a file of its own."""
        names = ("head_weight", "head_bias", "bias")
        found = {name: np.asarray(getattr(self, name), np.float32) for name in names}
        for i, (codes, scale) in enumerate(self.codes):
            found |= {f"codes{i}": codes, f"scale{i}": scale}
        return write_tensors(found)

    @classmethod
    def of(cls, base_sha256: str, layout: Layout, numbers: bytes, base: bytes | None, where: str) -> Tuning:
        """Raises FormatError for numbers that do not fit the layout."""
        found = read_tensors(numbers, where)
        shapes = {
            "head_weight": (layout.classes, layout.hidden),
            "head_bias": (layout.classes,),
            "bias": (layout.channels,),
        }
        expected: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
            name: (shape, np.dtype(np.float32)) for name, shape in shapes.items()
        }
        for i, latent in enumerate(layout.latents):
            expected[f"codes{i}"] = ((latent.outputs, latent.inputs), np.dtype(np.int8))
            expected[f"scale{i}"] = ((latent.outputs,), np.dtype(np.float32))
        if {name: (array.shape, array.dtype) for name, array in found.items()} != expected:
            raise FormatError(f"{where}: does not fit the layout beside it; compile again")
        known = None if base is None else Base.from_bytes(base, layout)
        codes = tuple((found[f"codes{i}"], found[f"scale{i}"]) for i in range(len(layout.latents)))
        return cls(base_sha256, layout, found["head_weight"], found["head_bias"], found["bias"], known, codes)
