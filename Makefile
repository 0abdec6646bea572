# One entry per habit. `make demo` and `make test` need nothing prepared: Python >= 3.11, gcc, make and git are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(shell find runtime CMakeLists.txt -name '*.[ch]' -o -name '*.cpp' -o -name '*.def' -o -name CMakeLists.txt 2>/dev/null)
C_FILES := $(filter %.c %.h %.cpp,$(NATIVE))
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help demo test test-long test-all check format sanitize fuzz-agent fuzz-litert fuzz-micro fuzz-proto bench android clean system-packages

help:
	@echo 'make demo       set up and deploy the bundled model to this machine'
	@echo 'make test       set up and run the tests'
	@echo 'make test-long  the long tests alone: every emulated core over 200 inputs, and others'
	@echo 'make test-all   both'
	@echo 'make check      formatting, lint, types, C warnings'
	@echo 'make sanitize   C core and agent under ASan and UBSan'
	@echo 'make fuzz-agent 100,000 hostile frames against the agent'
	@echo 'make fuzz-micro, make fuzz-proto   5 million hostile programs, or frames (FUZZ=N for others)'
	@echo 'make android    libedgeq.so for Android and its AAR, without the NDK'
	@echo 'make wasm       the JavaScript package with its WebAssembly modules, in build/wasm'
	@echo 'make fuzz-litert  a million hostile nodes against the delegate of LiteRT and TFLite (FUZZ_LITERT=N for others)'
	@echo 'make bench      performance beside peers'

# ---- environment: dependencies once per change of pyproject.toml, the package once per change of native code
$(VENV)/.dependencies: pyproject.toml
	command -v c++ >/dev/null || sh tools/system_packages.sh g++
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing PyTorch and ExecuTorch into $(VENV): minutes, the first time.'
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check executorch==1.5.1 'scikit-build-core>=0.11' 'cmake>=3.28,<4' ninja
	touch $@

$(VENV)/.installed: $(VENV)/.dependencies $(NATIVE)
	@echo 'Compiling the C core and its ports: minutes, the first time.'
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable .
	touch $@

$(VENV)/.development: $(VENV)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[bench,dashboard,dev,energy,litert,sim]'
	touch $@

system-packages:
	sh tools/system_packages.sh

# ---- what a user does
demo: $(VENV)/.installed
	$(BIN)/edgeq deploy pokebnn-fashion --device local

# ---- what a developer does
test: $(VENV)/.development system-packages
	$(BIN)/pytest -m 'not long'

test-long: $(VENV)/.development system-packages
	$(BIN)/pytest -m long

test-all: $(VENV)/.development system-packages
	$(BIN)/pytest

check: $(VENV)/.development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)

format: $(VENV)/.development
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(C_FILES)

SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all

sanitize: $(VENV)/.dependencies fuzz-agent
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S runtime -B build/sanitize -G Ninja -DEDGEQ_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build build/sanitize --target edgeq_check edgeq_check_planes
	build/sanitize/edgeq_check 400
	build/sanitize/edgeq_check_planes 400

fuzz-agent:
	mkdir -p build
	$(CC) -std=c11 -g -O1 -Wall -Wextra -Werror $(SANITIZERS) runtime/proto/*.c -o build/fuzz_agent
	build/fuzz_agent 100000

# The reader and every operator under hostile programs, the agent under hostile frames: FUZZ of each, corpus kept.
FUZZ ?= 5000000
MICRO := $(addprefix runtime/micro/,call.c method.c program.c reader.c status.c value.c fuzz_micro.c)
MICRO_OPERATORS := $(addprefix runtime/micro/,epilogue.c operators.c) $(wildcard runtime/micro/ops_*.c) \
                   $(wildcard runtime/kernels/mcu/*.c) runtime/core/check.c runtime/core/shape.c
FUZZ_CC := $(CC) -std=c11 -g -O1 -D_POSIX_C_SOURCE=200112L -ffp-contract=off -Iruntime -Iruntime/include $(SANITIZERS)

fuzz-micro:
	mkdir -p build
	$(FUZZ_CC) $(MICRO) tests/micro/demo_operators.c -o build/fuzz_demo
	$(FUZZ_CC) $(MICRO) $(MICRO_OPERATORS) -o build/fuzz_micro
	build/fuzz_demo tests/micro/corpus/full.pte $$(($(FUZZ) * 3 / 10)) 21
	build/fuzz_demo tests/micro/corpus/slim.pte $$(($(FUZZ) * 3 / 10)) 22
	build/fuzz_micro tests/micro/corpus/tiny.pte $$(($(FUZZ) * 2 / 10)) 31
	build/fuzz_micro tests/micro/corpus/every.pte $$(($(FUZZ) * 2 / 10)) 32

fuzz-proto:
	mkdir -p build
	$(FUZZ_CC) runtime/proto/*.c -o build/fuzz_agent
	build/fuzz_agent $(FUZZ) 7
	$(FUZZ_CC) -DEQ_WITH_TUNE $(filter-out %/fuzz_agent.c %/mlperf.c,$(wildcard runtime/proto/*.c)) runtime/proto/tune/*.c \
	  runtime/tune/*.c tests/tune/fuzz_tune.c -o build/fuzz_tune
	build/fuzz_tune $$(($(FUZZ) / 100)) 7

android: $(VENV)/.dependencies
	command -v javac >/dev/null || sh tools/system_packages.sh openjdk-17-jdk-headless
	command -v aarch64-linux-gnu-gcc >/dev/null || sh tools/system_packages.sh g++-aarch64-linux-gnu
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/android.py

wasm: $(VENV)/.installed
	command -v wasm-ld >/dev/null || sh tools/system_packages.sh clang lld
	$(BIN)/python tools/wasm_package.py build/wasm

# Hostile nodes against the delegate of LiteRT and TFLite.
FUZZ_LITERT ?= 1000000
LITERT := $(filter-out %/compiled_model.c,$(wildcard runtime/ports/litert/*.c))

fuzz-litert: $(VENV)/.dependencies
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S runtime -B build/sanitize -G Ninja -DEDGEQ_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build build/sanitize --target edgeq_core
	$(FUZZ_CC) -U_POSIX_C_SOURCE -D_POSIX_C_SOURCE=200809L tests/litert/fuzz_delegate.c $(LITERT) build/sanitize/libedgeq_core.a -lpthread -o build/fuzz_litert
	ASAN_OPTIONS=allocator_may_return_null=1:allocator_release_to_os_interval_ms=-1 build/fuzz_litert tests/litert/corpus/nodes.bin $(FUZZ_LITERT) 41

# other engines, beside those that `.[bench]` brings; without them their columns are left out
PEERS := openvino ncnn

bench: $(VENV)/.development
	$(BIN)/pip install --quiet --disable-pip-version-check $(PEERS) || echo 'OpenVINO and ncnn are left out.'
	$(BIN)/python -m benchmarks all

clean:
	rm -rf build $(VENV)
