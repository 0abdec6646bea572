"""Foreign low-bit layouts: packed bytes against the codes, zeros and values that the format's owner decodes.

`int4_formats*` and `int4_extra*` hold arrays named LAYOUT/...; `gguf_*.npz` has a complete `.gguf` file beside it.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from edgeq._errors import FormatError
from edgeq.importers import awq, compressed_tensors, gguf, gguf_blocks, gptq, hf_bitnet, hqq
from edgeq.schemes.grouped import GroupedWeight, linear_of_tokens, quantise_tokens

from .report import Check, Fixture, Report

BITNET_ATOL = 1e-6
SCALE_RTOL = 2.0**-22  # 127 / x, or 127 times 1 / x
BLOCKS = {form.name: kind for kind, form in gguf_blocks.FORMATS.items()}


def recognises(fixture: Fixture) -> bool:
    return any(key.partition("/")[0] in (*LAYOUTS, "dequant") for key in fixture.tensors)


def run_float(fixture: Fixture, report: Report) -> None:
    if any(fixture.under("dequant/")):
        compare_gguf_file(report, fixture)
        return
    for name in sorted({key.partition("/")[0] for key in fixture.tensors}):
        if name not in LAYOUTS:
            raise FormatError(f"{fixture.name}: {name}: no such layout")
        LAYOUTS[name](report, fixture, name)


class Arrays:
    """The arrays of a layout, as tensors."""

    def __init__(self, fixture: Fixture, name: str) -> None:
        self.arrays = dict(fixture.under(f"{name}/"))

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])

    def get(self, key: str) -> Tensor | None:
        return self[key] if key in self.arrays else None


def exact(report: Report, name: str, got: Tensor, want: Tensor) -> None:
    report.compare(name, got, want.numpy(), 0.0)


def compare_gptq(report: Report, fixture: Fixture, name: str) -> None:
    for here in sorted({key.rpartition("/")[0] for key, _ in fixture.under(f"{name}/")}):
        full = f"{name}/{here}".removesuffix("/")
        arrays = Arrays(fixture, full)
        codes = arrays.get("int_weight_out_in")
        for version, key in ((1, "qzeros_v1"), (2, "qzeros_v2"), (2, "qzeros")):
            zeros = arrays.get(key)
            if zeros is None:
                continue
            weight = gptq.decode(
                arrays["qweight"],
                zeros,
                arrays["scales"],
                g_idx=arrays["g_idx"],
                bias=arrays.get("bias"),
                version=version,
                symmetric=here.endswith("_sym"),
            )
            label = f"{full}/{key}"
            order = torch.arange(weight.codes.shape[1]) if weight.perm is None else weight.perm
            want = arrays["codes_out_in"] if codes is None else codes
            exact(report, f"{label}:codes", weight.codes, want[:, order])
            exact(report, f"{label}:zeros", weight.zero, arrays["zeros_out_group"])
            exact(report, f"{label}:dequant", weight.dequantise(), arrays["dequant_out_in"])
            if (perm := arrays.get("perm_sorted_by_group")) is not None:
                exact(report, f"{label}:perm", order, perm)


def compare_awq(report: Report, fixture: Fixture, name: str) -> None:
    arrays = Arrays(fixture, name)
    weight = awq.decode(arrays["qweight"], arrays["qzeros"], arrays["scales"])
    exact(report, f"{name}:codes", weight.codes, arrays["int_weight_in_out"].T)
    exact(report, f"{name}:zeros", weight.zero, arrays["zeros"].T)
    exact(report, f"{name}:dequant", weight.dequantise(), arrays["dequant_in_out"].T)


def compare_compressed_tensors(report: Report, fixture: Fixture, name: str) -> None:
    for here in sorted({key.partition("/")[0] for key, _ in fixture.under(f"{name}/")}):
        arrays = Arrays(fixture, f"{name}/{here}")
        codes, zeros = arrays["q"], arrays.get("zp")
        groups = 1 if zeros is None else zeros.shape[1]
        weight = compressed_tensors.decode(
            arrays["weight_packed"],
            torch.ones(codes.shape[0], groups),
            torch.tensor(codes.shape),
            weight_zero_point=arrays.get("weight_zero_point"),
        )
        exact(report, f"{name}/{here}:codes", weight.codes.short() - 8, codes)
        if zeros is not None:
            exact(report, f"{name}/{here}:zeros", weight.zero - 8, zeros)


def compare_bitnet(report: Report, fixture: Fixture, name: str) -> None:
    arrays = Arrays(fixture, name)
    x_int8, x_scale = quantise_tokens(arrays["x"])
    exact(report, f"{name}:x_int8", x_int8, arrays["x_int8"])
    want_scale = arrays["x_scale"].numpy()
    report.compare(f"{name}:x_scale", x_scale, want_scale, SCALE_RTOL * float(want_scale.max()))
    divisor = arrays.get("weight_scale_divisor")
    weight = hf_bitnet.decode(
        arrays["weight"],
        torch.tensor([20.0]) if divisor is None else divisor,
        linear_class="bitlinear",
        bias=arrays.get("bias"),
    )
    exact(report, f"{name}:codes", weight.codes.short() - 1, arrays["q"] if divisor is None else arrays["codes"])
    if divisor is None:
        return
    acc = arrays["x_int8"].double() @ (weight.codes.double() - 1).T
    exact(report, f"{name}:acc", acc, arrays["acc_int32"])
    report.compare(f"{name}:y", linear_of_tokens(arrays["x"], weight), arrays["y"].numpy(), BITNET_ATOL)
    latent = hf_bitnet.quantise(arrays["weight_latent"], bias=arrays["bias"])
    exact(report, f"{name}:codes of the latents", latent.codes, weight.codes)
    report.compare(f"{name}:y of the latents", linear_of_tokens(arrays["x"], latent), arrays["y"].numpy(), BITNET_ATOL)
    offline = hf_bitnet.decode(arrays["weight"], arrays["weight_scale_multiplier"], linear_class="autobitlinear")
    want = arrays["y"] - arrays["bias"]
    report.compare(f"{name}:y offline", linear_of_tokens(arrays["x"], offline), want.numpy(), BITNET_ATOL)


def compare_gguf(report: Report, fixture: Fixture, name: str) -> None:
    for kind, number in BLOCKS.items():
        packed = fixture.tensors.get(f"{name}/{kind}/bytes")
        if packed is None:
            continue
        want = fixture.tensors[f"{name}/{kind}/dequant"]
        weight = gguf_blocks.decode(number, packed.reshape(-1), *want.shape)
        exact(report, f"{name}/{kind}:dequant", weight.dequantise(), torch.from_numpy(want))


def compare_hqq_packing(report: Report, fixture: Fixture, name: str) -> None:
    for bits in (4, 2):
        codes = fixture.tensors[f"{name}/q{bits}"]
        packed = torch.from_numpy(fixture.tensors[f"{name}/W_q_{bits}bit_u8"])
        report.compare(f"{name}/q{bits}", hqq.unpack(packed, bits, codes.shape[0]), codes, 0.0)


def compare_hqq(report: Report, fixture: Fixture, name: str) -> None:
    arrays = Arrays(fixture, name)
    rows, columns = arrays["dequant"].shape
    packed, codes = arrays["W_q"], arrays["group_codes"]
    bits = 8 // -(-codes.shape[0] // packed.shape[0])
    weight = hqq.decode(
        packed,
        arrays["scale"],
        arrays["zero"],
        shape=(rows, columns),
        group=int(arrays["group_size"]),
        axis=int(name[-1]),
        bits=bits,
    )
    exact(report, f"{name}:codes", weight.codes, codes.reshape(rows, columns))
    exact(report, f"{name}:dequant", weight.dequantise(), arrays["dequant"])


def compare_gguf_file(report: Report, fixture: Fixture) -> None:
    file = gguf.read_gguf(fixture.folder / f"{fixture.name}.gguf")
    metadata = fixture.about.get("metadata")
    if not isinstance(metadata, dict):
        raise FormatError(f"{fixture.name}.json: 'metadata' must be an object, got {metadata!r}")
    wrong = sum(file.metadata.get(key) != value for key, value in metadata.items())
    report.compare("metadata:wrong", torch.tensor(wrong), np.array(0), 0.0)
    report.compare("data_start", torch.tensor(file.data_start), np.array(fixture.number("data_start")), 0.0)
    for name, want in fixture.under("dequant/"):
        got = file.decode(name)
        values = got.dequantise() if isinstance(got, GroupedWeight) else got
        exact(report, f"dequant/{name}", values.reshape(want.shape), torch.from_numpy(want))


LAYOUTS: dict[str, Callable[[Report, Fixture, str], None]] = {
    "gguf": compare_gguf,
    "ct": compare_compressed_tensors,
    "bitnet": compare_bitnet,
    "hf_bitnet_linear": compare_bitnet,
    "gptq": compare_gptq,
    "gptq_desc_act": compare_gptq,
    "awq": compare_awq,
    "hqq": compare_hqq_packing,
    "hqq_axis0": compare_hqq,
    "hqq_axis1": compare_hqq,
}

PATHS: dict[str, Check] = {"float": run_float}
