/*
 * wgtwo.core: the C module. Its functions come from the files that they belong to; lua/wgtwo/core.meta.lua describes
 * them.
 */
#include <lauxlib.h>

#include "acker.h"
#include "call_methods.h"
#include "channel.h"
#include "encode.h"
#include "forwarder.h"
#include "http.h"
#include "json.h"
#include "loop.h"
#include "message.h"
#include "parts.h"
#include "pem.h"
#include "probe.h"
#include "process.h"
#include "reader.h"
#include "schema.h"
#include "server.h"
#include "watch.h"

/* Its address is the registry's key of the module's table. */
static const char module_key;

__attribute__((visibility("default"))) int luaopen_wgtwo_core(lua_State *L);

int luaopen_wgtwo_core(lua_State *L) {
  static void (*const rooms[])(lua_State *) = {
    loop_register,      op_register,     poll_register,    channel_register, call_register,
    acker_register,     server_register, http_register,    process_register, watch_register,
    probe_register,     schema_register, message_register, encode_register,  json_register,
    forwarder_register, reader_register, pem_register,     parts_register,
  };
  luaL_checkversion(L);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key) == LUA_TTABLE) return 1; /* opened before: there is one loop */
  lua_newtable(L);
  for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) rooms[i](L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
  return 1;
}
