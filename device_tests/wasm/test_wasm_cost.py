"""Size of the modules and operators that a run executes: more than 1 % worse than the committed counts fails.

wasmtime counts operators of WebAssembly ("fuel"), which are no time. `cost.json` names compiler and counter; others are
not compared. To renew it: UPDATE_COUNTS=1 pytest this file.
"""

import json
import os
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from edgeq.compile import wasm

COST = Path(__file__).parent / "cost.json"
WORSE = 1.01
SIZE_LIMIT = {"edgeq-simd.wasm": 72 << 10, "edgeq.wasm": 56 << 10}  # whatever the compiler
PLENTY = 10**10
MOST_MEMORY = 1 << 28
EXPORTS = {"memory", "eqw_program", "eqw_load", "eqw_memory", "eqw_failed_call", "eqw_status_text"} | {
    f"eqw_{name}" for name in ("input", "output", "run")
}


def clang():
    return subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def fuel(module, model):
    """Operators of one run; its outputs are those of ExecuTorch."""
    wasmtime = pytest.importorskip("wasmtime", reason="operators are not counted here: no wasmtime")
    config = wasmtime.Config()
    config.consume_fuel = True
    store = wasmtime.Store(wasmtime.Engine(config))
    store.set_fuel(PLENTY)
    compiled = wasmtime.Module(store.engine, module)
    assert compiled.imports == []
    assert {export.name for export in compiled.exports} == EXPORTS
    exports = wasmtime.Instance(store, compiled, []).exports(store)
    memory, pte = exports["memory"], model.program.read_bytes()
    memory.write(store, pte, exports["eqw_program"](store, len(pte), MOST_MEMORY))
    assert exports["eqw_load"](store) == 0

    def place(value):
        words = memory.read(store, value, value + 16)
        return int.from_bytes(words[4:8], "little")

    memory.write(store, model.inputs[0].tobytes(), place(exports["eqw_input"](store, 0)))
    before = store.get_fuel()
    assert exports["eqw_run"](store) == 0
    used = before - store.get_fuel()
    at = place(exports["eqw_output"](store, 0))
    assert memory.read(store, at, at + model.outputs[0].nbytes) == model.outputs[0].tobytes()
    return used


def counter():
    pytest.importorskip("wasmtime", reason="operators are not counted here: no wasmtime")
    return f"wasmtime {metadata.version('wasmtime')}"


def test_modules_stay_small(javascript):
    sizes = {name: (javascript / name).stat().st_size for name in wasm.MODULES}
    print(f"\n{sizes}")
    assert all(sizes[name] <= limit for name, limit in SIZE_LIMIT.items())


def test_sizes_and_operators_are_not_worse_than_committed(javascript, web_model):
    modules = {name: (javascript / name).read_bytes() for name in wasm.MODULES}
    told = {"compiler": clang(), "counter": counter(), "bytes": {name: len(module) for name, module in modules.items()}}
    told["operators"] = {
        name: {file: fuel(module, web_model(name)) for file, module in modules.items()}
        for name in ("pokebnn-fashion", "denseshift-kws")
    }
    print(f"\n{json.dumps(told)}")
    if os.environ.get("UPDATE_COUNTS"):
        COST.write_text(json.dumps(told, indent=2) + "\n")
    committed = json.loads(COST.read_text())
    if any(told[key] != committed[key] for key in ("compiler", "counter")):
        pytest.skip(f"not compared: {told['compiler']}, {told['counter']} instead of {committed['compiler']}")
    for file, size in told["bytes"].items():
        assert size <= WORSE * committed["bytes"][file], file
    for name, counts in told["operators"].items():
        for file, count in counts.items():
            assert count <= WORSE * committed["operators"][name][file], (name, file)
