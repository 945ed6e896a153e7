/* Lua tables to bytes.
 *
 * The table is walked with raw access, so no Lua code runs meanwhile; nothing is allocated in Lua either until the
 * bytes are pushed, so no finalizer can. Texts are used where they stand: the table on the stack keeps them. */

#include "encode.h"

#include <lauxlib.h>

#include "fill.h"
#include "message.h"
#include "scratch.h"
#include "wire.h"

typedef struct Encoder {
  lua_State *L;
  Fill fill;
} Encoder;

/* A null of JSON, and what a table may hold in place of nil. */
static bool is_null(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL;
}

static bool fail_type(Encoder *e, const char *expected, int index) {
  const char *found = is_null(e->L, index) ? "null" : luaL_typename(e->L, index);
  return fill_fail(&e->fill, "%s expected, got %s", expected, found);
}

static ProtobufCMessage *from_message_value(Encoder *e, const MessageType *type, int index, int kind);

/* -- Scalars: `kind` is the Lua type of the value at `index` -- */

static bool from_integer(Encoder *e, const Field *field, void *place, int index, int kind) {
  int exact;
  if (kind != LUA_TNUMBER) return fail_type(e, "integer", index);
  lua_Integer value = lua_tointegerx(e->L, index, &exact);
  if (exact) return fill_integer(&e->fill, field, place, value);
  return fill_fail(&e->fill, "integer expected, got %.14g", lua_tonumber(e->L, index));
}

static bool from_text(Encoder *e, const Field *field, void *place, int index, int kind) {
  size_t len;
  if (kind != LUA_TSTRING) return fail_type(e, "string", index);
  const char *text = lua_tolstring(e->L, index, &len);
  return fill_text(&e->fill, field, place, text, len);
}

static bool from_enum(Encoder *e, const Field *field, void *place, int index, int kind) {
  size_t len;
  if (kind == LUA_TNUMBER) return from_integer(e, field, place, index, kind);
  if (kind != LUA_TSTRING) return fail_type(e, "enum name or number", index);
  const char *name = lua_tolstring(e->L, index, &len);
  return fill_enum(&e->fill, field, place, name, len);
}

/* The value at `index` into place. */
static bool from_value(Encoder *e, const Field *field, void *place, int index, int kind) {
  switch (field->type) {
  case FIELD_STRING:
  case FIELD_BYTES: return from_text(e, field, place, index, kind);
  case FIELD_MESSAGE: return (*(ProtobufCMessage **)place = from_message_value(e, field->message, index, kind)) != NULL;
  case FIELD_ENUM: return from_enum(e, field, place, index, kind);
  case FIELD_BOOL:
    if (kind != LUA_TBOOLEAN) return fail_type(e, "boolean", index);
    fill_bool(place, lua_toboolean(e->L, index));
    return true;
  case FIELD_DOUBLE:
  case FIELD_FLOAT:
    if (kind != LUA_TNUMBER) return fail_type(e, "number", index);
    return fill_number(&e->fill, field, place, lua_tonumber(e->L, index));
  default: return from_integer(e, field, place, index, kind);
  }
}

/* -- Lists and maps: the table is on top of the stack -- */

/* Each key has to be one of 1..n, and there are n of them: then the table is a sequence, in whatever order it is
 * walked. */
static bool from_list(Encoder *e, const Field *field, ProtobufCMessage *message, Step *step) {
  lua_State *L = e->L;
  if (!lua_istable(L, -1)) return fail_type(e, "sequence", -1);
  lua_Unsigned count = lua_rawlen(L, -1), found = 0;
  size_t size = fill_element_size(field);
  char *elements = fill_list(&e->fill, message, field, (size_t)count);
  if (elements == NULL) return false;
  lua_pushnil(L);
  while (lua_next(L, -2) != 0) {
    if (!lua_isinteger(L, -2))
      return fill_fail(&e->fill, "sequence expected, got a table with a %s key", luaL_typename(L, -2));
    lua_Integer at = lua_tointeger(L, -2);
    if (at < 1 || (lua_Unsigned)at > count) return fill_fail(&e->fill, "sequence expected, got a table with holes");
    step->index = at;
    step->has_index = true;
    if (!from_value(e, field, elements + (size_t)(at - 1) * size, -1, lua_type(L, -1))) return false;
    step->has_index = false;
    lua_pop(L, 1);
    found++;
  }
  return found == count || fill_fail(&e->fill, "sequence expected, got a table with holes");
}

/* One entry; its key is at -2 and its value at -1. */
static ProtobufCMessage *from_entry(Encoder *e, const Field *field, Step *step) {
  lua_State *L = e->L;
  const Field *key = &field->message->fields[0], *value = &field->message->fields[1];
  if (!fill_enter(&e->fill)) return NULL;
  ProtobufCMessage *entry = fill_message(&e->fill, field->message);
  if (entry == NULL || !from_value(e, key, fill_place(entry, key), -2, lua_type(L, -2))) return NULL;
  step->key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
  step->has_index = lua_isinteger(L, -2);
  step->index = lua_tointeger(L, -2);
  if (!from_value(e, value, fill_place(entry, value), -1, lua_type(L, -1))) return NULL;
  step->key = NULL;
  step->has_index = false;
  fill_end(entry, key);
  fill_end(entry, value);
  fill_leave(&e->fill);
  return entry;
}

static bool from_map(Encoder *e, const Field *field, ProtobufCMessage *message, Step *step) {
  lua_State *L = e->L;
  if (!lua_istable(L, -1)) return fail_type(e, "table", -1);
  size_t count = 0, n = 0;
  for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) count++;
  ProtobufCMessage **entries = fill_list(&e->fill, message, field, count);
  if (entries == NULL) return false;
  lua_pushnil(L);
  while (lua_next(L, -2) != 0) {
    if ((entries[n++] = from_entry(e, field, step)) == NULL) return false;
    lua_pop(L, 1);
  }
  return fill_sort_map(&e->fill, field, entries, count);
}

/* -- Messages -- */

/* The value on top of the stack into a field of the message. */
static bool from_field(Encoder *e, const Field *field, ProtobufCMessage *message) {
  int kind = lua_type(e->L, -1);
  if (kind == LUA_TLIGHTUSERDATA && is_null(e->L, -1)) return true;
  Step step = { e->fill.step, field, 0, NULL, false };
  e->fill.step = &step;
  bool filled;
  if (!field->repeated) {
    filled = fill_begin(&e->fill, message, field) && from_value(e, field, fill_place(message, field), -1, kind);
    if (filled) fill_end(message, field);
  } else if (field->map) {
    filled = from_map(e, field, message, &step);
  } else {
    filled = from_list(e, field, message, &step);
  }
  e->fill.step = step.up;
  return filled;
}

/* The table at `index` into the message. */
static bool from_table(Encoder *e, const MessageType *type, ProtobufCMessage *message, int index) {
  lua_State *L = e->L;
  if (!lua_checkstack(L, 8)) return fill_fail_memory(&e->fill);
  index = lua_absindex(L, index);
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    size_t len;
    if (lua_type(L, -2) != LUA_TSTRING) {
      return fill_fail(&e->fill, "%s has no field of a %s's name", type->name, luaL_typename(L, -2));
    }
    const char *name = lua_tolstring(L, -2, &len);
    const Field *field = schema_field(type, name, len);
    if (field == NULL) return fill_fail_unknown_field(&e->fill, type, name, len);
    if (!from_field(e, field, message)) return false;
    lua_pop(L, 1);
  }
  return fill_finish(&e->fill, type, message);
}

static ProtobufCMessage *from_message(Encoder *e, const MessageType *type, const Message *message) {
  bool fits = message->type == type;
  if (!fits && strcmp(message->type->name, type->name) == 0)
    fits = wire_check(type, message->bytes, message->len) == NULL;
  if (fits) return fill_raw(&e->fill, message->bytes, message->len);
  fill_fail(&e->fill, "%s expected, got a message %s", type->name, message->type->name);
  return NULL;
}

/* Fills a message from what is neither a table nor a message. */
static bool from_plain(Encoder *e, const MessageType *type, ProtobufCMessage *message, int index) {
  lua_State *L = e->L;
  if (type->kind == KIND_TIMESTAMP || type->kind == KIND_DURATION) {
    size_t len;
    if (lua_isinteger(L, index)) return fill_instant(&e->fill, type, message, (Instant){ lua_tointeger(L, index), 0 });
    if (lua_type(L, index) == LUA_TNUMBER) return fill_instant_seconds(&e->fill, type, message, lua_tonumber(L, index));
    if (lua_type(L, index) == LUA_TSTRING) {
      const char *text = lua_tolstring(L, index, &len);
      return fill_instant_text(&e->fill, type, message, text, len);
    }
    return fail_type(e, "seconds, table or text", index);
  }
  return fill_fail(&e->fill, "table or message (%s) expected, got %s", type->name,
                   is_null(L, index) ? "null" : luaL_typename(L, index));
}

static ProtobufCMessage *from_message_value(Encoder *e, const MessageType *type, int index, int kind) {
  if (kind == LUA_TUSERDATA) {
    const Message *given = message_test(e->L, index);
    if (given != NULL) return from_message(e, type, given);
  }
  if (!fill_enter(&e->fill)) return NULL;
  ProtobufCMessage *message = fill_message(&e->fill, type);
  if (message == NULL) return NULL;
  bool filled = kind == LUA_TTABLE ? from_table(e, type, message, index) : from_plain(e, type, message, index);
  fill_leave(&e->fill);
  return filled ? message : NULL;
}

/* -- Lua -- */

void encode_push(lua_State *L, const MessageType *type, int index) {
  const Message *given = message_test(L, index);
  if (given != NULL && given->type == type) {
    lua_pushlstring(L, (const char *)given->bytes, given->len);
    return;
  }
  Scratch *scratch = scratch_take(L);
  Encoder e;
  e.L = L;
  e.fill.arena = &scratch->arena;
  e.fill.step = NULL;
  e.fill.depth = 0;
  ProtobufCMessage *message = from_message_value(&e, type, index, lua_type(L, index));
  if (message == NULL) luaL_error(L, "%s", e.fill.error);
  size_t len = protobuf_c_message_get_packed_size(message);
  uint8_t *bytes = arena_alloc(&scratch->arena, len);
  if (bytes == NULL) luaL_error(L, "not enough memory");
  protobuf_c_message_pack(message, bytes);
  lua_pushlstring(L, (const char *)bytes, len);
}

/* encode(TYPE, table | message) -> bytes */
static int core_encode(lua_State *L) {
  const MessageType *type = schema_check_type(L, 1);
  luaL_checkany(L, 2);
  encode_push(L, type, 2);
  return 1;
}

void encode_register(lua_State *L) {
  lua_pushcfunction(L, core_encode);
  lua_setfield(L, -2, "encode");
}
