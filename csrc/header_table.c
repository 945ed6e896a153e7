#include "header_table.h"

#include <lauxlib.h>

static void push_lower(lua_State *L, const char *text, size_t length) {
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (; length > 0; text++, length--) luaL_addchar(&buffer, *text >= 'A' && *text <= 'Z' ? (char)(*text + 32) : *text);
  luaL_pushresult(&buffer);
}

void header_table_add(lua_State *L, const char *name, size_t name_length, const char *value, size_t length) {
  push_lower(L, name, name_length);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -3) == LUA_TSTRING) {
    lua_pushliteral(L, ", ");
    lua_pushlstring(L, value, length);
    lua_concat(L, 3);
  } else {
    lua_pop(L, 1);
    lua_pushlstring(L, value, length);
  }
  lua_rawset(L, -3);
}
