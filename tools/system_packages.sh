#!/bin/sh
# Installs Debian packages: those named, else what the tests use beyond the compiler (cross-compilers and emulators for
# 64-bit ARM, Cortex-M and RISC-V, clients and servers of phones and boards, Fashion-MNIST for accuracy, a browser for
# the dashboard, a compiler and a host of WebAssembly). Where it may not (no root, no apt-get) it says what is missing;
# the tests that need it skip with a reason.
set -u
test_packages="g++-aarch64-linux-gnu qemu-user gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm gcc-riscv64-unknown-elf qemu-system-misc
adb openssh-client openssh-server openjdk-17-jdk-headless valgrind dataset-fashion-mnist chromium clang
lld nodejs"
packages="${*:-$test_packages}"

missing=""
for package in $packages; do
  dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
  echo "not installed:$missing (as root: apt-get install$missing)" >&2
  exit 0
fi
apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $missing >/dev/null || {
  echo "could not install:$missing" >&2
}
