rockspec_format = "3.0"
package = "wgtwo"
version = "0.1.0-1"
source = {
  url = "file://wgtwo-0.1.0.tar.gz", -- what `make dist` packs
  dir = "wgtwo-0.1.0",
}
description = {
  summary = "Client for the platform's APIs: events, SMS and every other method, with a sandbox",
  detailed = [[
    Fetches tokens, iterates over events and acknowledges them, sends SMS, and calls every method of the platform's gRPC
    APIs. Comes with a sandbox that stands in for the platform.
  ]],
  license = "MIT",
}
dependencies = {
  "lua >= 5.4, < 5.5",
}
-- No headers: LuaRocks finds libraries in Debian's multiarch folders, headers not. The Makefile asks pkg-config.
external_dependencies = {
  GRPC = { library = "grpc" },
  PROTOBUF_C = { library = "protobuf-c" },
  CURL = { library = "curl" },
  JANSSON = { library = "jansson" },
  MICROHTTPD = { library = "microhttpd" },
  CRYPTO = { library = "crypto" },
}
build = {
  type = "make",
  -- A BUILD of its own: LuaRocks' flags are not those of a checkout's build. Both passes need the same ones.
  build_variables = {
    BUILD = ".build/rock",
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS)",
    LIBFLAG = "$(LIBFLAG)",
    LUA = "$(LUA)",
    LUA_INCDIR = "$(LUA_INCDIR)",
  },
  install_variables = {
    BUILD = ".build/rock",
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS)",
    LIBFLAG = "$(LIBFLAG)",
    LUA = "$(LUA)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    INST_LIBDIR = "$(LIBDIR)",
    INST_LUADIR = "$(LUADIR)",
    INST_BINDIR = "$(BINDIR)",
  },
}
