"""The command line as a user sees it: help, exit codes, one line per error, one JSON document."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeq import cli, doctor
from edgeq._errors import DeviceError
from edgeq.bench import latency
from edgeq.cli import _options

VERBS = (
    "zoo list",
    "zoo show",
    "pull",
    "push",
    "verify",
    "keygen",
    "train",
    "package",
    "compile",
    "export-c",
    "export-web",
    "deploy",
    "bench",
    "compare",
    "dashboard",
    "energy",
    "eval",
    "export",
    "report",
    "finetune",
    "delta list",
    "delta apply",
    "delta rollback",
    "delta verify",
    "delta export",
    "profile",
    "devices",
    "doctor",
)
HEAVY = ("torch", "numpy", "executorch", "huggingface_hub", "safetensors", "cryptography", "sqlite3")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("args", [["--help"], ["deploy", "--help"], ["zoo", "list", "--help"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from edgeq.cli import run; code = run(sys.argv[1:]);"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    child = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60)
    assert (child.returncode, child.stderr.strip()) == (0, "[]")
    assert "edgeq" in child.stdout


@pytest.mark.parametrize(
    ("args", "command"),
    [("frobnicate", "edgeq"), ("deploy --frob", "edgeq deploy"), ("delta verify", "edgeq delta verify")],
)
def test_a_wrong_command_line_names_the_help_to_read(
    args: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(args.split()) == 2
    assert capsys.readouterr().err.strip().endswith(f"(try: {command} --help)")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_of_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*verb.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out and f"edgeq {verb}" in out.partition("Example")[2]


def test_the_main_help_names_every_verb_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb.split()[0] in out for verb in VERBS)
    assert "Exit codes" in out and all(f"{code} " in out for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 70, 130))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version("edgeq")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["pull", "no/such/name"], 2, "no/such/name"),
        (["verify", "/nowhere"], 3, "/nowhere: no such folder"),
        (["verify", __file__], 3, "test_cli.py: not a folder"),
        (["eval", "pokebnn-fashon"], 3, "not in the bundled zoo (did you mean pokebnn-fashion?)"),
        (["zoo", "show", "nope"], 3, "nope: not in the bundled zoo (there are: "),
        (["bench", "pokebnn-fashion", "--energy", "foo"], 2, "no energy provider 'foo'"),
        (["package", "run", "-o", "out", "--key", "nobody"], 3, "nobody: no such key"),
        (["deploy"], 2, "MODEL"),
        (["deploy", "x", "--runs", "0"], 2, "--runs"),
        (["frobnicate"], 2, "frobnicate"),
        (["bench", "x", "--nonsense"], 2, "--nonsense"),
        (["bench", "x", "--tune"], 2, "edgeq bench kernels --tune"),
        (["bench", "kernels", "--device", "sim:cortex-m4"], 7, "chosen when it was compiled"),
        (["train", "none.toml", "-o", "out"], 3, "none.toml: no such recipe"),
        (["keygen", "../x"], 2, "key name"),
    ],
)
def test_an_error_is_one_line_on_stderr_with_its_exit_code(
    args: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(args) == code
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert out == "" and last.startswith("edgeq: ") and message in last and "Traceback" not in err


def test_without_a_verb_there_is_help_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2
    out, err = capsys.readouterr()
    assert "Usage" in out + err and "edgeq: " not in err


@pytest.mark.parametrize(("home", "why"), [("/proc/x", "No such file"), (__file__, "not a folder")])
@pytest.mark.parametrize("verb", ["eval", "profile", "compile"])
def test_a_home_that_cannot_be_written_is_said_before_the_work(
    verb: str, home: str, why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEQ_HOME", home)
    assert cli.run([verb, "pokebnn-fashion"]) == 8
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"edgeq: EDGEQ_HOME: {home} cannot be written: {why}") and err.count("\n") == 1


def test_a_file_that_cannot_be_used_is_no_internal_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEQ_HOME", __file__)
    assert cli.run(["keygen", "me"]) == 1
    assert capsys.readouterr().err == f"edgeq: {__file__}/keys: Not a directory\n"


def test_arguments_are_checked_before_the_heavy_imports(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    code = (
        "import sys; from edgeq.cli import run; codes = [run(line.split()) for line in sys.argv[1:]];"
        "print(codes, [m for m in ('torch', 'executorch') if m in sys.modules])"
    )
    lines = ("train none.toml", "package run -o out --key nobody", "package run -o full")
    child = subprocess.run(
        [sys.executable, "-c", code, *lines], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert child.stdout == "[3, 3, 3] []\n", child.stderr
    assert "training" not in child.stderr and child.stderr.count("\n") == 3


def test_an_unexpected_error_is_one_line_too_unless_debugging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeq import hub

    def explode(*args: object, **options: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(hub, "list_zoo", explode)
    assert cli.run(["zoo", "list"]) == 70
    assert capsys.readouterr().err == (
        "edgeq: internal error: ZeroDivisionError: a b (EDGEQ_DEBUG=1 shows where; please report it)\n"
    )
    monkeypatch.setenv("EDGEQ_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.run(["zoo", "list"])


def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeq import hub

    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    def then_lose_the_device(*args: object, **options: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise DeviceError("the emulator ended")  # Ctrl-C reached it too

    for what in (interrupt, then_lose_the_device):
        monkeypatch.setattr(hub, "list_zoo", what)
        assert cli.run(["zoo", "list"]) == 130
        assert capsys.readouterr() == ("", "edgeq: interrupted\n")


@pytest.mark.parametrize("module", ["edgeq.cli._app", "edgeq.device"])
def test_ctrl_c_during_the_imports_is_130_too(module: str) -> None:
    code = f"""
import sys
class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
sys.argv[1:] = ["devices"]
from edgeq.cli import main
main()
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (child.returncode, child.stdout, child.stderr) == (130, "", "edgeq: interrupted\n")


@pytest.mark.parametrize("args", [["doctor"], ["doctor", "--json"], ["zoo", "list"], ["--help"], ["--version"]])
def test_a_closed_pipe_is_no_error(args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from edgeq.cli import run; sys.exit(run(sys.argv[1:]))"
    child = subprocess.run(
        [sys.executable, "-c", code, *args], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writer)
    assert (child.returncode, child.stderr) == (0, "")


def test_keygen_then_verify_of_a_package_signed_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    from edgeq import keys
    from edgeq._weights import write_tensors
    from edgeq.package import write_package

    assert cli.run(["keygen", "me", "--json"]) == 0
    pair = json.loads(capsys.readouterr().out)
    files = {
        "config.json": b'{"task": "x"}',
        "model.safetensors": write_tensors({"w": np.zeros(4, np.float32)}),
        "README.md": b"# net",
    }
    metric = {"name": "accuracy", "value": 91.5, "unit": "%", "source": "measured", "n": 10}
    folder = tmp_path / "net"
    write_package(
        folder,
        files=files,
        name="net",
        version=3,
        licence="MIT",
        metrics=[metric],
        key=keys.load_private(Path(pair["private"])),
    )
    assert cli.run(["verify", str(folder), "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["ok"] and verdict["name"] == "net" and verdict["signed_by"].startswith("me ")
    assert cli.run(["pull", str(folder), "-o", str(tmp_path / "copy"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(tmp_path / "copy")
    assert cli.run(["zoo", "show", str(tmp_path / "copy")]) == 0
    assert "91.5 % (measured, n 10)" in capsys.readouterr().out
    (folder / "README.md").write_bytes(b"# bad")
    assert cli.run(["verify", str(folder)]) == 3
    assert "README.md" in capsys.readouterr().err


def test_zoo_list_prints_one_json_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["zoo", "list", "--json"]) == 0
    for entry in json.loads(capsys.readouterr().out):
        assert {"name", "task", "scheme", "size_bytes", "accuracy", "licence", "targets"} <= entry.keys()
        assert entry["accuracy"] is None or 0 <= entry["accuracy"] <= 1


def test_doctor_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == (0 if document["ok"] else 7)
    checks = {check["name"]: check for check in document["checks"]}
    assert {"python", "C core", "local device", "ExecuTorch", "qemu-aarch64", "adb", "ssh", "RAPL"} <= checks.keys()
    assert checks["python"]["ok"] and all(c["ok"] or c["fix"] for c in checks.values())


@pytest.mark.parametrize(
    ("variable", "value"), [("EDGEQ_THREADS", "0"), ("EDGEQ_HOME", __file__), ("EDGEQ_AGENT", "/nowhere/agent")]
)
def test_doctor_blames_the_variable_that_is_set(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    local = next(check for check in doctor.examine() if check.name == "local device")
    assert (local.ok, local.fix) == (False, f"unset or change {variable}")
    assert value in local.detail


def test_push_says_that_the_names_must_be_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["push", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "edgeq push ./my-net me/my-net" in out and "NAME is the one in" in out


def test_options_repeat_the_protocol_of_the_bench() -> None:
    assert (_options.DEFAULT_WARMUP, _options.DEFAULT_RUNS) == (latency.WARMUP, latency.RUNS)


def test_text_from_elsewhere_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from edgeq.cli._output import print_table, remark

    remark("net\x1b]0;owned\x07\u202e")
    print_table([("name", "a\x1b[2Jb")])
    out, err = capsys.readouterr()
    assert err == "edgeq: net?]0;owned??\n"
    assert "a?[2Jb" in out and "\x1b" not in out


def test_stages_are_one_line_each_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from edgeq.cli._output import Progress

    with Progress() as progress:
        progress("compiling")
        for done in range(3):
            progress("sending", done, 3)
    assert capsys.readouterr() == ("", "edgeq: compiling\nedgeq: sending\n")


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (143_744, "144 kB"), (999_900, "1 MB"), (8_380_000, "8.38 MB")],
)
def test_sizes_for_people(count: int | None, text: str) -> None:
    from edgeq.cli._output import size

    assert size(count) == text
