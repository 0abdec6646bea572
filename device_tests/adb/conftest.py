"""The real `adb` client with a server of its own, and phones that the tests carry."""

import os
import shutil
import socket
import subprocess

import pytest
from phone import Phone

from edgeq.device import connect

PROGRAMS = {
    "getprop": 'case "$1" in ro.build.version.release) echo 14;; ro.product.manufacturer) echo Acme;; '
    "ro.product.model) echo EdgeQ Test;; esac",
    "dumpsys": 'printf "Current Battery Service state:\\n  status: 3\\n  level: 87\\n  temperature: 291\\n"',
}


@pytest.fixture(scope="session")
def adb(tmp_path_factory):
    """The environment of a private adb server, and a function that calls the client."""
    if not shutil.which("adb"):
        pytest.skip("no adb: apt-get install adb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    settings = {"ANDROID_ADB_SERVER_PORT": port, "ADB_MDNS": "0", "HOME": str(tmp_path_factory.mktemp("adb"))}

    def call(*words):
        return subprocess.run(
            ["adb", *words], env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False
        )

    started = call("start-server")
    assert started.returncode == 0, f"adb's server does not start here: {started.stderr.strip()}"
    yield settings, call
    call("kill-server")


@pytest.fixture
def phones(adb, tmp_path, monkeypatch):
    """A function that connects a phone; its keywords are those of Phone."""
    settings, call = adb
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    made = []

    def connected(**options):
        folder = tmp_path / f"phone{len(made)}"
        programs = folder / "bin"
        programs.mkdir(parents=True)
        for name, script in PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        phone = Phone(folder, programs, **options)
        made.append(phone)
        call("connect", phone.serial)
        return phone

    yield connected
    for phone in made:
        call("disconnect", phone.serial)
        phone.close()


@pytest.fixture
def open_phone():
    """Connect to a phone's agent."""
    return lambda phone, query="": connect(f"adb:{phone.serial}{query}")
