"""The tuning module on the device itself: delta and state of a run on the host, byte for byte, in the memory told."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeq._errors import DeviceError, UnsupportedError
from edgeq._native.tune import Forward, Outputs, Tuner, converse, settings
from edgeq._native.tune_types import TuneData
from edgeq._paths import native
from edgeq.bench.tuned import tune_model
from edgeq.compile import executorch, micro, optable, tunable
from edgeq.compile.layout import METHOD, STEP
from edgeq.device import connect, firmware
from edgeq.tune import Samples
from edgeq.tune.forward import output_names, wanted
from edgeq.tune.on_device import OnDevice
from edgeq.tune.plan_file import plan_bytes

sys.path.append(str(Path(__file__).parents[2] / "tests/unit"))
from tiny_tunable import SHAPE, shift_network, task, tuning_of

SHORT = {"steps": 4, "batch": 8, "evaluate_every": 2}
RUNS = {"t1": SHORT, "t0": SHORT, "mezo": SHORT, "head": {"head_steps": 10}, "auto": SHORT, "stats": {}}
GRADIENT_ONLY = ("t1", "t0", "mezo", "head")


class Areas:
    """Storage in memory."""

    def __init__(self) -> None:
        self.held: dict[str, bytearray] = {}

    def read(self, area: str, offset: int, size: int) -> bytes:
        return bytes(self.held.get(area, b"")[offset : offset + size])

    def write(self, area: str, offset: int, data: bytes) -> None:
        held = self.held.setdefault(area, bytearray())
        held.extend(bytes(max(0, offset + len(data) - len(held))))
        held[offset : offset + len(data)] = data

    def erase(self, area: str) -> None:
        self.held.pop(area, None)

    def flush(self, area: str) -> None:
        pass


@pytest.fixture(scope="module")
def world():
    """A network, what a run must know of it, and samples."""
    network = shift_network()
    tuning = tuning_of(network)
    x, y = task(60, 5, gain=0.7, offset=0.4)
    example = (torch.zeros(1, *SHAPE),)
    sigma = tuning.base.sigma
    further = {
        key: tunable.tunable_method(network, example, tuning.layout, sigma, lean=key == STEP) for key in (METHOD, STEP)
    }
    return {"forward": (network, example)}, further, tuning, Samples((x,), y, "tiny")


@pytest.fixture(scope="module")
def program(world, tmp_path_factory):
    """The program of a target, made once."""
    methods, further, *_ = world
    folder, theta = tmp_path_factory.mktemp("tunable"), dict.fromkeys(further, 3)

    def made(target: str) -> Path:
        file = folder / f"{target}.pte"
        if not file.exists():
            both = {**methods, **further}
            lowered = (
                micro.lower_tunable(both, theta)
                if target == "micro"
                else executorch.lower_methods(both, plain=set(further), borrowed=theta)
            )
            file.write_bytes(lowered)
        return file

    return made


@torch.no_grad()
def on_host(world, method):
    """Outcome, delta and state of the module beside the network in eager."""
    _, further, tuning, samples = world
    module, _ = further[METHOD]
    model, names = tune_model(tuning), output_names(tuning.layout)
    data = TuneData(samples.id, len(samples), samples.labels)
    tuner, areas = Tuner(model, data, settings(method, seed=3, micro=5, **RUNS[method])), Areas()

    def forward(request: Forward) -> Outputs:
        x = torch.from_numpy(samples.inputs[0][request.samples])
        ac = np.ascontiguousarray(request.ac_rows)
        found = module(x, *(torch.from_numpy(a) for a in (ac, request.head_weight, request.head_bias)))
        return wanted(request, {name: array.numpy() for name, array in zip(names, found, strict=True)})

    report = converse(tuner, forward, areas)
    return report, bytes(areas.held.get("delta", b"")), tuner.state_hash()


def opened(device, world, program, method, target, **changes):
    _, _, tuning, samples = world
    data = TuneData(samples.id, len(samples), samples.labels)
    chosen = settings(method, seed=3, micro=1 if target == "micro" else 3, **{**RUNS[method], **changes})
    name = device.put(program(target)).name
    called = STEP if method in GRADIENT_ONLY else METHOD
    return OnDevice(device, name, called, tune_model(tuning), data, chosen, samples)


def same_as_on_host(url, target, world, program, methods):
    for method in methods:
        with connect(url) as device:
            run, areas = opened(device, world, program, method, target), Areas()
            report = run.converse(areas)
            found = report, bytes(areas.held.get("delta", b"")), run.state_hash()
            run.close()
        assert found == on_host(world, method), method


def test_the_local_agent_learns_what_the_host_does(world, program):
    same_as_on_host("local", "executorch", world, program, RUNS)


@pytest.mark.parametrize("method", ["t1", "auto", "head"])
def test_memory_is_what_was_told_and_nothing_beside_it_is_touched(world, program, method, tmp_path, monkeypatch):
    """The agent paints guard bytes around every arena and around all that the module has, and says what was used."""
    told, wrapper = tmp_path / "guards", tmp_path / "agent"
    wrapper.write_text(f'#!/bin/sh\nexec {native("edgeq-agent", "EDGEQ_AGENT")} "$@" --guard {told}\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("EDGEQ_AGENT", str(wrapper))
    with connect("local") as device:
        run, areas = opened(device, world, program, method, "executorch"), Areas()
        report = run.converse(areas)
        found = report, bytes(areas.held.get("delta", b"")), run.state_hash()
        run.close()
        planned = run.net.loaded.planned_bytes
    assert found == on_host(world, method)
    lines = [line.split() for line in told.read_text().splitlines()]
    assert all(state == "intact" for *_, state in lines)
    (used,) = [int(used) for what, size, used, _ in lines if what == "tune" and int(size) == run.bytes]
    assert used > run.bytes - 8  # whose last array ends on 8 bytes
    arenas = [(int(size), int(used)) for what, size, used, _ in lines if what == "arena"]
    assert (planned, planned) in [(size, -(-used // 16) * 16) for size, used in arenas]


def needs(core):
    """Cross tools are packages that `make test` installs as root; without that right the reason says which."""
    board = firmware.find(core)
    tools = firmware.core(board.core).compiler, board.qemu[0]
    if missing := [firmware.package_of(tool) for tool in tools if not shutil.which(tool)]:
        pytest.skip(f"learning on {core} is not tested here: apt-get install {' '.join(missing)}")


@pytest.mark.long
def test_a_microcontroller_learns_what_the_host_does_in_exactly_the_memory_told(world, program):
    needs("cortex-m4")
    same_as_on_host("sim:cortex-m4?with=tune", "micro", world, program, ["t1"])
    with connect("sim:cortex-m4?with=tune") as device:
        device.load(device.put(program("micro")).name, STEP)
        before = device.info.peak_bytes
        run = opened(device, world, program, "t1", "micro")
        need = micro.report(program("micro").read_bytes(), STEP)
        run.converse(Areas())
        planned = need.arena_bytes[0], need.workspace_bytes, need.scratch_bytes, run.bytes
        told = sum(-(-size // 16) * 16 for size in planned) + run.other_bytes
        stack = run.peak_bytes() - before - told
        print(f"\n{told} bytes planned, {stack} of stack and rounding past the agent's own")
        assert 0 <= stack <= 2048


@pytest.mark.long
@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4", "rv32"])
def test_every_method_on_cores_with_and_without_floats(world, program, core):
    needs(core)
    same_as_on_host(f"sim:{core}?with=tune", "micro", world, program, RUNS)


def test_a_run_that_was_cut_goes_on_elsewhere_with_the_same_bytes(world, program):
    areas = Areas()
    with connect("local") as device:
        run = opened(device, world, program, "t1", "executorch")
        seen = []

        def watch(report):
            seen.append(report.step)
            if report.step >= 2:
                run.stop_soon()

        assert run.converse(areas, watch).outcome == "stopped"
    with connect("local") as device:
        run = opened(device, world, program, "t1", "executorch")
        report = run.converse(areas)
        assert (report.outcome, bytes(areas.held.get("delta", b""))) == (
            on_host(world, "t1")[0].outcome,
            on_host(world, "t1")[1],
        )


def test_refusals_say_what_is_wrong(world, program):
    with connect("local") as device:
        with pytest.raises(DeviceError, match="does not deliver"):
            _plan_of_t3(device, world, program)
        run = opened(device, world, program, "t1", "executorch")
        device.reset()
        with pytest.raises(DeviceError, match="no run of the tuning module"):
            run.report()


def _plan_of_t3(device, world, program):
    _, _, tuning, samples = world
    data = TuneData(samples.id, len(samples), samples.labels)
    name = device.put(program("executorch")).name
    OnDevice(device, name, METHOD, tune_model(tuning), data, settings("t3", seed=3), samples)


@pytest.mark.long
def test_firmware_without_the_feature_says_so(world, program):
    needs("cortex-m4")
    with connect("sim:cortex-m4") as device, pytest.raises(UnsupportedError, match="--with tune"):
        opened(device, world, program, "t1", "micro")


def assembled(**files: Path) -> str:
    """Files between NAME_start and NAME_end in flash."""
    text = '.section .rodata.blobs, "a"\n'
    for name, file in files.items():
        text += f'.global {name}_start, {name}_end\n.balign 16\n{name}_start: .incbin "{file}"\n{name}_end: .byte 0\n'
    return text


@pytest.mark.parametrize("method", ["auto", pytest.param("t1", marks=pytest.mark.long)])
def test_firmware_with_a_sensor_learns_without_a_host(world, program, method, tmp_path):
    """tests/tune/sensor.c on an emulated Cortex-M4: no agent, no link; delta and state of the host's run.

    Its memory is painted: the arena that was planned and the bytes that the module asked for are used to their ends,
    and not a byte beside them.
    """
    needs("cortex-m4")
    _, _, tuning, samples = world
    chosen = settings(method, seed=3, micro=1, **RUNS[method])
    model, called = tune_model(tuning), STEP if method in GRADIENT_ONLY else METHOD
    files = {name: tmp_path / name for name in ("plan", "samples")}
    files["plan"].write_bytes(plan_bytes(model, TuneData(samples.id, len(samples), samples.labels), chosen))
    files["samples"].write_bytes(samples.inputs[0].tobytes())
    blobs, table = tmp_path / "blobs.S", tmp_path / "table.c"
    blobs.write_text(assembled(model=program("micro"), **files))
    table.write_text(optable.source([*optable.functions(), *optable.tuned()]))
    root = Path(__file__).parents[2]
    runtime, board = root / "runtime", root / "tests/micro/board"
    sources = [root / "tests/tune/sensor.c", board / "start.c", blobs, table, runtime / "core/quarters.c"]
    sources += [runtime / f"proto/{name}.c" for name in ("sha256", "wire", "tune/tune_plan")]
    sources += [runtime / f"core/{name}.c" for name in ("check", "shape")]
    for folder in ("tune", "micro", "micro/tuned", "kernels/mcu"):
        sources += sorted((runtime / folder).glob("*.c"))
    sources = [file for file in sources if not file.name.startswith("fuzz") and file.name != "operators.c"]
    place = {"flash_at": 0, "flash_bytes": 1 << 20, "ram_at": 0x20000000, "ram_bytes": 1 << 18, "stack_bytes": 8192}
    made = firmware.core("cortex-m4")
    flags = [*made.flags, "-std=c11", "-O2", "-ffreestanding", "-ffp-contract=off"]
    flags += ["-DEQ_MOMENTS", f'-DPASS="{called}"']
    flags += ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-ffunction-sections", "-fdata-sections"]
    flags += [f"-I{folder}" for folder in (runtime, runtime / "include", board)]
    link = ["-nostdlib", "-T", board / "link.ld", "-Wl,--gc-sections", "-lgcc", "-o", tmp_path / "sensor.elf"]
    link += [f"-Wl,--defsym={name}={value}" for name, value in place.items()]
    subprocess.run([made.compiler, *flags, *sources, *link], check=True)
    quiet = ["-display", "none", "-monitor", "none", "-serial", "none"]
    emulator = ["qemu-system-arm", "-M", "mps2-an386", "-kernel", tmp_path / "sensor.elf", *quiet]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    done = subprocess.run([*emulator, *semihosting], capture_output=True, text=True, timeout=600)
    report, delta, state = on_host(world, method)
    outcome = "committed" if report.outcome == "committed" else "not kept"
    expected = f"{outcome} state {state.hex()} delta {hashlib.sha256(delta).hexdigest()}"
    result, _, memory = (done.stdout + done.stderr).strip().partition(" arena ")
    assert (done.returncode, result) == (0, expected)
    print(f"\narena {memory}")
    arena, arena_used, _, module, module_used, guards = memory.split()
    planned = {
        name: micro.report(program("micro").read_bytes(), name).arena_bytes[0] for name in ("forward", STEP, METHOD)
    }
    assert guards == "intact"
    assert int(arena) == planned[called] and int(arena) - 16 < int(arena_used) <= int(arena)
    assert int(module) - 8 < int(module_used) <= int(module)
    assert max(planned[STEP], planned[METHOD]) <= 1.2 * planned["forward"] + 4 * tuning.layout.width
