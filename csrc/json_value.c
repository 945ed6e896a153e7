/* JSON of plain Lua values. Reading: jansson's tree, held by a userdata while tables are made of it. Writing: the text
 * side of json_text.h, objects in the order of their keys. */

#include "json_value.h"

#include <jansson.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "json_text.h"
#include "json_write.h"
#include "message.h"
#include "utf8.h"

enum { MAX_DEPTH = 200, MAX_INDENT = 16 };

/* Its address is the registry's key of the metatable that marks an array. */
static const char array_key;

static void mark_array(lua_State *L, int index) {
  index = lua_absindex(L, index);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
  lua_setmetatable(L, index);
}

static bool is_marked_array(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
  bool marked = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return marked;
}

/* -- Reading -- */

static int tree_gc(lua_State *L) {
  json_t **tree = lua_touserdata(L, 1);
  json_decref(*tree);
  *tree = NULL;
  return 0;
}

static int depth_of(const json_t *value) {
  int deepest = 0;
  const char *key;
  json_t *member;
  size_t i;
  if (json_is_array(value)) {
    json_array_foreach((json_t *)value, i, member) {
      int depth = depth_of(member);
      if (depth > deepest) deepest = depth;
    }
  } else if (json_is_object(value)) {
    json_object_foreach((json_t *)value, key, member) {
      int depth = depth_of(member);
      if (depth > deepest) deepest = depth;
    }
  } else {
    return 0;
  }
  return deepest + 1;
}

static void push_value(lua_State *L, const json_t *value) {
  luaL_checkstack(L, 4, "JSON is nested too deep");
  const char *key;
  json_t *member;
  size_t i;
  switch (json_typeof(value)) {
  case JSON_STRING: lua_pushlstring(L, json_string_value(value), json_string_length(value)); break;
  case JSON_INTEGER: lua_pushinteger(L, (lua_Integer)json_integer_value(value)); break;
  case JSON_REAL: lua_pushnumber(L, json_real_value(value)); break;
  case JSON_TRUE:
  case JSON_FALSE: lua_pushboolean(L, json_is_true(value)); break;
  case JSON_NULL: lua_pushlightuserdata(L, NULL); break;
  case JSON_ARRAY:
    lua_createtable(L, (int)json_array_size(value), 0);
    json_array_foreach((json_t *)value, i, member) {
      push_value(L, member);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (json_array_size(value) == 0) mark_array(L, -1);
    break;
  case JSON_OBJECT:
    lua_createtable(L, 0, (int)json_object_size(value));
    json_object_foreach((json_t *)value, key, member) {
      lua_pushstring(L, key);
      push_value(L, member);
      lua_rawset(L, -3);
    }
    break;
  }
}

/* json_decode(text) -> value | nil, reason */
static int core_json_decode(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  json_error_t error;
  json_t **tree = lua_newuserdatauv(L, sizeof *tree, 0);
  *tree = NULL;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, tree_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  *tree = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
  lua_pushnil(L);
  if (*tree == NULL) {
    lua_pushfstring(L, "not JSON: line %d, column %d: %s", error.line, error.column, error.text);
    return 2;
  }
  if (depth_of(*tree) > MAX_DEPTH) {
    lua_pushfstring(L, "JSON is nested more than %d deep", (int)MAX_DEPTH);
    return 2;
  }
  push_value(L, *tree);
  json_decref(*tree);
  *tree = NULL;
  return 1;
}

/* -- Writing -- */

static void write_value(lua_State *L, JsonText *json, int index);

/* How many items a sequence has, -1 when the table is none. */
static lua_Integer sequence_length(lua_State *L, int index) {
  lua_Integer count = (lua_Integer)lua_rawlen(L, index), found = 0;
  for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
    if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || lua_tointeger(L, -2) > count) {
      lua_pop(L, 2);
      return -1;
    }
    found++;
  }
  return found == count ? count : -1;
}

static void write_array(lua_State *L, JsonText *json, int index, lua_Integer count) {
  bool empty = true;
  json_open(json, '[');
  for (lua_Integer i = 1; i <= count; i++) {
    json_next(json, &empty);
    lua_rawgeti(L, index, i);
    write_value(L, json, -1);
    lua_pop(L, 1);
  }
  json_close(json, ']', empty);
}

/* The keys lie on the Lua stack while they are sorted; the texts point to them. */
typedef struct Key {
  const char *text;
  size_t len;
  int slot;
} Key;

static int compare_keys(const void *left, const void *right) {
  const Key *a = left, *b = right;
  int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
  return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

static void write_object(lua_State *L, JsonText *json, int index) {
  int top = lua_gettop(L), count = 0;
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "JSON: a table has keys that are no sequence and no strings");
    luaL_checkstack(L, 4, "JSON: too many keys");
    lua_pop(L, 1);
    lua_pushvalue(L, -1); /* one stays, the other is for lua_next */
    count++;
  }
  Key *keys = arena_alloc(&json->out->arena, ((size_t)count + 1) * sizeof *keys);
  if (keys == NULL) luaL_error(L, "not enough memory");
  for (int i = 0; i < count; i++) {
    keys[i].text = lua_tolstring(L, top + 1 + i, &keys[i].len);
    keys[i].slot = top + 1 + i;
    if (!utf8_is_valid(keys[i].text, keys[i].len)) luaL_error(L, "JSON: a key is no valid UTF-8");
  }
  qsort(keys, (size_t)count, sizeof *keys, compare_keys);
  bool empty = true;
  json_open(json, '{');
  for (int i = 0; i < count; i++) {
    json_next(json, &empty);
    json_put_string(json, keys[i].text, keys[i].len);
    json_put_key(json, ":", 1);
    lua_pushvalue(L, keys[i].slot);
    lua_rawget(L, index);
    write_value(L, json, -1);
    lua_pop(L, 1);
  }
  json_close(json, '}', empty);
  lua_settop(L, top);
}

static void write_table(lua_State *L, JsonText *json, int index) {
  luaL_checkstack(L, 6, "JSON: nested too deep");
  if (json->level >= MAX_DEPTH) luaL_error(L, "JSON: nested more than %d deep, or a table in itself", (int)MAX_DEPTH);
  lua_Integer count = sequence_length(L, index);
  if (count > 0 || (count == 0 && is_marked_array(L, index)))
    write_array(L, json, index, count);
  else
    write_object(L, json, index);
}

static void write_string(lua_State *L, JsonText *json, int index) {
  size_t len;
  const char *text = lua_tolstring(L, index, &len);
  if (!utf8_is_valid(text, len)) luaL_error(L, "JSON: a string is no valid UTF-8");
  json_put_string(json, text, len);
}

static void write_other(lua_State *L, JsonText *json, int index) {
  const Message *message = message_test(L, index);
  if (message != NULL)
    json_write_message(json, message->type, message->bytes, message->len, false);
  else if (lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL)
    json_put(json, "null", 4);
  else
    luaL_error(L, "JSON: a %s has no form in it", luaL_typename(L, index));
}

static void write_value(lua_State *L, JsonText *json, int index) {
  index = lua_absindex(L, index);
  switch (lua_type(L, index)) {
  case LUA_TNIL: json_put(json, "null", 4); break;
  case LUA_TBOOLEAN:
    if (lua_toboolean(L, index))
      json_put(json, "true", 4);
    else
      json_put(json, "false", 5);
    break;
  case LUA_TNUMBER:
    if (lua_isinteger(L, index))
      json_put_integer(json, lua_tointeger(L, index));
    else if (!json_put_double(json, lua_tonumber(L, index)))
      luaL_error(L, "JSON: %f has no form in it", lua_tonumber(L, index));
    break;
  case LUA_TSTRING: write_string(L, json, index); break;
  case LUA_TTABLE: write_table(L, json, index); break;
  default: write_other(L, json, index); break;
  }
}

/* json_encode(value[, indent]) -> text; raises for what JSON cannot say */
static int core_json_encode(lua_State *L) {
  luaL_checkany(L, 1);
  lua_Integer indent = luaL_optinteger(L, 2, 0);
  luaL_argcheck(L, indent >= 0 && indent <= MAX_INDENT, 2, "indent is 0 to 16 spaces");
  Scratch *scratch = scratch_push(L);
  JsonText json = { .out = scratch, .indent = (unsigned)indent };
  write_value(L, &json, 1);
  if (json.failed) return luaL_error(L, "not enough memory");
  lua_pushlstring(L, scratch->text, scratch->len);
  scratch_free(scratch);
  return 1;
}

/* json_array(table) -> the table, which is written as an array even when it is empty */
static int core_json_array(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  mark_array(L, 1);
  return 1;
}

void json_value_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "json_decode", core_json_decode },
    { "json_encode", core_json_encode },
    { "json_array", core_json_array },
    { NULL, NULL },
  };
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "wgtwo.json_array");
  lua_setfield(L, -2, "__name");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
  luaL_setfuncs(L, functions, 0);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
}
