"""Run a `.tflite` in this process, with EdgeQ's operators, in whichever TFLite runtime there is.

Needs neither torch nor ExecuTorch: this module, numpy and a runtime are enough (`docs/litert.md`). The runtime is
ai-edge-litert, or tflite-runtime 2.14, or TensorFlow.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata, util
from typing import Any

import numpy as np

from edgeq import _paths
from edgeq._errors import CompileError, UnsupportedError, UsageError

Array = np.ndarray[Any, Any]
RUNTIMES = ("ai_edge_litert", "tflite_runtime", "tensorflow")
_STATE = "state."
_LIBRARY = "libedgeq_litert.so"


def runtime(name: str | None = None) -> Any:
    """The module of the runtime of that name, or of the first one that is installed.

    raises  UnsupportedError when there is none, or when it is tflite-runtime beside numpy 2, which it cannot load
    """
    wanted = [name] if name else list(RUNTIMES)
    found = next((package for package in wanted if util.find_spec(package) is not None), None)
    if found is None:
        raise UnsupportedError(f"no TFLite runtime is installed ({', '.join(wanted)}): pip install 'edgeq[litert]'")
    if found == "tflite_runtime" and int(np.__version__.partition(".")[0]) >= 2:
        raise UnsupportedError(
            f"tflite-runtime {metadata.version('tflite-runtime')} was built for numpy 1, and numpy {np.__version__} is "
            "installed beside it: give it an environment of its own (docs/litert.md), or use ai-edge-litert"
        )
    if found == "tensorflow":  # whose public modules are attributes: the package tensorflow.lite is another one
        return importlib.import_module(found).lite
    return importlib.import_module(f"{found}.interpreter")


def delegate(*, threads: int = 1, module: Any = None) -> Any:
    """EdgeQ's operators as the runtime takes them: `Interpreter(path, experimental_delegates=[delegate()])`.

    module  what `runtime()` gave, or None for the first one that is installed
    raises  UnsupportedError when EdgeQ's library is not installed, or refuses (EDGEQ_ISA, EDGEQ_THREADS)
    """
    module = module or runtime()
    load = getattr(module, "load_delegate", None) or module.experimental.load_delegate
    library = _paths.native(_LIBRARY, "EDGEQ_LITERT").absolute()
    try:
        return load(str(library), {"threads": str(threads)})
    except (OSError, ValueError, RuntimeError) as error:
        raise UnsupportedError(f"{library}: not usable as a delegate: {' '.join(str(error).split())}") from error


class Program:
    """A loaded `.tflite`. What its methods keep between calls begins as zeros and is theirs in common.

    raises  CompileError when the runtime or EdgeQ's operators refuse the file, UnsupportedError without them
    """

    def __init__(
        self, tflite: bytes, *, threads: int = 1, runtime_name: str | None = None, with_edgeq: bool = True
    ) -> None:
        module = runtime(runtime_name)
        delegates = [delegate(threads=threads, module=module)] if with_edgeq else []
        with _refused():
            self._interpreter = module.Interpreter(
                model_content=tflite, experimental_delegates=delegates, num_threads=threads
            )
            self._interpreter.allocate_tensors()
            self._signatures: Mapping[str, Any] = self._interpreter.get_signature_list()
        self._runners: dict[str, Any] = {}
        self._states: dict[str, Array] = {}

    @property
    def methods(self) -> list[str]:
        return [name for name in self._signatures if name != "serving_default"]

    def inputs(self, method: str) -> list[tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and element type of each input of a method."""
        details = self._runner(method).get_input_details()
        found = [details[name] for name in _numbered(details, "input_")]
        return [(tuple(int(extent) for extent in d["shape"]), np.dtype(d["dtype"])) for d in found]

    def run(self, method: str, inputs: Sequence[Array]) -> list[Array]:
        """The outputs of a method. raises UsageError for inputs of another number, shape or element type."""
        runner = self._runner(method)
        wanted = self.inputs(method)
        if len(inputs) != len(wanted):
            raise UsageError(f"{method} takes {len(wanted)} inputs, given {len(inputs)}")
        for i, (value, (shape, dtype)) in enumerate(zip(inputs, wanted, strict=True)):
            if value.shape != shape or value.dtype != dtype:
                raise UsageError(f"input {i} of {method}: expected {dtype} {shape}, given {value.dtype} {value.shape}")
        details = runner.get_input_details()
        given = {f"input_{i}": value for i, value in enumerate(inputs)}
        for name, detail in details.items():
            if name.startswith(_STATE):
                given[name] = self._states.setdefault(name, np.zeros(detail["shape"], detail["dtype"]))
        with _refused():
            results = runner(**given)
        self._states.update({name: value for name, value in results.items() if name.startswith(_STATE)})
        return [results[name] for name in _numbered(results, "output_")]

    def _runner(self, method: str) -> Any:
        if method not in self._signatures:
            raise CompileError(f"the program has no method {method}; it has {', '.join(self.methods)}")
        if method not in self._runners:
            with _refused():
                self._runners[method] = self._interpreter.get_signature_runner(method)
        return self._runners[method]


def _numbered(names: Mapping[str, Any], start: str) -> list[str]:
    return sorted((name for name in names if name.startswith(start)), key=lambda name: int(name.removeprefix(start)))


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        text = _line(error)
        more = "; load EdgeQ's delegate (docs/litert.md)" if "unresolved custom op: edgeq." in text else ""
        raise CompileError(f"program cannot be executed: {text}{more}") from error


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
