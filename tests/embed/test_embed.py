"""The library for apps: the C example, valgrind, the JVM, and Arm processors, each with the outputs of ExecuTorch."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeq import compile as edgeq_compile
from edgeq import data, device, hub

ROOT = Path(__file__).parents[2]
RUNTIME, CORPUS = ROOT / "runtime", ROOT / "tests" / "micro" / "corpus"
EXAMPLE = RUNTIME / "ports" / "embed" / "example.c"
STRICT = ("-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{RUNTIME}/include")
LANGUAGES = [("gcc", "-std=c99"), ("g++", "-std=c++17", "-x", "c++")]


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def android(tmp_path_factory):
    """What `make android` makes."""
    for tool in ("javac", "jar", "java", "aarch64-linux-gnu-gcc", "cmake", "ninja"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool}: apt-get install openjdk-17-jdk-headless g++-aarch64-linux-gnu")
    folder = tmp_path_factory.mktemp("android")
    run(sys.executable, ROOT / "tools" / "android.py", "-o", folder)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """(program, inputs, outputs as ExecuTorch gives them): files of one model that is tiny, one of the zoo."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEQ_HOME", str(folder / "home"))
        package = hub.pull("pokebnn-fashion")
        pictures = data.preprocess(data.load_split(package, dataset="fashion-mnist").head(4).x, package.config())
        pte = edgeq_compile.build(package, "micro").path
        with device.connect("local") as host:
            outputs = host.deploy(pte).evaluate((pictures,)).outputs[0]
    (folder / "x").write_bytes(np.ascontiguousarray(pictures).tobytes())
    (folder / "y").write_bytes(np.ascontiguousarray(outputs).tobytes())
    return [(pte, folder / "x", folder / "y"), tuple(CORPUS / f"tiny.{end}" for end in ("pte", "in", "out"))]


def assert_same(got, wanted):
    """Float epilogues to 2e-6 of the range."""
    a, b = (np.frombuffer(path.read_bytes(), np.float32) for path in (got, wanted))
    assert a.shape == b.shape and b.size > 0
    np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6 * float(np.abs(b).max()))


def build_example(library, folder, words=("gcc", "-std=c99")):
    made = folder / "example"
    run(*words, *STRICT, EXAMPLE, "-x", "none", library, "-o", made)
    return made


@pytest.mark.parametrize("words", LANGUAGES, ids=["C99", "C++17"])
def test_header_and_example_are_plain(words):
    run(*words, *STRICT, "-fsyntax-only", EXAMPLE)


@pytest.mark.long
@pytest.mark.parametrize("words", LANGUAGES, ids=["C99", "C++17"])
def test_example(android, models, tmp_path, words):
    library = android / "jni" / "x86_64" / "libedgeq.so"
    example = build_example(library, tmp_path, words)
    for pte, x, y in models:
        run(example, pte, x, tmp_path / "y", env={"LD_LIBRARY_PATH": str(library.parent)})
        assert_same(tmp_path / "y", y)


@pytest.mark.long
def test_nothing_leaks_and_nothing_is_read_that_was_not_written(android, models, tmp_path):
    if not shutil.which("valgrind"):
        pytest.skip("no valgrind: apt-get install valgrind")
    library = android / "jni" / "x86_64" / "libedgeq.so"
    example = build_example(library, tmp_path)
    watch = ("valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=all")
    for pte, x, y in models:
        environment = {"LD_LIBRARY_PATH": str(library.parent), "PATH": "/usr/bin:/bin"}
        run(*watch, example, pte, x, tmp_path / "y", env=environment)
        assert_same(tmp_path / "y", y)
    whole = models[1][0].read_bytes()
    (tmp_path / "broken.pte").write_bytes(whole[: len(whole) // 2])
    done = subprocess.run(
        [*watch, example, tmp_path / "broken.pte", models[1][1], tmp_path / "y"], capture_output=True, env=environment
    )
    assert done.returncode == 1 and b"broken.pte: " in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(("cpu", "isa"), [("cortex-a57", "neon"), ("cortex-a76", "neon-dotprod"), ("max", "neon-i8mm")])
def test_the_arm_library(android, models, tmp_path, cpu, isa):
    """As a glibc program loads it; Android's loader was not at hand."""
    if not shutil.which("qemu-aarch64"):
        pytest.skip("no qemu-aarch64: apt-get install qemu-user")
    library = android / "jni" / "arm64-v8a" / "libedgeq.so"
    example = build_example(library, tmp_path, ("aarch64-linux-gnu-gcc", "-std=c99"))
    emulator = ("qemu-aarch64", "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu", "-E", f"LD_LIBRARY_PATH={library.parent}")
    for pte, x, y in models:
        told = run(
            *emulator,
            example,
            pte,
            x,
            tmp_path / "y",
            *(["dotprod", "i8mm"][: ("neon", "neon-dotprod", "neon-i8mm").index(isa)]),
        )
        assert told.strip() == isa
        assert_same(tmp_path / "y", y)


@pytest.mark.long
def test_java(android, models, tmp_path):
    run(
        "javac",
        "--release",
        "11",
        "-cp",
        android / "edgeq.jar",
        "-d",
        tmp_path,
        RUNTIME / "ports" / "jni" / "Sample.java",
    )
    path = f"{android / 'edgeq.jar'}:{tmp_path}"
    for pte, x, y in models:
        words = ("java", "-Xcheck:jni", f"-Djava.library.path={android / 'jni' / 'x86_64'}", "-cp", path, "Sample")
        told = run(*words, pte, x, tmp_path / "y").splitlines()
        assert_same(tmp_path / "y", y)
        assert told[0].split()[1:] == ["1", "1", "10"]
        assert told[1] == "IndexOutOfBoundsException: output 7 of 1"
        assert told[2] == told[3] == "IllegalStateException: the model is closed"
        assert told[4].startswith("ModelException: ") and len(told) == 5


@pytest.mark.long
def test_the_archive(android):
    with zipfile.ZipFile(android / "edgeq.aar") as aar:
        assert sorted(aar.namelist()) == [
            "AndroidManifest.xml",
            "R.txt",
            "classes.jar",
            "jni/arm64-v8a/libedgeq.so",
            "jni/x86_64/libedgeq.so",
        ]
        (android / "classes.jar").write_bytes(aar.read("classes.jar"))
    with zipfile.ZipFile(android / "classes.jar") as jar:
        classes = [name for name in jar.namelist() if name.endswith(".class")]
        assert {"ai/edgeq/Model.class", "ai/edgeq/Tensor.class", "ai/edgeq/ModelException.class"} <= set(classes)
        assert {int.from_bytes(jar.read(name)[6:8], "big") for name in classes} == {55}  # Java 11


@pytest.mark.long
def test_the_wheel_for_boards(models, tmp_path):
    """numpy and nothing else of what EdgeQ needs."""
    wheel = Path(run(sys.executable, ROOT / "tools" / "board_wheel.py", "-o", tmp_path).strip())
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel)
    script = """
import sys
import numpy as np
from edgeq_runtime import Model, ModelError
model = Model(sys.argv[1])
x = np.fromfile(sys.argv[2], model.inputs[0].dtype).reshape(-1, *model.inputs[0].shape)
np.stack([model(sample) for sample in x]).tofile(sys.argv[3])
for wrong in (lambda: model(), lambda: model(x), lambda: Model(b"not a program, not at all")):
    try:
        wrong()
    except ModelError as error:
        print(error)
assert "torch" not in sys.modules and "edgeq" not in sys.modules
"""
    for pte, x, y in models:
        words = (sys.executable, "-c", script, pte, x, tmp_path / "y")
        told = run(*words, env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"}).splitlines()
        assert_same(tmp_path / "y", y)
        assert told[0] == "the model takes 1 inputs, got 0" and len(told) == 3
