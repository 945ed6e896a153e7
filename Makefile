# wgtwo: builds the C modules, the compiled API description, and runs everything that checks them.
# `make help` lists the targets. All output goes to $(BUILD); another mode (sanitizers, LuaRocks) is another BUILD.
# Variables of the command line or of LuaRocks: CC CFLAGS LDFLAGS LIBFLAG LUA LUA_INCDIR PREFIX DESTDIR INST_LIBDIR
# INST_LUADIR INST_BINDIR.

BUILD ?= .build
BUILD_PATH := $(abspath $(BUILD))
VERSION := 0.1.0

# ---- what has to be installed: the only list of it ------------------------------------------------

DEPS := gcc make pkg-config libc6-dev lua5.4 liblua5.4-dev libgrpc-dev libprotobuf-c-dev protobuf-c-compiler \
  protobuf-compiler libprotobuf-dev libcurl4-openssl-dev libjansson-dev libmicrohttpd-dev libssl-dev ca-certificates
DEPS_TEST := $(DEPS) git luarocks lua-busted lua-luv lua-cqueues lua-dbi-sqlite3 openssl
DEPS_BENCH := $(DEPS) openssl libnghttp2-dev
DEPS_INTEROP := $(DEPS) curl jq
DEPS_LINT := $(DEPS_TEST) libnghttp2-dev clang clang-format lua-check cppcheck libclang-rt-14-dev valgrind

# ---- tools and flags ------------------------------------------------------------------------------

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
LUA ?= lua5.4
PKG_CONFIG ?= pkg-config
PROTOC ?= protoc
PROTOC_C ?= protoc-c
CFLAGS ?= -O2 -g
LIBFLAG ?= -shared
LUA_INCDIR ?= $(firstword $(patsubst %/lua.h,%,$(wildcard /usr/include/lua5.4/lua.h /usr/local/include/lua.h)) \
  $(patsubst -I%,%,$(shell $(PKG_CONFIG) --cflags-only-I lua5.4 2>/dev/null)))
PROTOBUF_INCDIR ?= $(firstword $(patsubst %/google/protobuf/descriptor.proto,%,\
  $(wildcard /usr/include/google/protobuf/descriptor.proto /usr/local/include/google/protobuf/descriptor.proto)))

# The project's own flags stand apart, so that CFLAGS from outside replaces none of them.
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes
ifeq ($(CI),true)
WARNINGS += -Werror
endif
SANITIZE ?=
SANITIZE_FLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all -O1 -g)
LIBRARIES := grpc libprotobuf-c libcurl jansson libmicrohttpd libcrypto
LIBRARY_INCDIRS := $(shell $(PKG_CONFIG) --cflags-only-I $(LIBRARIES) 2>/dev/null)
LIBRARY_LIBDIRS := $(shell $(PKG_CONFIG) --libs-only-L $(LIBRARIES) 2>/dev/null)
OWN_CPPFLAGS = -D_GNU_SOURCE -DWGTWO_VERSION='"$(VERSION)"' -iquote$(BUILD) -iquote$(GENERATED) -Icsrc \
  -I$(LUA_INCDIR) $(LIBRARY_INCDIRS)
OWN_CFLAGS := -std=c11 -fPIC -fvisibility=hidden -pthread
# nodelete: gRPC's threads outlive lua_close, so the code they run must stay mapped.
OWN_LDFLAGS := -Wl,-z,nodelete -pthread
COMPILE = $(CC) $(OWN_CPPFLAGS) $(OWN_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(SANITIZE_FLAGS)
LINK = $(CC) $(LIBFLAG) $(OWN_LDFLAGS) $(SANITIZE_FLAGS) $(LDFLAGS) $(LIBRARY_LIBDIRS)

CORE_LIBS := -lgrpc -lgpr -lprotobuf-c -ljansson -lssl -lcrypto
HTTP_LIBS := -lcurl
HTTPD_LIBS := -lmicrohttpd -lssl -lcrypto -ljansson

# ---- sources --------------------------------------------------------------------------------------

HTTPD_SOURCES := $(wildcard csrc/httpd.c csrc/httpd_*.c csrc/certificate.c csrc/header_table.c)
HTTP_SOURCES := csrc/http.c csrc/http_worker.c csrc/loop_lent.c csrc/header_table.c
CORE_SOURCES := $(filter-out $(HTTPD_SOURCES) $(HTTP_SOURCES),$(wildcard csrc/*.c))
C_FILES := $(wildcard csrc/*.c csrc/*.h spec/fuzz/*.c spec/fuzz/*.h spec/support/*.c spec/bench/*.c)
LUA_FILES := $(shell find lua -name '*.lua' -o -name '*.md' 2>/dev/null)
PROTO_FILES := $(shell find proto -name '*.proto' 2>/dev/null)

# A source archive brings the output of protoc and protoc-c in .generated; a checkout makes its own.
PREGENERATED := $(wildcard .generated)
GENERATED := $(or $(PREGENERATED),$(BUILD))
DESCRIPTOR := $(GENERATED)/google/protobuf/descriptor.pb-c
API_SETS := $(GENERATED)/share/wgtwo/api.binpb $(GENERATED)/share/wgtwo/apidocs.binpb

# What ThreadSanitizer has to be told of gRPC.
ifeq ($(SANITIZE),thread)
ORDERED := completion_queue_next completion_queue_thread_local_cache_flush call_start_batch server_request_call \
  server_request_registered_call server_shutdown_and_notify channel_watch_connectivity_state
OWN_LDFLAGS += $(ORDERED:%=-Wl,--wrap=grpc_%)
CORE_SOURCES += spec/support/thread_order.c
endif

object = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
CORE_OBJECTS := $(call object,$(CORE_SOURCES)) $(BUILD)/obj/descriptor.pb-c.o
HTTPD_OBJECTS := $(call object,$(HTTPD_SOURCES))
HTTP_OBJECTS := $(call object,$(HTTP_SOURCES))
MODULES := $(BUILD)/lib/wgtwo/core.so $(BUILD)/lib/wgtwo/http.so $(if $(HTTPD_SOURCES),$(BUILD)/lib/wgtwo/httpd.so)

# The build tree as Lua sees it; child processes of the tests change directory, so paths are absolute.
export LUA_PATH := $(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(abspath $(GENERATED))/share/?.lua;$(CURDIR)/?.lua;;
export LUA_CPATH := $(BUILD_PATH)/lib/?.so;;
unexport LUA_PATH_5_4 LUA_CPATH_5_4

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all deps deps-test deps-bench deps-interop deps-lint demo test suite interop bench bench-programs sanitize \
  sanitize-memory sanitize-collection sanitize-threads interpreter fuzz fuzz-targets fuzz-run lint lint-format \
  lint-lua lint-cppcheck lint-compilers format install dist clean env help FORCE

all: $(MODULES) $(API_SETS) ## build the C modules and the API description (default)

# ---- probes: what the installed headers offer, as $(BUILD)/probes.h -------------------------------
# One a line: macro, header, function (or - for the header alone).

define PROBES
HAVE_GRPC_CREDENTIALS_H        grpc/credentials.h    -
HAVE_GRPC_TLS_VERIFY_SERVER    grpc/grpc_security.h  grpc_tls_credentials_options_set_verify_server_cert
HAVE_GRPC_TLS_CHECK_CALL_HOST  grpc/grpc_security.h  grpc_tls_credentials_options_set_check_call_host
HAVE_GRPC_TLS_NO_VERIFIER      grpc/grpc_security.h  grpc_tls_certificate_verifier_no_op_create
HAVE_GRPC_INSECURE_CREDENTIALS grpc/grpc_security.h  grpc_insecure_credentials_create
HAVE_GRPC_THREAD_LOCAL_CACHE   grpc/grpc.h           grpc_completion_queue_thread_local_cache_flush
HAVE_MHD_CREATE_RESPONSE_STATIC microhttpd.h         MHD_create_response_from_buffer_static
HAVE_PIDFD_OPEN                sys/pidfd.h           pidfd_open
HAVE_CLOSE_RANGE               unistd.h              close_range
HAVE_SPAWN_CLOSEFROM           spawn.h               posix_spawn_file_actions_addclosefrom_np
endef
export PROBES

# Probed when the Makefile or the flags change; the header gets a new time only with new content.
$(BUILD)/probes.h: $(BUILD)/probed
	@:

$(BUILD)/probed: $(BUILD)/flags Makefile
	@printf '%s\n' "$$PROBES" | while read -r macro header symbol; do \
	  case $$symbol in \
	    -) printf '#include <%s>\n' "$$header";; \
	    grpc_*) printf '#include <%s>\n' grpc/grpc.h "$$header"; \
	      printf '#if __has_include(<grpc/credentials.h>)\n#include <grpc/credentials.h>\n#endif\n'; \
	      printf 'void *probe = (void *)&%s;\n' "$$symbol";; \
	    *) printf '#include <%s>\nvoid *probe = (void *)&%s;\n' "$$header" "$$symbol";; \
	  esac | $(CC) -D_GNU_SOURCE $(LIBRARY_INCDIRS) $(CPPFLAGS) -w -fsyntax-only -x c - 2>/dev/null \
	  && echo "#define $$macro 1" || echo "/* no $$macro */"; \
	done >$(BUILD)/probes.h.new
	@cmp -s $(BUILD)/probes.h.new $(BUILD)/probes.h && rm $(BUILD)/probes.h.new \
	  || mv $(BUILD)/probes.h.new $(BUILD)/probes.h
	@touch $@

# ---- rules ----------------------------------------------------------------------------------------

# One short line a step; V=1 shows the commands.
say = $(if $(V),,@echo "  $(1)";)

# Rebuild when the compiler or its flags change, and only then.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(COMPILE) $(WARNINGS) $(LINK))' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags | $(BUILD)/probes.h $(DESCRIPTOR).h
	@mkdir -p $(@D)
	$(call say,CC $<) $(COMPILE) $(WARNINGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/descriptor.pb-c.o: $(DESCRIPTOR).c $(DESCRIPTOR).h $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC $(notdir $<)) $(COMPILE) -w -c $< -o $@

$(BUILD)/lib/wgtwo/core.so: $(CORE_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LD $@) $(LINK) $^ -o $@.new $(CORE_LIBS) && mv $@.new $@

$(BUILD)/lib/wgtwo/http.so: $(HTTP_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LD $@) $(LINK) $^ -o $@.new $(HTTP_LIBS) && mv $@.new $@

$(BUILD)/lib/wgtwo/httpd.so: $(HTTPD_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LD $@) $(LINK) $^ -o $@.new $(HTTPD_LIBS) && mv $@.new $@

ifeq ($(PREGENERATED),)
$(DESCRIPTOR).c $(DESCRIPTOR).h &: $(PROTOBUF_INCDIR)/google/protobuf/descriptor.proto
	@mkdir -p $(GENERATED)
	$(call say,PROTOC-C $<) $(PROTOC_C) --c_out=$(GENERATED) -I$(PROTOBUF_INCDIR) google/protobuf/descriptor.proto
	@touch $(DESCRIPTOR).c $(DESCRIPTOR).h

$(BUILD)/proto.list: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(sort $(PROTO_FILES)) >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

protoc = $(call say,PROTOC $@) $(PROTOC) --include_imports $(1) --descriptor_set_out=$@ -Iproto -I$(PROTOBUF_INCDIR) \
  $(sort $(PROTO_FILES))

$(GENERATED)/share/wgtwo/api.binpb: $(PROTO_FILES) $(BUILD)/proto.list
	@mkdir -p $(@D)
	$(call protoc)

# The same set with its comments: only documentation asks for it.
$(GENERATED)/share/wgtwo/apidocs.binpb: $(PROTO_FILES) $(BUILD)/proto.list
	@mkdir -p $(@D)
	$(call protoc,--include_source_info)
endif

-include $(patsubst %.o,%.d,$(CORE_OBJECTS) $(HTTP_OBJECTS) $(HTTPD_OBJECTS))

# ---- set-up ---------------------------------------------------------------------------------------

define install_packages
	@installed=" $$(dpkg-query -W -f '$${Package}:$${db:Status-Status} ' $(1) 2>/dev/null)"; missing=; \
	for package in $(1); do \
	  case $$installed in *" $$package:installed "*) ;; *) missing="$$missing $$package";; esac; done; \
	[ -z "$$missing" ] && exit 0; \
	if ! command -v apt-get >/dev/null; then \
	  echo "make $@ installs with apt, which is not here. Install what these Debian packages hold:$$missing" >&2; \
	  echo "(then \`make all\` builds, and \`make suite\` tests)" >&2; exit 1; fi; \
	sudo=; if [ "$$(id -u)" != 0 ]; then \
	  sudo=sudo; command -v sudo >/dev/null || { echo "run as root: apt-get install$$missing" >&2; exit 1; }; fi; \
	echo "installing:$$missing"; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null
endef

deps: ## install what building and running needs (Debian packages; nothing to do when all are there)
	$(call install_packages,$(DEPS))

deps-test: ## … and what the tests need
	$(call install_packages,$(DEPS_TEST))

deps-bench:
	$(call install_packages,$(DEPS_BENCH))

deps-interop:
	$(call install_packages,$(DEPS_INTEROP))

deps-lint: ## … and what lint, sanitize and fuzz need
	$(call install_packages,$(DEPS_LINT))

env: ## for scripts without installing: eval "$(make -s env)" lets this shell's Lua find what was built here
	@echo "unset LUA_PATH_5_4 LUA_CPATH_5_4; export LUA_PATH='$(LUA_PATH)' LUA_CPATH='$(LUA_CPATH)'"

JOBS := $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
build = @$(MAKE) --no-print-directory $(JOBS)

demo: deps ## walk through the rock against its own sandbox
	$(build) all
	@$(LUA) examples/getting_started.lua

# ---- tests ----------------------------------------------------------------------------------------

SPEC ?= $(sort $(wildcard spec/*_spec.lua))
FILTER ?=

test: deps-test ## run the tests; SPEC=spec/x_spec.lua for some files, FILTER=pattern for some names
	$(build) all
	$(build) suite

# The tests alone, for a tree that is set up and built.
suite: $(BUILD)/lib/fork.so
	@$(LUA) spec/support/suite.lua $(if $(FILTER),--filter='$(FILTER)') $(SPEC)

# ---- real clients: what go, npm and pip install by name goes to $(BUILD)/interop -------------------

CLIENTS ?=

interop: deps-interop ## grpcurl, curl, Go, Node and Python clients against the sandbox, as far as they can be had
	$(build) all
	@$(LUA) spec/interop/run.lua $(BUILD_PATH)/interop $(abspath $(GENERATED))/share/wgtwo/api.binpb $(CLIENTS)

# ---- sanitizers: the suite again, in builds of their own ------------------------------------------

# The packaging spec builds trees of its own, without the sanitizer. ThreadSanitizer delivers signals late, and
# a child of a fork with threads hardly goes on under it.
SANITIZE_SPEC ?= $(filter-out spec/packaging_spec.lua,$(SPEC))
THREAD_SPEC ?= $(filter-out $(addprefix spec/,fork_spec.lua interrupt_spec.lua suite_spec.lua),$(SANITIZE_SPEC))
SUPPRESSIONS := $(CURDIR)/spec/support

sanitize: deps-lint ## AddressSanitizer with leak detection and UBSan, aggressive collection, ThreadSanitizer
	@failed=0; for pass in memory collection threads; do \
	  $(MAKE) --no-print-directory sanitize-$$pass || failed=1; done; exit $$failed

# intercept_tls_get_addr=0: else the leak check now and then takes a wrong address for thread-local storage and crashes.
comma := ,
MEMORY := address$(comma)undefined
ASAN_FLAGS := detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:intercept_tls_get_addr=0
# Random addresses now and then collide with ThreadSanitizer's own.
FIXED_LAYOUT = $(shell setarch -R true 2>/dev/null && echo setarch -R env)
TSAN_FLAGS := ignore_noninstrumented_modules=1:second_deadlock_stack=1:atexit_sleep_ms=50
sanitized_suite = @rm -rf $(BUILD)/$(1)/reports && mkdir -p $(BUILD)/$(1)/reports; $(3) WGTWO_TEST_SANITIZER=$(1) \
  WGTWO_TEST_REPORTS=$(BUILD_PATH)/$(1)/reports $(MAKE) --no-print-directory BUILD=$(BUILD)/$(1) SANITIZE=$(2) \
  LUA=$(BUILD_PATH)/$(1)/lua5.4 SPEC="$(4)" suite

sanitize-memory:
	@echo "== AddressSanitizer, LeakSanitizer, UndefinedBehaviorSanitizer"
	$(build) BUILD=$(BUILD)/memory SANITIZE=$(MEMORY) all interpreter
	$(call sanitized_suite,memory,$(MEMORY),ASAN_OPTIONS=$(ASAN_FLAGS) \
	  UBSAN_OPTIONS=print_stacktrace=1 \
	  LSAN_OPTIONS=suppressions=$(SUPPRESSIONS)/leak.supp:print_suppressions=0,$(SANITIZE_SPEC))

sanitize-collection:
	@echo "== aggressive garbage collection"
	$(build) all
	@WGTWO_TEST_GC=1 $(MAKE) --no-print-directory SPEC="$(SANITIZE_SPEC)" suite

sanitize-threads:
	@echo "== ThreadSanitizer"
	$(build) BUILD=$(BUILD)/threads SANITIZE=thread all interpreter
	$(call sanitized_suite,threads,thread,$(FIXED_LAYOUT) TSAN_OPTIONS=$(TSAN_FLAGS),$(THREAD_SPEC))

# fork(2) for the specs: Lua has none.
$(BUILD)/lib/fork.so: spec/support/fork.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD $@) $(COMPILE) $(WARNINGS) $(LIBFLAG) -Wl,-z,nodelete $< -o $@ $(LDFLAGS)

# The sanitizers' runtime has to be in the program that loads the modules.
interpreter: $(BUILD)/lua5.4
	@:

$(BUILD)/lua5.4: spec/support/interpreter.c $(BUILD)/flags
	$(call say,LD $@) $(COMPILE) $(WARNINGS) $< -o $@ $(LDFLAGS) -llua5.4

# ---- fuzzing: each spec/fuzz/NAME.c is a libFuzzer target with its corpus in spec/fuzz/corpus/NAME ----

FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(patsubst spec/fuzz/%.c,%,$(wildcard spec/fuzz/*.c))

fuzz: deps-lint ## run every fuzz target for FUZZ_SECONDS (60)
	$(build) BUILD=$(BUILD)/fuzz CC=$(CLANG) SANITIZE=fuzzer-no-link,address,undefined fuzz-targets \
	  $(API_SETS:$(BUILD)/%=$(BUILD)/fuzz/%)
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz fuzz-run

fuzz-run:
	@set -e; for name in $(FUZZ_TARGETS); do \
	  echo "== fuzz $$name, $(FUZZ_SECONDS) s"; \
	  mkdir -p $(BUILD)/corpus/$$name spec/fuzz/corpus/$$name; \
	  ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=suppressions=$(SUPPRESSIONS)/leak.supp:print_suppressions=0 \
	  $(BUILD)/$$name -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -verbosity=0 -print_final_stats=1 \
	    -artifact_prefix=$(BUILD)/$$name- $(BUILD)/corpus/$$name spec/fuzz/corpus/$$name; \
	done

fuzz-targets: $(addprefix $(BUILD)/,$(FUZZ_TARGETS))

$(addprefix $(BUILD)/,$(FUZZ_TARGETS)): $(BUILD)/%: spec/fuzz/%.c $(CORE_OBJECTS)
	$(call say,LD $@) $(COMPILE) $(WARNINGS) -fsanitize=fuzzer $< $(CORE_OBJECTS) -o $@ $(LDFLAGS) $(LIBRARY_LIBDIRS) \
	  $(CORE_LIBS) -llua5.4 -lm

# ---- benchmarks: this rock against the least that a C-core client can do, spec/bench --------------

ROWS ?=
ROUNDS ?= 5
QUICK ?=
BENCH := $(BUILD)/bench

bench: deps-bench ## measure, and print one table; ROWS=stream,ack for some groups, ROUNDS=5, QUICK=1 to see that it works
	$(build) all bench-programs
	@$(LUA) spec/bench/main.lua --build=$(BENCH) --json=$(BUILD)/bench.json --rounds=$(ROUNDS) \
	  $(if $(ROWS),--rows=$(ROWS)) $(if $(QUICK),--quick)

bench-programs: $(addprefix $(BENCH)/,source bare codec launch)

$(BENCH)/source: BENCH_LIBS := -lnghttp2 -lssl -lcrypto
$(BENCH)/bare: BENCH_LIBS := -lgrpc -lgpr
$(BENCH)/codec: BENCH_LIBS = $(BENCH)/events.a $(CORE_OBJECTS) $(CORE_LIBS) -llua5.4 -lm
$(BENCH)/codec: $(CORE_OBJECTS)
$(BENCH)/codec $(BUILD)/lint/spec/bench/codec.gcc $(BUILD)/lint/spec/bench/codec.clang: $(BENCH)/events.a
$(BENCH)/codec $(BUILD)/lint/spec/bench/codec.gcc $(BUILD)/lint/spec/bench/codec.clang: OWN_CPPFLAGS += -iquote$(BENCH) -iquote.

$(addprefix $(BENCH)/,source bare codec launch): $(BENCH)/%: spec/bench/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD $@) $(COMPILE) $(WARNINGS) $< -o $@ $(LDFLAGS) $(LIBRARY_LIBDIRS) $(BENCH_LIBS)

# What protoc-c generates for the events: the codec that ours is measured against.
$(BENCH)/events.a: $(PROTO_FILES)
	@mkdir -p $(@D)
	$(call say,PROTOC-C $@) cd $(BENCH) && rm -f $(@F) && $(PROTOC_C) --c_out=. -I$(CURDIR)/proto -I$(PROTOBUF_INCDIR) \
	  wgtwo/events/v0/events.proto wgtwo/common/v0/addresses.proto \
	  $(patsubst %,google/protobuf/%.proto,timestamp duration empty) && \
	for file in $$(find wgtwo google -name '*.pb-c.c'); do \
	  $(CC) $(CPPFLAGS) $(CFLAGS) $(LIBRARY_INCDIRS) -w -I. -c $$file -o $${file%.c}.o || exit; \
	done && $(AR) rc $(@F) $$(find wgtwo google -name '*.pb-c.o')

# ---- lint -----------------------------------------------------------------------------------------

lint: deps-lint ## clang-format, luacheck, cppcheck, and both compilers with warnings as errors
	$(build) -k lint-format lint-lua lint-cppcheck lint-compilers
	@echo "lint: clean"

lint-format:
	$(call say,clang-format) clang-format --dry-run -Werror $(C_FILES)

lint-lua:
	$(call say,luacheck) luacheck -q --no-color $(wildcard lua spec examples rockspec/*.rockspec) .luacheckrc .busted

# legacyUninitvar takes a designated initialiser for none; the rest is what others wrote, or generated.
CPPCHECK_SUPPRESSED := legacyUninitvar missingIncludeSystem *:$(BUILD)/*

lint-cppcheck: $(BUILD)/probes.h $(DESCRIPTOR).h
	@mkdir -p $(BUILD)/cppcheck
	$(call say,cppcheck) cppcheck --quiet --std=c11 --language=c --library=posix --enable=warning,performance,portability \
	  --inline-suppr --error-exitcode=1 --cppcheck-build-dir=$(BUILD)/cppcheck $(addprefix --suppress=,$(CPPCHECK_SUPPRESSED)) \
	  -D_GNU_SOURCE -I$(BUILD) -Icsrc $(filter %.c,$(C_FILES))

lint-compilers: $(foreach compiler,gcc clang,$(patsubst %.c,$(BUILD)/lint/%.$(compiler),$(filter %.c,$(C_FILES))))

# Optimised, since some warnings need the data flow.
lint_compile = @mkdir -p $(@D); echo "  $(1) $<"; $(1) $(OWN_CPPFLAGS) $(OWN_CFLAGS) $(WARNINGS) -Werror -O2 -c $< -o $@

$(BUILD)/lint/%.gcc: %.c $(wildcard csrc/*.h) $(BUILD)/probes.h $(DESCRIPTOR).h
	$(call lint_compile,gcc)

$(BUILD)/lint/%.clang: %.c $(wildcard csrc/*.h) $(BUILD)/probes.h $(DESCRIPTOR).h
	$(call lint_compile,$(CLANG))

format: ## lay out the C files as lint wants them
	clang-format -i $(C_FILES)

# ---- installing and packing -----------------------------------------------------------------------

PREFIX ?= /usr/local
INST_LIBDIR ?= $(PREFIX)/lib/lua/5.4
INST_LUADIR ?= $(PREFIX)/share/lua/5.4
INST_BINDIR ?= $(PREFIX)/bin

install: all ## install into PREFIX (/usr/local): lib/lua/5.4, share/lua/5.4
	@mkdir -p '$(DESTDIR)$(INST_LIBDIR)/wgtwo' '$(DESTDIR)$(INST_LUADIR)/wgtwo'
	install -m 755 $(MODULES) '$(DESTDIR)$(INST_LIBDIR)/wgtwo/'
	@set -e; for file in $(LUA_FILES); do \
	  install -D -m 644 "$$file" '$(DESTDIR)$(INST_LUADIR)/'"$${file#lua/}"; done
	install -m 644 $(API_SETS) '$(DESTDIR)$(INST_LUADIR)/wgtwo/'

ARCHIVE_NAME := wgtwo-$(VERSION)
ARCHIVE := $(BUILD)/$(ARCHIVE_NAME).tar.gz
SOURCE_FILES = $(if $(wildcard .git),git ls-files,find Makefile csrc lua proto rockspec spec examples README.md LICENSE \
  .[a-z]* -type f -not -path '$(BUILD)/*' -not -path '.build/*' -not -path '.generated/*')

dist: $(DESCRIPTOR).c $(API_SETS) ## pack a source archive that builds without protoc and protoc-c
	@rm -rf $(BUILD)/dist && mkdir -p $(BUILD)/dist/$(ARCHIVE_NAME)/.generated/google/protobuf \
	  $(BUILD)/dist/$(ARCHIVE_NAME)/.generated/share/wgtwo
	@$(SOURCE_FILES) | tar -cf - -T - | tar -xf - -C $(BUILD)/dist/$(ARCHIVE_NAME)
	@cp $(DESCRIPTOR).c $(DESCRIPTOR).h $(BUILD)/dist/$(ARCHIVE_NAME)/.generated/google/protobuf/
	@cp $(API_SETS) $(BUILD)/dist/$(ARCHIVE_NAME)/.generated/share/wgtwo/
	@tar --sort=name --owner=0 --group=0 --numeric-owner --mtime='2026-01-01 00:00Z' -C $(BUILD)/dist -cf - \
	  $(ARCHIVE_NAME) | gzip -9n >$(ARCHIVE)
	@rm -rf $(BUILD)/dist
	@echo $(ARCHIVE)

clean: ## remove everything that was built
	rm -rf $(BUILD)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
