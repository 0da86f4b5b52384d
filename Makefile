# Switchboard.  `make run` shows it working, `make test` proves it; `make help` lists the rest.
.DEFAULT_GOAL := build
MAKEFLAGS     += --no-builtin-rules

B       ?= build
CC      ?= cc
CXX     ?= c++
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)
JOBS    ?= $(shell nproc)

# SANITIZE=address,undefined or SANITIZE=thread builds into a folder of its own; so does FAULTS=1, with the fault points alone
SANITIZE ?=
comma := ,
ifneq ($(SANITIZE),)
override B := $(B)/$(subst $(comma),-,$(SANITIZE))
fault_flags := -DFAULT_POINTS
sanitize_flags := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
else
hardening := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection
endif
ifneq ($(FAULTS),)
override B := $(B)/faults
fault_flags := -DFAULT_POINTS
endif

# COVERAGE=1: gcc's counters, exact with threads too; without optimization, which puts lines together and is what some warnings go by
ifneq ($(COVERAGE),)
override B := $(B)/coverage
coverage_flags := --coverage -fprofile-update=atomic -O0 -Wno-format-truncation
hardening :=
endif

packages := rdkafka libpq libcjson libcurl libcrypto libsodium libmicrohttpd sqlite3
speech    = sndfile soxr pocketsphinx $(shell pkg-config --exists sphinxbase && echo sphinxbase)     # PocketSphinx 5 has no sphinxbase
# PocketSphinx's and Postgres' headers are not ours to warn about
external_cflags  = $(patsubst -I%,-isystem %,$(call found,cflags_found,--cflags $(packages) $(speech)))
libs             = $(call found,libs_found,--libs $(packages)) -lwslay -lm -lpthread
speech_libs      = $(call found,speech_libs_found,--libs $(speech))
# asked once, and not before it is needed: `make deps` comes before pkg-config is there
found            = $(if $(filter undefined,$(origin $(1))),$(eval $(1) := $(shell pkg-config $(2))))$($(1))

warnings := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wpointer-arith -Wundef $(if $(findstring clang,$(CC)),-Wno-string-concatenation)
CFLAGS   ?= $(if $(SANITIZE),-O1,-O2) -g
cflags    = -std=c17 -D_GNU_SOURCE $(warnings) $(hardening) $(sanitize_flags) $(fault_flags) -fPIE -I. -I$(B)/gen $(external_cflags) -MMD -MP $(CFLAGS) $(coverage_flags)
ldflags   = -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(sanitize_flags) $(coverage_flags) $(LDFLAGS)

daemons := ingest transcribe analyze notifier
objects  = $(patsubst %.c,$(B)/%.o,$(sort $(wildcard $(1)/*.c)))
common_objects := $(call objects,common) $(call objects,common/stage) $(B)/gen/events.o $(B)/gen/answers.o $(B)/gen/requests.o $(B)/gen/topics.o $(B)/gen/migrations.o $(B)/gen/settings_known.o $(B)/gen/openapi.o $(B)/gen/page.o

# what ThreadSanitizer does not know by itself; in every program that has librdkafka's threads
ifneq ($(filter thread,$(SANITIZE)),)
thread_objects := $(B)/tests/stage/tsan_threads.o
ldflags += -rdynamic
endif

build: $(addprefix $(B)/,$(daemons:%=bin/%)) $(B)/bin/sb     ## the daemons and sb, in build/bin (the default)
	@:

# --- generated from schemas/ -------------------------------------------------
generated := $(addprefix $(B)/gen/,events.h events.c answers.h answers.c requests.h requests.c topics.h topics.c migrations.c settings_known.c openapi.c page.c)
$(B)/gen/.done: schemas/generate.py schemas/contracts.py $(wildcard schemas/*.json schemas/openapi.yaml schemas/events/*.json schemas/answers/*.json schemas/requests/*.json schemas/postgres/*.sql */prompts/*.txt ingest/page/*)
	@echo "  GEN   $(B)/gen"
	$(Q)mkdir -p $(B)/gen && python3 schemas/generate.py $(B)/gen && touch $@
$(generated): $(B)/gen/.done ;

$(B)/gen/%.o: $(B)/gen/.done
	@echo "  CC    gen/$*.c"
	$(Q)$(CC) $(cflags) -c -o $@ $(B)/gen/$*.c
$(B)/%.o: %.c | $(B)/gen/.done
	@echo "  CC    $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(cflags) -c -o $@ $<

$(B)/libcommon.a: $(common_objects)
	@echo "  AR    $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# loaded when it is needed; without sanitizers, which a library that comes late cannot bring
$(B)/lib/late.so: $(wildcard common/late/*.cc)
	@echo "  LD    $@"
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++17 -Wall -Wextra -Werror $(hardening) -fPIC -shared -Wl,-z,relro,-z,now $(CFLAGS) -o $@ $^ -lphonenumber -licui18n -licuuc

define daemon_rule
$(B)/bin/$(1): $$(call objects,$(1)) $(thread_objects) $(B)/libcommon.a | $(B)/lib/late.so
	@echo "  LD    $$@"
	@mkdir -p $$(@D)
	$(Q)$(CC) $$(ldflags) -o $$@ $$^ $(if $(filter transcribe,$(1)),$$(speech_libs)) $$(libs)
endef
$(foreach d,$(daemons),$(eval $(call daemon_rule,$(d))))

# `sb verify` looks at a webhook with the door's own functions
$(B)/libingest.a: $(filter-out $(B)/ingest/main.o,$(call objects,ingest))
	@echo "  AR    $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^
$(B)/bin/sb: $(call objects,deploy/sb) $(thread_objects) $(B)/libingest.a $(B)/libcommon.a | $(B)/lib/late.so
	@echo "  LD    $@"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ldflags) -o $@ $^ $(libs)

# --- tests: one program per tests/unit/*.c ----------------------------------
unit_tests := $(patsubst tests/unit/%.c,$(B)/tests/%,$(sort $(wildcard tests/unit/test_*.c)))
# the stages' handlers without their mains, for the tests of their effects
$(B)/libstages.a: $(foreach d,$(daemons),$(filter-out $(B)/$(d)/main.o,$(call objects,$(d))))
	@echo "  AR    $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^
# what of sb is tested or fuzzed without its main
$(B)/libsb.a: $(filter-out $(B)/deploy/sb/main.o,$(call objects,deploy/sb))
	@echo "  AR    $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^
$(B)/tests/%: $(B)/tests/unit/%.o $(thread_objects) $(B)/libsb.a $(B)/libstages.a $(B)/libcommon.a | $(B)/lib/late.so
	@echo "  LD    $@"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ldflags) -o $@ $^ $(speech_libs) $(libs) -lcmocka

# those that have threads run under ThreadSanitizer too
threaded_tests := test_door test_http_client test_http_outside test_http_patience test_http_server test_metrics test_spool test_websocket

# the stage of the runtime's own tests, with its own topics and events beside the product's
$(B)/echo/gen/.done: $(B)/gen/.done $(wildcard tests/stage/schemas/*.json tests/stage/schemas/events/*.json)
	$(Q)mkdir -p $(B)/echo/gen && python3 schemas/generate.py $(B)/echo/gen tests/stage/schemas && touch $@
echo_sources := tests/stage/echo.c $(addprefix $(B)/echo/gen/,events.c topics.c)
$(B)/tests/echo: tests/stage/echo.c $(thread_objects) $(B)/echo/gen/.done $(B)/libcommon.a
	@echo "  LD    $@"
	@mkdir -p $(@D)
	$(Q)$(CC) -I$(B)/echo/gen $(cflags) -MF $@.d $(ldflags) -o $@ $(echo_sources) $(thread_objects) $(B)/libcommon.a $(libs)

# librdkafka's mock brokers, which give what answers a test wants
$(B)/tests/mock_kafka: $(B)/tests/faults/mock_kafka.o $(B)/libcommon.a
	@echo "  LD    $@"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ldflags) -o $@ $^ $(libs)

# preloaded, it makes a process's wall clock jump
$(B)/tests/other_clock.so: tests/faults/other_clock.c
	@echo "  LD    $@"
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -D_GNU_SOURCE $(warnings) $(hardening) -fPIC -shared -Wl,-z,relro,-z,now $(CFLAGS) -o $@ $<

# sb as it is for that stage: beside it, and knowing its topics and events
$(B)/tests/sb: $(call objects,deploy/sb) $(thread_objects) $(B)/echo/gen/.done $(B)/libingest.a $(B)/libcommon.a
	@echo "  LD    $@"
	@mkdir -p $(@D)
	$(Q)$(CC) -I$(B)/echo/gen $(cflags) -MF $@.d $(ldflags) -o $@ $(addprefix $(B)/echo/gen/,events.c topics.c) $(call objects,deploy/sb) $(thread_objects) $(B)/libingest.a $(B)/libcommon.a $(libs)

unit: $(unit_tests)         ## the unit tests alone
	$(Q)failed=0; for t in $^; do $$t || failed=1; done; exit $$failed

# the fuzzers are clang's: build them with `make fuzzers`, which calls make again with its compiler and flags
fuzz_targets := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
$(B)/fuzz/%: $(B)/tests/fuzz/%.o $(B)/libsb.a $(B)/libstages.a $(B)/libcommon.a | $(B)/lib/late.so
	@echo "  LD    $@"
	@mkdir -p $(@D)
	$(Q)$(CXX) -fsanitize=fuzzer,address,undefined -o $@ $^ $(speech_libs) $(libs)
fuzz-targets: $(fuzz_targets)
fuzzers:
	@$(MAKE) --no-print-directory CC=clang CXX=clang++ SANITIZE=fuzzer-no-link,address,undefined fuzz-targets

test-python := .run/venv/bin/python
.run/venv/.done: tests/requirements.txt deploy/local/requirements.txt deploy/sandbox/requirements.txt
.run/venv-bench/.done: tests/bench/requirements.txt deploy/local/requirements.txt deploy/sandbox/requirements.txt
.run/venv-sandbox/.done: deploy/local/requirements.txt deploy/sandbox/requirements.txt
.run/venv/.done .run/venv-bench/.done .run/venv-sandbox/.done:
	@echo "  VENV  $(@D)"
	$(Q)mkdir -p .run && python3 -m venv $(@D) && $(@D)/bin/pip install -q --disable-pip-version-check -r $< && touch $@ || \
	{ echo "make: could not fetch the Python packages of $< (pip's reason stands above): is its index reachable? PIP_INDEX_URL and" \
	"PIP_FIND_LINKS name another; sb up --without sandbox needs none" >&2; exit 1; }

# SUITE: some of the parts, see tests/run.py
test: deps-test             ## everything: unit tests, flows with real Kafka and Postgres, sanitizers, fuzzers
	@$(MAKE) --no-print-directory -j$(JOBS) build unit-programs
	@$(MAKE) --no-print-directory -j$(JOBS) SANITIZE=address,undefined build unit-programs $(addprefix $(B)/address-undefined/tests/,echo sb record_check)
	@$(MAKE) --no-print-directory -j$(JOBS) SANITIZE=thread $(B)/thread/bin/ingest $(addprefix $(B)/thread/tests/,echo $(threaded_tests))
	@$(MAKE) --no-print-directory -j$(JOBS) FAULTS=1 build $(addprefix $(B)/faults/tests/,echo other_clock.so mock_kafka)
	@$(MAKE) --no-print-directory -j$(JOBS) fuzzers
	@$(MAKE) --no-print-directory .run/venv/.done venvs kafka
	@$(test-python) tests/run.py $(SUITE)
unit-programs: $(unit_tests)

coverage: deps-test         ## how many lines and branches of each folder the unit and flow tests go through
	@$(MAKE) --no-print-directory -j$(JOBS) COVERAGE=1 build unit-programs $(addprefix $(B)/coverage/tests/,echo sb record_check)
	@$(MAKE) --no-print-directory .run/venv/.done venvs kafka
	@$(test-python) tests/coverage.py

# SEED: of the load and the faults, drawn and printed when it is not given; MINUTES: 10
soak: deps-test             ## rounds under fire, each checked: SEED=7 MINUTES=60 (tests/faults/README.md)
	@$(MAKE) --no-print-directory -j$(JOBS) FAULTS=1 build $(addprefix $(B)/faults/tests/,echo other_clock.so)
	@$(MAKE) --no-print-directory .run/venv/.done venvs kafka
	@SWITCHBOARD_BUILD=$(abspath $(B))/faults $(test-python) tests/faults/fire.py $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),10)

bench_tools := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))
$(bench_tools): $(B)/bench/%: $(B)/tests/bench/%.o $(B)/libcommon.a
	@echo "  LD    $@"
	@mkdir -p $(@D)
	$(Q)$(CC) $(ldflags) -o $@ $^ $(libs)

# ONLY: some of the parts, see tests/bench/README.md
bench: deps-test            ## measure it, beside its references and goals; ONLY=hop,commit for parts
	@$(MAKE) --no-print-directory -j$(JOBS) build $(B)/tests/echo $(bench_tools)
	@$(MAKE) --no-print-directory .run/venv-bench/.done kafka
	@SWITCHBOARD_BUILD=$(abspath $(B)) .run/venv-bench/bin/python tests/bench/bench.py $(if $(ONLY),--only $(ONLY))

# --- to run it here: everything is kept in .run/ ---------------------------------
deps:                       ## install the Debian packages that are missing (sudo or root for apt alone)
	@sh deploy/local/deps.sh
deps-test:                  ## the same, and what the tests need
	@sh deploy/local/deps.sh test

venvs: .run/venv-sandbox/.done      ## fetch the Python packages of the sandbox and the sample day
	@:

.run/kafka/.done: deploy/local/kafka/pom.xml
	@echo "  MVN   .run/kafka/libs"
	$(Q)rm -rf .run/kafka/new && mkdir -p .run/kafka && \
	said=$$(mvn -q -B -C -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.run/kafka/new 2>&1) && \
	rm -rf .run/kafka/libs && mv .run/kafka/new .run/kafka/libs && touch $@ || \
	{ echo "$$said" >&2; echo "make: could not fetch Kafka from Maven Central (maven's reason stands above): a mirror is named in ~/.m2/settings.xml;" \
	"or use a Kafka of your own: make run KAFKA_BROKERS=host:9092" >&2; exit 1; }
kafka: .run/kafka/.done     ## fetch Kafka (43 MB), as pinned in deploy/local/kafka/pom.xml
	@:

own_kafka = $(or $(KAFKA_BROKERS),$(shell grep -sE '^ *(export +)?KAFKA_BROKERS=.' .env))
run: deps                   ## do all of that, start everything, play the sample day; ONCE=1 ends after it
	@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS)) build
	@$(MAKE) --no-print-directory venvs $(if $(own_kafka),,kafka)
	@exec $(B)/bin/sb up --day $(if $(ONCE),--once)

help:                       ## this
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

clean:                      ## remove what was built
	rm -rf build

.PHONY: build unit bench coverage soak unit-programs fuzz-targets fuzzers test clean deps deps-test venvs kafka run help
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
