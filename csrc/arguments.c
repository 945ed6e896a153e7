#include "arguments.h"

#include <lauxlib.h>
#include <limits.h>

void set_string_argument(grpc_arg *arg, const char *key, const char *value) {
  arg->type = GRPC_ARG_STRING;
  arg->key = (char *)key;
  arg->value.string = (char *)value;
}

static void set_integer(lua_State *L, const char *where, grpc_arg *arg, const char *key, lua_Integer value) {
  if (value < INT_MIN || value > INT_MAX)
    luaL_error(L, "%s: the argument '%s' is an integer of 32 bits, not %I", where, key, (LUAI_UACINT)value);
  arg->type = GRPC_ARG_INTEGER;
  arg->key = (char *)key;
  arg->value.integer = (int)value;
}

size_t read_arguments(lua_State *L, int index, const char *where, grpc_arg args[MAX_ARGUMENTS], size_t count) {
  index = lua_absindex(L, index);
  if (lua_isnoneornil(L, index)) return count;
  if (!lua_istable(L, index)) luaL_error(L, "%s: arguments are a table", where);
  lua_pushnil(L);
  for (; lua_next(L, index); count++, lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "%s: arguments have string keys", where);
    const char *key = lua_tostring(L, -2);
    if (count == MAX_ARGUMENTS) luaL_error(L, "%s: more than %d arguments", where, MAX_ARGUMENTS);
    if (lua_isinteger(L, -1))
      set_integer(L, where, &args[count], key, lua_tointeger(L, -1));
    else if (lua_type(L, -1) == LUA_TSTRING)
      set_string_argument(&args[count], key, lua_tostring(L, -1));
    else
      luaL_error(L, "%s: the argument '%s' is an integer or a string", where, key);
  }
  return count;
}
