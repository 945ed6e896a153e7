#include "parts.h"

#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

static size_t varint_size(uint64_t value) {
  size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    size++;
  }
  return size;
}

static unsigned char *write_varint(unsigned char *to, uint64_t value) {
  while (value >= 0x80) {
    *to++ = (unsigned char)(value | 0x80);
    value >>= 7;
  }
  *to++ = (unsigned char)value;
  return to;
}

static size_t part_size(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TSTRING) return lua_rawlen(L, arg);
  if (!lua_isinteger(L, arg)) luaL_typeerror(L, arg, "string or integer");
  return varint_size((uint64_t)lua_tointeger(L, arg));
}

size_t parts_check(lua_State *L, int first, int last) {
  size_t size = 0;
  for (int arg = first; arg <= last; arg++) size += part_size(L, arg);
  return size;
}

void parts_write(lua_State *L, int first, int last, unsigned char *to) {
  for (int arg = first; arg <= last; arg++) {
    if (lua_type(L, arg) == LUA_TSTRING) {
      size_t length;
      const char *bytes = lua_tolstring(L, arg, &length);
      memcpy(to, bytes, length);
      to += length;
    } else {
      to = write_varint(to, (uint64_t)lua_tointeger(L, arg));
    }
  }
}

/* core.join(…) -> the parts as one string */
static int join(lua_State *L) {
  int last = lua_gettop(L);
  size_t size = parts_check(L, 1, last);
  luaL_Buffer text;
  parts_write(L, 1, last, (unsigned char *)luaL_buffinitsize(L, &text, size));
  luaL_pushresultsize(&text, size);
  return 1;
}

void parts_register(lua_State *L) {
  static const luaL_Reg functions[] = { { "join", join }, { NULL, NULL } };
  luaL_setfuncs(L, functions, 0);
}
