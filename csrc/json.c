/* tojson and fromjson: messages and JSON text in Lua. */

#include "json.h"

#include <lauxlib.h>
#include <string.h>

#include "json_read.h"
#include "json_value.h"
#include "json_write.h"
#include "message.h"
#include "scratch.h"

enum { MAX_INDENT = 16 };

typedef struct Options {
  bool proto_names;
  unsigned indent;
} Options;

/* Reads {names = "json" | "proto", indent = spaces}; another key is an error. */
static Options check_options(lua_State *L, int arg) {
  static const char *const names[] = { "json", "proto", NULL };
  Options options = { false, 0 };
  if (lua_isnoneornil(L, arg)) return options;
  luaL_checktype(L, arg, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, arg) != 0; lua_pop(L, 1)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    if (strcmp(key, "names") == 0) {
      int choice = 0;
      const char *given = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
      while (names[choice] != NULL && strcmp(names[choice], given) != 0) choice++;
      luaL_argcheck(L, names[choice] != NULL, arg, "names is \"json\" or \"proto\"");
      options.proto_names = choice == 1;
    } else if (strcmp(key, "indent") == 0) {
      luaL_argcheck(L, lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0 && lua_tointeger(L, -1) <= MAX_INDENT, arg,
                    "indent is 0 to 16 spaces");
      options.indent = (unsigned)lua_tointeger(L, -1);
    } else {
      luaL_argerror(L, arg, "the options are names and indent");
    }
  }
  return options;
}

/* tojson(message[, options]) -> text */
static int core_tojson(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  Options options = check_options(L, 2);
  Scratch *scratch = scratch_take(L);
  JsonText json = { .out = scratch, .indent = options.indent };
  json_write_message(&json, message->type, message->bytes, message->len, options.proto_names);
  if (json.failed) return luaL_error(L, "not enough memory");
  lua_pushlstring(L, scratch->text, scratch->len);
  return 1;
}

/* fromjson(TYPE, text) -> message | nil, reason */
static int core_fromjson(lua_State *L) {
  const MessageType *type = schema_check_type(L, 1);
  size_t text_len, len = 0;
  const char *text = luaL_checklstring(L, 2, &text_len);
  Fill fill;
  Scratch *scratch = scratch_take(L);
  const uint8_t *bytes = json_read_message(scratch, &fill, type, text, text_len, &len);
  if (bytes == NULL) {
    lua_pushnil(L);
    lua_pushstring(L, fill.error);
    return 2;
  }
  lua_pushlstring(L, (const char *)bytes, len); /* before anything else may use the scratch */
  memcpy(message_new(L, type, len), lua_tostring(L, -1), len);
  if (message_check(L, -1) == NULL) return 1;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

void json_register(lua_State *L) {
  static const luaL_Reg functions[] = { { "tojson", core_tojson }, { "fromjson", core_fromjson }, { NULL, NULL } };
  luaL_setfuncs(L, functions, 0);
  json_value_register(L);
}
