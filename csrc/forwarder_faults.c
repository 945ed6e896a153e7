#include "forwarder_faults.h"

#include <lauxlib.h>
#include <string.h>

/* Settings: each reads the value on top of the stack; nil leaves things as they are, false is off. */

static void set_boolean(lua_State *L, const char *name, bool *setting) {
  if (lua_isnil(L, -1)) return;
  if (!lua_isboolean(L, -1)) luaL_error(L, "forwarder:set: '%s' is true or false", name);
  *setting = lua_toboolean(L, -1);
}

static void set_number(lua_State *L, const char *name, double off, double *setting) {
  if (lua_isnil(L, -1)) return;
  if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) {
    *setting = off;
    return;
  }
  if (!lua_isnumber(L, -1) || !(lua_tonumber(L, -1) >= 0 && lua_tonumber(L, -1) < 1e15)) {
    luaL_error(L, "forwarder:set: '%s' is a number, 0 or more, or false", name);
  }
  *setting = lua_tonumber(L, -1);
}

static void set_drop(lua_State *L, Faults *faults) {
  if (lua_isnil(L, -1)) return;
  const char *way = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  bool up = way != NULL && strcmp(way, "up") == 0, down = way != NULL && strcmp(way, "down") == 0;
  if (!up && !down && !lua_isboolean(L, -1)) luaL_error(L, "forwarder:set: 'drop' is true, false, \"up\" or \"down\"");
  bool both = way == NULL && lua_toboolean(L, -1);
  faults->drop_up = up || both;
  faults->drop_down = down || both;
}

static void check_names(lua_State *L, int arg) {
  static const char *const names[] = { "drop", "delay", "bandwidth", "refuse", "half_open", "cut_after", NULL };
  for (lua_pushnil(L); lua_next(L, arg) != 0; lua_pop(L, 1)) {
    bool known = false;
    for (int i = 0; names[i] != NULL && lua_type(L, -2) == LUA_TSTRING; i++) {
      if (strcmp(names[i], lua_tostring(L, -2)) == 0) known = true;
    }
    if (known) continue;
    luaL_error(L, "forwarder:set: unknown option '%s' (there are drop, delay, bandwidth, refuse, half_open, cut_after)",
               luaL_tolstring(L, -2, NULL));
  }
}

void faults_read(lua_State *L, int arg, Faults *faults) {
  luaL_checktype(L, arg, LUA_TTABLE);
  check_names(L, arg);
  double cut_after = -1;
  lua_getfield(L, arg, "drop");
  set_drop(L, faults);
  lua_getfield(L, arg, "refuse");
  set_boolean(L, "refuse", &faults->refuse);
  lua_getfield(L, arg, "half_open");
  set_boolean(L, "half_open", &faults->half_open);
  lua_getfield(L, arg, "delay");
  set_number(L, "delay", 0, &faults->delay);
  lua_getfield(L, arg, "bandwidth");
  set_number(L, "bandwidth", 0, &faults->bandwidth);
  lua_getfield(L, arg, "cut_after");
  set_number(L, "cut_after", -1, &cut_after);
  if (!lua_isnil(L, -1)) faults->cut_after = (int64_t)cut_after;
}
