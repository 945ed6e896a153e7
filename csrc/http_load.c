/*
 * core.http until it is first called: it then loads wgtwo.http, and is that module's function from then on. libcurl and
 * all that it brings take 4 MB and a third of the time to load the core, and many scripts never ask for anything by
 * HTTP: a token from elsewhere, a sandbox without tokens.
 */
#include <lauxlib.h>

#include "http.h"

/* Upvalue 1 is the core's table. */
static int load_http(lua_State *L) {
  int count = lua_gettop(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "wgtwo.http");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "http");
  lua_pushvalue(L, -1);
  lua_setfield(L, lua_upvalueindex(1), "http");
  lua_replace(L, -2);
  lua_insert(L, 1);
  lua_call(L, count, LUA_MULTRET);
  return lua_gettop(L);
}

void http_register(lua_State *L) {
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, load_http, 1);
  lua_setfield(L, -2, "http");
}
