"""The shared library of the core: found, loaded once, its functions declared; and its instruction sets."""

from __future__ import annotations

import ctypes as ct
import logging
import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from edgeq import _paths
from edgeq._errors import UnsupportedError, UsageError

_POINTER = ct.c_void_p
_SIZE = ct.c_size_t
_U32 = ct.c_uint32
_MOST_TABLE = 1 << 14  # EQ_CHOICES_BYTES
_INT8 = tuple(f"{op}_{w}i8" for op in ("conv2d", "linear") for w in ("b1", "t2", "s2", "s3", "s4", "i8"))
_BITS = tuple(f"{op}_{types}" for op in ("conv2d", "linear") for types in ("b1b1", "b1t2", "b1u1", "t2b1"))
_QUANTISED = ("conv2d_i8f32", "linear_i8f32", "linear_i4f32")
_FLOAT_CONV2D = tuple(f"conv2d_{w}f32" for w in ("s2", "s3", "s4", "f32"))
_FLOAT_LINEAR = tuple(f"linear_{w}f32" for w in ("b1", "t2", "s2", "s3", "s4", "f32"))
_OPERATORS = (*_INT8, *_BITS, *_FLOAT_CONV2D, *_FLOAT_LINEAR, *_QUANTISED)


def _declare(lib: ct.CDLL) -> None:
    """Argument types of every function, so that a pointer never passes through a C int."""
    signatures: dict[str, tuple[object, list[object]]] = {
        "eq_status_text": (ct.c_char_p, [ct.c_int]),
        "eq_conv2d_same": (None, [_POINTER]),
        "eq_conv2d_valid": (None, [_POINTER]),
        "eq_isa_name": (ct.c_char_p, [ct.c_int]),
        "eq_isa_usable": (ct.c_bool, [ct.c_int]),
        "eq_isa_current": (ct.c_int, []),
        "eq_isa_select": (ct.c_int, [ct.c_int]),
        "eq_isa_allow": (None, [ct.c_int]),
        "eq_choice_name": (ct.c_char_p, [ct.c_int]),
        "eq_choice_range": (ct.c_bool, [ct.c_int, _POINTER, _POINTER]),
        "eq_choice_default": (_U32, [ct.c_int, ct.c_int]),
        "eq_choice_get": (_U32, [ct.c_int, ct.c_int]),
        "eq_choice_set": (ct.c_int, [ct.c_int, ct.c_int, _U32]),
        "eq_choices_read": (ct.c_int, [ct.c_char_p, _SIZE, _POINTER]),
        "eq_pack_b1": (ct.c_int, [_POINTER, _SIZE, _U32, _POINTER, _POINTER]),
        "eq_pack_t2": (ct.c_int, [_POINTER, _SIZE, _U32, _POINTER, _POINTER]),
        "eq_epilogue_i32_scratch": (_SIZE, [_U32, _U32, _U32, _U32, _POINTER]),
        "eq_epilogue_i32": (ct.c_int, [_POINTER, _U32, _U32, _U32, _U32, _POINTER, _POINTER, _SIZE]),
        "eq_mean_hw_scratch": (_SIZE, [_U32, _U32, _U32, _U32]),
        "eq_mean_hw": (ct.c_int, [_POINTER, _U32, _U32, _U32, _U32, _POINTER, _POINTER, _SIZE]),
        "eq_mean_quarters": (ct.c_int, [_POINTER, _POINTER, ct.c_float, _U32, _U32, _U32, _U32, _POINTER]),
    }
    signatures["eq_fake_quantise"] = (ct.c_int, [_POINTER, _POINTER, _SIZE, _U32, _POINTER])
    for name in _OPERATORS:
        inputs = 3 if name in _QUANTISED else 2  # x, w and the quantiser
        signatures[f"eq_{name}_scratch"] = (_SIZE, [_POINTER] * 3)
        signatures[f"eq_{name}"] = (ct.c_int, [_POINTER] * (inputs + 4) + [_SIZE])
    signatures["eq_latent_codes"] = (ct.c_int, [ct.c_int, _U32, _POINTER, _SIZE, _POINTER])
    signatures["eq_mean_patches"] = (ct.c_int, [_POINTER] * 3)
    signatures["eq_quantise_i8"] = (ct.c_int, [*[_POINTER] * 2, _SIZE, _U32, *[_POINTER] * 4])
    signatures["eq_linear_i4i8_scratch"] = (_SIZE, [_POINTER] * 4)
    signatures["eq_linear_i4i8"] = (ct.c_int, [_POINTER] * 7 + [_SIZE])
    signatures["eq_conv2d_i4i8_scratch"] = (_SIZE, [_POINTER] * 4)
    signatures["eq_conv2d_i4i8"] = (ct.c_int, [_POINTER] * 6 + [_SIZE])
    signatures["eq_attention_b1_scratch"] = (_SIZE, [_POINTER, _U32, *[_POINTER] * 2])
    signatures["eq_attention_b1"] = (ct.c_int, [_POINTER, _U32, *[_POINTER] * 7, _SIZE])
    signatures["eq_attention_i8_scratch"] = (_SIZE, [_POINTER] * 3)
    signatures["eq_attention_i8"] = (ct.c_int, [*[_POINTER] * 6, _SIZE])
    signatures["eq_attention_f32_scratch"] = (_SIZE, [_POINTER] * 2)
    signatures["eq_attention_f32"] = (ct.c_int, [*[_POINTER] * 5, _SIZE])
    for table in ("b1", "t2", "i8"):
        signatures[f"eq_embedding_{table}"] = (ct.c_int, [_POINTER] * 4)
    signatures["eq_embedding_i4"] = (ct.c_int, [_POINTER] * 3)
    signatures["eq_layer_norm"] = (ct.c_int, [_POINTER])
    signatures["eq_layer_norm_tuned_scratch"] = (_SIZE, [_U32])
    signatures["eq_layer_norm_tuned"] = (ct.c_int, [_POINTER, _U32, *[_POINTER] * 3, _SIZE])
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments


@cache
def library() -> ct.CDLL:
    path = _paths.native("libedgeq.so", "EDGEQ_LIBRARY")
    try:
        lib = ct.CDLL(str(path))
        _declare(lib)
    except (OSError, AttributeError) as error:
        raise UnsupportedError(f"{path}: not a usable EdgeQ core library: {error}") from error
    _allow(lib)
    _use_kernels_file(lib)
    wanted = os.environ.get("EDGEQ_ISA")
    if wanted:
        _select(lib, wanted, "EDGEQ_ISA")
    return lib


def kernels_file() -> Path | None:
    """The table of choices that `edgeq bench kernels --tune` stores; EDGEQ_KERNELS names another, empty: none."""
    named = os.environ.get("EDGEQ_KERNELS")
    return _paths.home() / "kernels.txt" if named is None else Path(named) if named else None


def _use_kernels_file(lib: ct.CDLL) -> None:
    """As runtime/ports/kernels_file.h does for the other libraries: what is no table changes nothing."""
    file = kernels_file()
    if file is None or not file.exists():
        return
    line = _U32(1)
    text = b""
    try:
        if file.is_file():
            with file.open("rb") as opened:
                text = opened.read(_MOST_TABLE + 1)
    except OSError:
        pass  # told below, as any other file that is no table
    if lib.eq_choices_read(text, len(text), ct.byref(line)):
        logging.getLogger("edgeq").warning(
            "edgeq: %s: line %d is not of a table of kernels; using those built in (edgeq bench kernels --tune)",
            file,
            line.value,
        )


def _allow(lib: ct.CDLL) -> None:
    """Tell the core which optional sets it may use, as runtime/ports/optional_isas.h does for the other libraries."""
    libc = ct.CDLL(None)
    for name in _optional_neon(libc) if platform.machine() == "aarch64" else _amx(libc):
        lib.eq_isa_allow(_names(lib).index(name))


def _optional_neon(libc: ct.CDLL) -> Iterator[str]:
    getauxval = getattr(libc, "getauxval", None)
    if getauxval is None:
        return
    getauxval.restype, getauxval.argtypes = ct.c_ulong, [ct.c_ulong]
    if getauxval(16) & (1 << 20):  # AT_HWCAP, HWCAP_ASIMDDP
        yield "neon-dotprod"
        if getauxval(26) & (1 << 13):  # AT_HWCAP2, HWCAP2_I8MM
            yield "neon-i8mm"


def _amx(libc: ct.CDLL) -> Iterator[str]:
    """A process asks Linux for the registers; sandboxes may refuse."""
    cpu = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpu.exists() or "amx_int8" not in cpu.read_text().split():
        return
    syscall = libc.syscall
    syscall.restype, syscall.argtypes = ct.c_long, [ct.c_long] * 3
    if syscall(158, 0x1023, 18) == 0:  # arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA
        yield "amx"


def _names(lib: ct.CDLL) -> list[str]:
    names: list[str] = []
    while (name := lib.eq_isa_name(len(names)).decode()) != "unknown":
        names.append(name)
    return names


def _select(lib: ct.CDLL, name: str, origin: str) -> None:
    names = _names(lib)
    if name not in names:
        raise UsageError(f"{origin}: unknown instruction set {name!r}; known: {', '.join(names)}")
    if lib.eq_isa_select(names.index(name)):
        raise UnsupportedError(f"{origin}: this machine cannot run {name!r}; usable: {', '.join(_usable(lib))}")


def _usable(lib: ct.CDLL) -> list[str]:
    return [name for i, name in enumerate(_names(lib)) if lib.eq_isa_usable(i)]


def isa() -> str:
    """Name of the instruction set in use."""
    return isa_names()[int(library().eq_isa_current())]


def isa_names() -> list[str]:
    """The instruction sets that the core knows, on any machine; the order is that of its numbers."""
    return _names(library())


def usable_isas() -> list[str]:
    """Names of the instruction sets that this machine and this build can use, plainest first."""
    return _usable(library())


def select_isa(name: str) -> None:
    """Use that instruction set from now on, process-wide. UnsupportedError when the machine lacks it."""
    _select(library(), name, "select_isa")


def call(name: str, *arguments: object) -> None:
    """`eq_NAME(arguments)`; UsageError with the core's words when it refuses them."""
    lib = library()
    status = getattr(lib, f"eq_{name}")(*arguments)
    if status:
        raise UsageError(f"{name}: {lib.eq_status_text(status).decode()}")
