# SPDX-License-Identifier: Apache-2.0
# A thin front for the two commands of the README; the work is done by tools/setup, meson and
# tests/run. "make" alone builds into build/.

BUILD = build
PREFIX = /usr/local
# For tests/run, as in: make check-lab ARGS="--only there_and_back"
ARGS =

build: setup-build $(BUILD)/build.ninja
	@ninja --quiet -C $(BUILD)

# The main job: two hosts, a guest under load, moved there and back, seen from outside.
demo: setup build
	lab/demo

# Everything but the long tests, and of slow tests a third; says at its start how long it will take.
check: setup
	tests/run $(ARGS)

# Unit tests and static checks.
check-unit: setup
	tests/run --part static --part unit $(ARGS)

check-lab: setup
	tests/run --part lab $(ARGS)

# All of check, all slow tests, and the tests that need more time or a second Debian.
check-long: setup
	tests/run --long $(ARGS)

# The fault matrix: what has not been judged yet of it, for hours. ARGS="--list" says what there is.
faults: setup
	tests/faults/run $(ARGS)

bench: setup build
	bench/run $(ARGS)

setup:
	@tools/setup

# What a host needs that only runs the program.
setup-build:
	@tools/setup --build

$(BUILD)/build.ninja:
	@echo "meson setup $(BUILD)"
	@meson setup --prefix=$(PREFIX) $(BUILD) >meson-setup.log 2>&1 || { cat meson-setup.log; rm -f meson-setup.log; false; }
	@rm -f meson-setup.log

# After a change of messages: lists the files that have some, updates the catalogues in po/.
messages: $(BUILD)/build.ninja
	git grep -lE '(^|[^A-Za-z0-9_"])N?_\("|ngettext\(' -- 'src/*.c' | sort >po/POTFILES
	ninja --quiet -C $(BUILD) watari-pot watari-update-po

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

install: build
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-asan build-tsan build-fuzz build-clang

.DEFAULT_GOAL = build
.PHONY: build demo check check-unit check-lab check-long faults bench setup setup-build messages format install clean
