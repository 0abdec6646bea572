"""Keep every library of this process from using AMX, so that results hold for machines that have none."""

from __future__ import annotations

import ctypes
import os
import struct

_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XTILEDATA = 158, 0x1023, 18
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06  # classic BPF
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_X86_64 = 0xC000003E


def deny() -> None:
    """Make the request for tile permission fail (seccomp). Linux on x86-64; call before torch or ONNX Runtime load."""
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_VNNI"
    program = [
        (_LOAD, 0, 0, 4),  # architecture
        (_EQUALS, 1, 0, _X86_64),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, 0),  # number of the system call
        (_EQUALS, 0, 3, _ARCH_PRCTL),
        (_LOAD, 0, 0, 16),  # its first argument
        (_EQUALS, 0, 1, _ARCH_REQ_XCOMP_PERM),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    filter_ = Program(len(program), ctypes.addressof(code))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(filter_)):
        raise OSError(ctypes.get_errno(), "AMX cannot be denied on this system; run without --no-amx")
    if libc.syscall(_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XTILEDATA) != -1:
        raise OSError("AMX is still granted after it was denied")
