/*
 * Reading the one table of options that a function takes. Strings stay the table's, so they are good while it is on the
 * stack. What is wrong raises one line that names the function and the option; the public functions in Lua have checked
 * before.
 */
#ifndef WGTWO_OPTION_H
#define WGTWO_OPTION_H

#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

typedef struct OptionTable {
  lua_State *L;
  int index;         /* of the table on the stack, absolute */
  const char *where; /* "core.http" */
} OptionTable;

/* Raises unless the argument is a table whose keys all stand in names, a list that NULL ends. */
static inline OptionTable option_table(lua_State *L, int arg, const char *where, const char *const *names) {
  luaL_checktype(L, arg, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    const char *const *name = names;
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "%s: options have string keys", where);
    while (*name != NULL && strcmp(*name, lua_tostring(L, -1)) != 0) name++;
    if (*name == NULL) luaL_error(L, "%s: unknown option '%s'", where, lua_tostring(L, -1));
  }
  return (OptionTable){ .L = L, .index = lua_absindex(L, arg), .where = where };
}

/* NULL when absent. Bytes: may hold \0, length tells. */
static inline const char *option_bytes(OptionTable o, const char *name, size_t *length) {
  *length = 0;
  int type = lua_getfield(o.L, o.index, name);
  if (type != LUA_TNIL && type != LUA_TSTRING) luaL_error(o.L, "%s: '%s' is a string", o.where, name);
  const char *value = type == LUA_TNIL ? NULL : lua_tolstring(o.L, -1, length);
  lua_pop(o.L, 1); /* the table still holds it */
  return value;
}

/* NULL when absent. */
static inline const char *option_string(OptionTable o, const char *name) {
  size_t length;
  const char *value = option_bytes(o, name, &length);
  if (value != NULL && strlen(value) != length) luaL_error(o.L, "%s: '%s' holds a zero byte", o.where, name);
  return value;
}

static inline const char *option_required(OptionTable o, const char *name) {
  const char *value = option_string(o, name);
  if (value == NULL) luaL_error(o.L, "%s: '%s' is missing", o.where, name);
  return value;
}

static inline bool option_boolean(OptionTable o, const char *name) {
  lua_getfield(o.L, o.index, name);
  bool value = lua_toboolean(o.L, -1);
  lua_pop(o.L, 1);
  return value;
}

static inline lua_Integer option_integer(OptionTable o, const char *name, lua_Integer least, lua_Integer most,
                                         lua_Integer absent) {
  int type = lua_getfield(o.L, o.index, name), is_integer = 1;
  lua_Integer value = type == LUA_TNIL ? absent : lua_tointegerx(o.L, -1, &is_integer);
  if (!is_integer || (type != LUA_TNIL && (type != LUA_TNUMBER || value < least || value > most)))
    luaL_error(o.L, "%s: '%s' is an integer from %I to %I", o.where, name, least, most);
  lua_pop(o.L, 1);
  return value;
}

/* A span of time in seconds as milliseconds, at least 1 and at most about 24 days. */
static inline int option_milliseconds(OptionTable o, const char *name, double absent) {
  int type = lua_getfield(o.L, o.index, name);
  double seconds = type == LUA_TNIL ? absent : lua_tonumber(o.L, -1);
  if ((type != LUA_TNIL && type != LUA_TNUMBER) || !(seconds > 0))
    luaL_error(o.L, "%s: '%s' is a number of seconds over 0", o.where, name);
  lua_pop(o.L, 1);
  if (seconds >= 2e6) return 2000000000;
  return seconds < 1e-3 ? 1 : (int)(seconds * 1000);
}

#endif
