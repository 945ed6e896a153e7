/* Any text as the answer of a token endpoint, which is read as plain JSON in Lua: a value or a reason. A value, written
 * and read again, is written the same. */

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"

static const char script[] = "local core, text = ...\n"
                             "local value, reason = core.json_decode(text)\n"
                             "if value == nil then assert(type(reason) == 'string' and #reason > 0) return end\n"
                             "local written = core.json_encode(value)\n"
                             "local again = core.json_decode(written)\n"
                             "assert(core.json_encode(again) == written)\n"
                             "assert(core.json_encode(core.json_decode(core.json_encode(value, 2))) == written)\n";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
  lua_State *L = luaL_newstate();
  if (L == NULL) abort();
  luaL_openlibs(L);
  if (luaL_loadstring(L, script) != LUA_OK) abort();
  lua_newtable(L);
  json_register(L);
  lua_pushlstring(L, (const char *)bytes, len);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    fprintf(stderr, "token_answer: %s\n", lua_tostring(L, -1));
    abort();
  }
  lua_close(L);
  return 0;
}
