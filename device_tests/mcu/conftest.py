"""Emulated microcontrollers: firmware is built once per session, a simulator without its tools skips."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from edgeq import compile as edgeq_compile
from edgeq import data, device, hub
from edgeq.device import firmware

CORES = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "rv32", "rv32-zbb")
SAMPLES = 200


@pytest.fixture(scope="session")
def mcu_home(tmp_path_factory):
    return tmp_path_factory.mktemp("mcu_home")


@pytest.fixture(autouse=True)
def one_home(clean_environment, mcu_home, monkeypatch):
    monkeypatch.setenv("EDGEQ_HOME", str(mcu_home))


def skip_without_tools(core):
    board = firmware.find(core)
    skip_without(core, board.qemu[0], firmware.core(board.core).compiler)


def skip_without(what, *tools):
    """Cross tools are packages that `make test` installs as root; without that right the reason says which."""
    if missing := [firmware.package_of(tool) for tool in tools if not shutil.which(tool)]:
        pytest.skip(f"{what} is not tested here: apt-get install {' '.join(missing)}")


@pytest.fixture
def needs():
    """Skips unless a core's compiler and emulator are here."""
    return skip_without_tools


@pytest.fixture(params=CORES)
def core(request):
    skip_without_tools(request.param)
    return request.param


@pytest.fixture(scope="session")
def network(mcu_home, agent_path):
    """The function that gives a model: artefact, inputs, labels, and what ExecuTorch makes of them on this machine."""
    made = {}

    def find(name):
        if name not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("EDGEQ_HOME", str(mcu_home))
                made[name] = _network(name)
        return made[name]

    return find


def _network(name):
    package = hub.pull(name)
    samples = data.load_split(package, dataset=name).head(SAMPLES)
    x = data.preprocess(samples.x, package.config())
    path = edgeq_compile.build(package, "micro").path
    with device.connect("local") as host:
        outputs = host.deploy(path).evaluate((x,)).outputs
    return SimpleNamespace(name=name, path=path, x=x, y=np.asarray(samples.y), outputs=outputs)
