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

size_t parts_check(lua_State *L, int first) {
  int last = lua_gettop(L);
  size_t size = 0;
  for (int arg = first; arg <= last || arg == first; arg++) size += part_size(L, arg);
  return size;
}

void parts_write(lua_State *L, int first, unsigned char *to) {
  int last = lua_gettop(L);
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
