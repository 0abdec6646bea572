"""The Android class in this computer's Java machine, against a stand-in of the interface that an app's AAR brings."""

import shutil
import subprocess
from pathlib import Path

import pytest

from edgeq import _paths

ANDROID = Path(__file__).parents[2] / "runtime" / "ports" / "litert" / "android"
DELEGATE = """
package org.tensorflow.lite;

public interface Delegate extends java.io.Closeable {
  long getNativeHandle();

  @Override
  default void close() {}
}
"""
MAIN = """
import ai.edgeq.EdgeqDelegate;

public class Main {
  public static void main(String[] arguments) {
    EdgeqDelegate two = new EdgeqDelegate(2), four = new EdgeqDelegate(4);
    System.out.println(two.getNativeHandle() != 0 && two.getNativeHandle() != four.getNativeHandle());
    four.close();
    two.close();
    two.close();
    try {
      System.out.println(two.getNativeHandle());
    } catch (IllegalStateException closed) {
      System.out.println(closed.getMessage());
    }
    try {
      System.out.println(new EdgeqDelegate(0));
    } catch (IllegalArgumentException refused) {
      System.out.println(refused.getMessage());
    }
  }
}
"""


def test_the_class_makes_and_ends_delegates(tmp_path):
    javac, java = shutil.which("javac"), shutil.which("java")
    if javac is None or java is None:
        pytest.skip("no Java: apt-get install openjdk-17-jdk-headless")
    home = Path(javac).resolve().parents[1]
    library = _paths.native("libedgeq_litert.so", "EDGEQ_LITERT").absolute()
    shutil.copy(library, tmp_path / "libedgeq_litert.so")
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fPIC", "-shared"]
    include = [f"-I{home / 'include'}", f"-I{home / 'include' / 'linux'}"]
    link = ["-L.", "-ledgeq_litert", "-Wl,-rpath,$ORIGIN", "-o", "libedgeq_litert_jni.so"]
    source = str(ANDROID / "edgeq_delegate_jni.c")
    subprocess.run(["gcc", *warnings, *include, source, *link], cwd=tmp_path, check=True)
    (tmp_path / "Delegate.java").write_text(DELEGATE)
    (tmp_path / "Main.java").write_text(MAIN)
    sources = ["Delegate.java", "Main.java", str(ANDROID / "EdgeqDelegate.java")]
    subprocess.run([javac, "-Xlint:all,-processing", "-Werror", "-d", ".", *sources], cwd=tmp_path, check=True)
    words = [java, f"-Djava.library.path={tmp_path}", "-cp", ".", "Main"]
    said = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.splitlines()
    assert said == ["true", "the delegate is closed", "EdgeQ refuses 0 threads, or has no memory"]
