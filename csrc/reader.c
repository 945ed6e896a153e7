/*
 * core.reader(TYPE, path) makes a function of a path such as "event.metadata.is_redelivered": it takes a message of
 * TYPE and gives the field's value, or its default where something on the way is absent. The path is looked up once,
 * into a list of fields that the function holds; a call then only scans the bytes. Lua thread only.
 */
#include "reader.h"

#include <lauxlib.h>
#include <string.h>

#include "message.h"
#include "push.h"
#include "read.h"
#include "schema.h"

enum { MAX_STEPS = 8 };

typedef struct Path {
  const MessageType *type;
  const char *name; /* of the type, for errors */
  size_t count;
  const Field *steps[MAX_STEPS]; /* messages, then a scalar */
} Path;

/* The bytes of a submessage that occurs more than once on the wire: joined, in a userdata that stays on the stack. */
static const uint8_t *join(lua_State *L, const uint8_t *bytes, size_t *len, uint32_t number) {
  size_t size = read_joined(bytes, *len, number, NULL);
  uint8_t *joined = lua_newuserdatauv(L, size > 0 ? size : 1, 0);
  read_joined(bytes, *len, number, joined);
  *len = size;
  return joined;
}

static int read_path(lua_State *L) {
  const Path *path = lua_touserdata(L, lua_upvalueindex(1));
  const Message *message = message_check_arg(L, 1);
  if (message->type != path->type) return luaL_argerror(L, 1, lua_pushfstring(L, "%s expected", path->name));
  const uint8_t *bytes = message->bytes;
  size_t len = message->len;
  for (size_t i = 0;; i++) {
    const Field *field = path->steps[i];
    WireField value;
    uint32_t count;
    if (!read_field(i == 0 ? path->type : path->steps[i - 1]->message, bytes, len, field, &value, &count)) {
      push_default(L, path->steps[path->count - 1]);
      return 1;
    }
    if (i == path->count - 1) {
      push_scalar(L, field, &value);
      return 1;
    }
    if (count > 1) {
      bytes = join(L, bytes, &len, field->number);
    } else {
      bytes = value.data;
      len = value.len;
    }
  }
}

/* Looks up one step; raises where the path does not go on like that. */
static const Field *find_step(lua_State *L, const MessageType *type, const char *name, size_t len, bool last) {
  const Field *field = schema_field(type, name, len);
  lua_pushlstring(L, name, len); /* for the errors */
  name = lua_tostring(L, -1);
  if (field == NULL) {
    char hint[SCHEMA_HINT_SIZE];
    luaL_error(L, "%s has no field '%s'%s", type->name, name, schema_hint_field(type, name, len, hint));
    return NULL; /* not reached */
  }
  if (field->repeated) luaL_error(L, "%s.%s is a list: a reader reads single fields", type->name, name);
  if (!last && field->type != FIELD_MESSAGE) luaL_error(L, "%s.%s is no message", type->name, name);
  if (last && field->type == FIELD_MESSAGE)
    luaL_error(L, "%s.%s is a message: a reader reads scalars", type->name, name);
  lua_pop(L, 1);
  return field;
}

/* core.reader(TYPE, path) -> function(message) -> value */
static int new_reader(lua_State *L) {
  const MessageType *type = schema_check_type(L, 1);
  const char *at = luaL_checkstring(L, 2);
  Path *path = lua_newuserdatauv(L, sizeof *path, 0);
  *path = (Path){ .type = type, .name = type->name };
  for (bool last = false; !last; at += !last) {
    size_t len = strcspn(at, ".");
    last = at[len] == '\0';
    if (path->count == MAX_STEPS) return luaL_argerror(L, 2, "more than 8 steps");
    const Field *field = find_step(L, type, at, len, last);
    path->steps[path->count++] = field;
    type = field->message;
    at += len;
  }
  lua_pushcclosure(L, read_path, 1);
  return 1;
}

void reader_register(lua_State *L) {
  static const luaL_Reg functions[] = { { "reader", new_reader }, { NULL, NULL } };
  luaL_setfuncs(L, functions, 0);
}
