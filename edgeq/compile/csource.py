"""A model as C sources: constant data, the runtime, the kernels that it needs, and what builds them.

The folder is a CMake project, a Zephyr module and an Arduino library at once; `example/main.c` runs the model on an
input whose output is known from ExecuTorch, and compares. Which sources are needed is read off the sources themselves:
from the operators that the program calls, function by function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from edgeq import _paths
from edgeq._errors import StoreError, UsageError

from . import host, micro, optable

_ENGINE = ("call", "method", "model", "program", "reader", "status", "value")
_FOLDERS = ("micro", "core", "kernels/mcu", "kernels/ref")  # searched in this order
_SEED = 1
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DEFINITION = re.compile(r"^(?!static|typedef|#|return)[\w][\w \*]*?\b(eqm?_\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Export:
    """What was written: the folder, the files below it, and the memory that the model takes."""

    folder: Path
    files: tuple[str, ...]
    report: micro.Report


def identifier(name: str) -> str:
    """The C name for a model's: "pokebnn-fashion" -> "pokebnn_fashion"."""
    made = re.sub(r"\W+", "_", name.rpartition("/")[2].lower()).strip("_")
    return made if _NAME.fullmatch(made) else f"model_{made}"


def export(pte: bytes, folder: Path, name: str, *, version: str = "0") -> Export:
    """Write a micro program as a C project.

    pte      from `edgeq.compile.micro.lower`
    folder   made if it is missing; files of an earlier export are replaced
    name     a C identifier in lower case: of the header, the functions and the constants
    raises   CompileError when the program does not keep to the profile, UsageError for a name that C does not take,
             StoreError when the folder cannot be written
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f'"{name}" is no C name in lower case; use letters, digits and underscores')
    report, operators = micro.report(pte), micro.operators(pte)
    runtime = _paths.runtime()
    sources = _needed(runtime, operators)
    files = {f"src/{_target(source)}": (runtime / source).read_bytes() for source in sources}
    texts = {
        f"src/{name}.h": _header(name, report),
        f"src/{name}_data.c": _data(name, pte),
        f"src/{name}.c": _facade(name, operators),
        "example/main.c": _main(name, *_example(pte)),
        **_builds(name, version, [path for path in files if path.endswith(".c")], report),
    }
    files |= {path: text.encode() for path, text in texts.items()}
    try:
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}") from error
    return Export(folder, tuple(sorted(files)), report)


# ---- which sources


def _target(source: str) -> str:
    return source.removeprefix("include/")


def _needed(runtime: Path, operators: tuple[str, ...]) -> list[str]:
    """Sources and headers, as paths below the runtime: from the operators on, whatever is named is taken along."""
    code = {
        f"{folder}/{file.name}": _COMMENT.sub("", file.read_text())
        for folder in _FOLDERS
        for file in sorted((runtime / folder).glob("*.c"))
        if not file.name.startswith("fuzz") and file.name != "operators.c"
    }
    defined = {symbol: path for path in reversed(code) for symbol in _DEFINITION.findall(code[path])}
    table = optable.functions()
    todo = [f"micro/{file}.c" for file in _ENGINE] + [defined[table[operator]] for operator in operators]
    found: dict[str, None] = {}
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found[path] = None
        if path not in code:
            code[path] = _COMMENT.sub("", (runtime / path).read_text())
        if path.endswith(".c"):
            todo += [defined[symbol] for symbol in set(re.findall(r"\beqm?_\w+", code[path])) & defined.keys()]
        todo += [_found(runtime, path, include) for include in _INCLUDE.findall(code[path])]
    return sorted(found)


def _found(runtime: Path, source: str, include: str) -> str:
    for folder in (Path(source).parent, Path(), Path("include")):
        if (runtime / folder / include).is_file():
            return (folder / include).as_posix()
    raise UsageError(f"{source} includes {include}, which the runtime does not have")


# ---- C


def _lines(content: bytes, indent: str = "    ") -> Iterator[str]:
    for at in range(0, len(content), 20):
        yield indent + "".join(f"{byte}, " for byte in content[at : at + 20]).rstrip()


def _data(name: str, pte: bytes) -> str:
    body = "\n".join(_lines(pte))
    return (
        f'/* The program, executed in place. */\n#include "{name}.h"\n\n'
        f"_Alignas(16) const unsigned char {name}_pte[{len(pte)}] = {{\n{body}\n}};\n"
    )


def _facade(name: str, operators: tuple[str, ...]) -> str:
    return f"""\
/* The model's five calls, and the operators that it needs. */
#include "{name}.h"

{optable.source(operators)}
eqm_status {name}_init(eqm_model *model, void *memory, size_t memory_bytes) {{
  return eqm_model_init(model, {name}_pte, sizeof {name}_pte, memory, memory_bytes);
}}
"""


def _header(name: str, report: micro.Report) -> str:
    upper = name.upper()
    wide = report.ram_bytes + 16 * (report.workspace_values + 1)
    return f"""\
/* {name}: {report.program_bytes} bytes of flash, {report.ram_bytes} of RAM. Made by `edgeq export-c`.
 *
 *   static _Alignas(16) unsigned char memory[{upper}_MEMORY];
 *   eqm_model model;
 *   eqm_status status = {name}_init(&model, memory, sizeof memory);   then eqm_model_input, _run, _output (model.h)
 */
#ifndef {upper}_H
#define {upper}_H

#ifdef __cplusplus
extern "C" {{
#endif

#include "micro/model.h"

/* Arena, workspace and scratch; where pointers have 64 bits the workspace is larger. */
#if UINTPTR_MAX > 0xffffffff
#define {upper}_MEMORY {wide}
#else
#define {upper}_MEMORY {report.ram_bytes}
#endif

extern const unsigned char {name}_pte[{report.program_bytes}];

/* memory on a 16-byte boundary, {upper}_MEMORY bytes */
eqm_status {name}_init(eqm_model *model, void *memory, size_t memory_bytes);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _example(pte: bytes) -> tuple[list[bytes], list[bytes]]:
    """Inputs from a fixed seed, and what ExecuTorch makes of them on this machine."""
    generator = torch.Generator().manual_seed(_SEED)
    inputs = tuple(
        torch.rand(shape, generator=generator)
        if dtype == torch.float32
        else torch.randint(0, 2, shape, generator=generator).to(dtype)
        for shape, dtype in micro.inputs(pte)
    )
    outputs = host.run(pte, inputs)
    return [x.numpy().tobytes() for x in inputs], [y.contiguous().numpy().tobytes() for y in outputs]


def _main(name: str, inputs: list[bytes], outputs: list[bytes]) -> str:
    def arrays(kind: str, contents: list[bytes]) -> str:
        return "\n".join(
            f"static const unsigned char {kind}{i}[{len(content)}] = {{\n" + "\n".join(_lines(content)) + "\n};"
            for i, content in enumerate(contents)
        )

    writes = "\n".join(
        f"  memcpy(eqm_model_input(&model, {i}, NULL), input{i}, sizeof input{i});" for i in range(len(inputs))
    )
    checks = "\n".join(f"  same &= check(&model, {i}, output{i}, sizeof output{i});" for i in range(len(outputs)))
    return f"""\
/* Runs the model on a known input: prints its output as hexadecimal bytes, exits 0 when they are the expected ones. */
#include <stdio.h>
#include <string.h>

#include "{name}.h"

{arrays("input", inputs)}
{arrays("output", outputs)}

static _Alignas(16) unsigned char memory[{name.upper()}_MEMORY];

static int check(const eqm_model *model, uint32_t i, const unsigned char *expected, size_t count) {{
  static const char digits[] = "0123456789abcdef";
  size_t bytes;
  const unsigned char *from = eqm_model_output(model, i, &bytes);
  for (size_t at = 0; at < bytes;) {{
    char line[65];
    size_t end = 0;
    for (; end < 64 && at < bytes; end += 2, at++) {{
      line[end] = digits[from[at] >> 4];
      line[end + 1] = digits[from[at] & 15];
    }}
    line[end] = 0;
    puts(line);
  }}
  return bytes == count && memcmp(from, expected, count) == 0;
}}

int main(void) {{
  eqm_model model;
  eqm_status status = {name}_init(&model, memory, sizeof memory);
  if (status == EQM_OK) {{
{writes.replace("  memcpy", "    memcpy")}
    status = eqm_model_run(&model);
  }}
  if (status != EQM_OK) {{
    puts(eqm_status_text(status));
    return (int)status;
  }}
  int same = 1;
{checks}
  puts(same ? "as expected" : "not as expected");
  return same ? 0 : 100;
}}
"""


# ---- builds


def _builds(name: str, version: str, sources: list[str], report: micro.Report) -> Mapping[str, str]:
    own = [*sources, f"src/{name}.c", f"src/{name}_data.c"]
    kernels = [path for path in sources if path.startswith("src/kernels/")]
    listed, fast = ("\n    ".join(paths) for paths in (own, kernels))
    module = "\n    ".join(f"../{path}" for path in own)
    option = f"EDGEQ_{name.upper()}"
    number = version if re.fullmatch(r"\d+(\.\d+)*", version) else "0"
    return {
        "CMakeLists.txt": f"""\
# {name} as a library, and example/main.c. No contraction of a * b + c: results have the bits of the other devices.
cmake_minimum_required(VERSION 3.16)
project({name} LANGUAGES C)

add_library({name} STATIC
    {listed})
set_target_properties({name} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON)
target_include_directories({name} PUBLIC src)
target_compile_options({name} PRIVATE -Wall -Wextra -ffp-contract=off -ffunction-sections -fdata-sections)
set_source_files_properties(
    {fast}
    PROPERTIES COMPILE_OPTIONS -O2)

if(PROJECT_IS_TOP_LEVEL OR CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
  add_executable({name}_example example/main.c)
  set_target_properties({name}_example PROPERTIES C_STANDARD 11)
  target_link_libraries({name}_example PRIVATE {name})
endif()
""",
        "zephyr/module.yml": f"name: {name}\nbuild:\n  cmake: zephyr\n  kconfig: zephyr/Kconfig\n",
        "zephyr/Kconfig": f'config {option}\n\tbool "The model {name}, run by EdgeQ"\n\tdefault y\n',
        "zephyr/CMakeLists.txt": f"""\
if(CONFIG_{option})
  zephyr_include_directories(../src)
  zephyr_library()
  zephyr_library_sources(
    {module})
  zephyr_library_compile_options(-ffp-contract=off)
endif()
""",
        "library.properties": f"""\
name={name}
version={number if "." in number else number + ".0.0"}
author=EdgeQ
maintainer=EdgeQ
sentence=The model {name}, executed in place.
paragraph={report.program_bytes} bytes of flash, {report.ram_bytes} of RAM, besides code and stack.
category=Data Processing
url=https://huggingface.co
architectures=*
includes={name}.h
""",
        "examples/run/run.ino": f"""\
#include <{name}.h>

static unsigned char memory[{name.upper()}_MEMORY] __attribute__((aligned(16)));
static eqm_model model;

void setup() {{
  Serial.begin(115200);
  const eqm_status status = {name}_init(&model, memory, sizeof memory);
  if (status != EQM_OK) Serial.println(eqm_status_text(status));
}}

void loop() {{
  size_t bytes;
  memset(eqm_model_input(&model, 0, &bytes), 0, bytes); /* your samples, before every run */
  if (eqm_model_run(&model) == EQM_OK) {{
    const float *output = (const float *)eqm_model_output(&model, 0, &bytes);
    for (size_t i = 0; i < bytes / sizeof(float); i++) Serial.println(output[i]);
  }}
  delay(1000);
}}
""",
        "README.md": f"""\
# {name}

{report.program_bytes} bytes of flash and {report.ram_bytes} of RAM ({sum(report.arena_bytes)} arena, \
{report.workspace_bytes} workspace, {report.scratch_bytes} scratch), besides code and stack.
Made by EdgeQ {metadata.version("edgeq")}.

CMake: `cmake -B build && cmake --build build && build/{name}_example`, or `add_subdirectory` and link `{name}`.
Zephyr: add this folder to `ZEPHYR_EXTRA_MODULES`. Arduino: copy it into `libraries/`.
By hand: all of `src`, `-Isrc -ffp-contract=off`, C11; `src/kernels` is faster with `-O2`.
""",
    }
