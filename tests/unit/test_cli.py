"""The command line as a user sees it: help, exit codes, one line per error, one JSON document."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeq import cli
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
    "deploy",
    "bench",
    "dashboard",
    "eval",
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
        (["verify", "nowhere"], 3, "edgeq.json"),
        (["deploy"], 2, "MODEL"),
        (["deploy", "x", "--runs", "0"], 2, "--runs"),
        (["frobnicate"], 2, "frobnicate"),
        (["bench", "x", "--nonsense"], 2, "--nonsense"),
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

    monkeypatch.setattr(hub, "list_zoo", interrupt)
    assert cli.run(["zoo", "list"]) == 130


def test_a_closed_pipe_is_no_error() -> None:
    code = "import sys; from edgeq.cli import run; sys.exit(run(['doctor', '--json']))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    assert "Traceback" not in child.stderr.read()
    child.wait(60)
    child.stderr.close()


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
