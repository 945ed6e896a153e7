/* The message userdata of message.h: its fields by name, and the functions of wgtwo.core about messages.
 *
 * The metatable is an upvalue of the metamethods, for views to get it quickly. A message is told by its mark, an
 * address of this file at its start, which is quicker than comparing metatables. Every stack effect is +1 (the result)
 * unless said. */

#include "message.h"

#include <lauxlib.h>
#include <string.h>

#include "push.h"
#include "totable.h"

/* Its address is the registry's key of the metatable, and the mark of messages. */
static const char metatable_key;

/* The user value of a view is its root, that of a message with a class its owner. */
enum { ROOT_VALUE = 1, OWNER_VALUE = 1 };

static inline bool is_root(const Message *message) { return message->bytes == (const uint8_t *)(message + 1); }

/* -- Making messages -- */

static Message *new_root(lua_State *L, const MessageType *type, size_t len, int user_values) {
  Message *message = lua_newuserdatauv(L, sizeof *message + len, user_values);
  message->mark = &metatable_key;
  message->type = type;
  message->bytes = (const uint8_t *)(message + 1);
  message->len = 0;
  message->size = len;
  return message;
}

uint8_t *message_new(lua_State *L, const MessageType *type, size_t len) {
  Message *message = new_root(L, type, len, 0);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_setmetatable(L, -2);
  return (uint8_t *)(message + 1);
}

const char *message_push_reason(lua_State *L, const MessageType *type, size_t len, const char *reason) {
  return lua_pushfstring(L, "%s: %I bytes are no valid message: %s", type->name, (LUAI_UACINT)len, reason);
}

const char *message_check(lua_State *L, int index) {
  Message *message = lua_touserdata(L, index);
  const char *reason = wire_check(message->type, message->bytes, message->size);
  if (reason != NULL) return message_push_reason(L, message->type, message->size, reason);
  message->len = message->size;
  return NULL;
}

Message *message_new_formed(lua_State *L, const MessageForm *form, const uint8_t *bytes, size_t len) {
  const MessageType *type = form->type;
  if (form->part != NULL) {
    type = form->part->message;
    len = read_joined(bytes, len, form->part->number, NULL);
  }
  if (form->class == 0) return (Message *)message_new(L, type, len) - 1;
  Message *message = new_root(L, type, len, 1);
  lua_pushvalue(L, form->owner);
  lua_setiuservalue(L, -2, OWNER_VALUE);
  lua_pushvalue(L, form->class);
  lua_setmetatable(L, -2);
  return message;
}

void message_fill(Message *message, const MessageForm *form, const uint8_t *bytes, size_t len) {
  if (form->part != NULL)
    read_joined(bytes, len, form->part->number, (uint8_t *)(message + 1));
  else
    memcpy(message + 1, bytes, len);
  message->len = message->size;
}

/* A view of bytes inside of the root that the message at `owner` is, or has. */
static void push_view(lua_State *L, int owner, const MessageType *type, const uint8_t *bytes, size_t len) {
  Message *view = lua_newuserdatauv(L, sizeof *view, 1);
  view->mark = &metatable_key;
  view->type = type;
  view->bytes = bytes;
  view->len = view->size = len;
  if (is_root(lua_touserdata(L, owner)))
    lua_pushvalue(L, owner);
  else
    lua_getiuservalue(L, owner, ROOT_VALUE);
  lua_setiuservalue(L, -2, ROOT_VALUE);
}

/* -- Taking messages -- */

const Message *message_test(lua_State *L, int index) {
  if (lua_rawlen(L, index) < sizeof(Message)) return NULL;
  const Message *message = lua_touserdata(L, index);
  return message != NULL && message->mark == &metatable_key ? message : NULL;
}

const Message *message_check_arg(lua_State *L, int arg) {
  const Message *message = message_test(L, arg);
  if (message == NULL) luaL_typeerror(L, arg, "message");
  return message;
}

/* -- Fields -- */

/* A submessage, with what it takes to find all its occurrences again. The metatable of views is at `metatable`. */
static void push_submessage(lua_State *L, int owner, int metatable, const MessageType *type, const WireField *value,
                            uint32_t count, const uint8_t *container, size_t container_len) {
  size_t len = value->len;
  if (count > 1) len = read_joined(container, container_len, value->number, NULL);
  if (count > 1) {
    Message *joined = new_root(L, type, len, 0);
    read_joined(container, container_len, value->number, (uint8_t *)(joined + 1));
    joined->len = len;
  } else if (!is_instant(type)) {
    push_view(L, owner, type, value->data, len);
  } else {
    push_instant(L, type, value->data, len);
    return;
  }
  lua_pushvalue(L, metatable);
  lua_setmetatable(L, -2);
  if (!is_instant(type)) return;
  push_instant(L, type, ((Message *)lua_touserdata(L, -1))->bytes, len);
  lua_remove(L, -2);
}

static void push_list(lua_State *L, int owner, int metatable, const Message *message, const Field *field) {
  ListReader reader = read_list(field, message->bytes, message->len);
  WireField element;
  lua_createtable(L, (int)read_count(field, message->bytes, message->len), 0);
  for (lua_Integer i = 1; read_element(&reader, &element); i++) {
    if (field->type != FIELD_MESSAGE)
      push_scalar(L, field, &element);
    else
      push_submessage(L, owner, metatable, field->message, &element, 1, NULL, 0);
    lua_rawseti(L, -2, i);
  }
}

static void push_map(lua_State *L, int owner, int metatable, const Message *message, const Field *field) {
  const Field *key = &field->message->fields[0], *value = &field->message->fields[1];
  ListReader reader = read_list(field, message->bytes, message->len);
  WireField element;
  lua_createtable(L, 0, (int)read_count(field, message->bytes, message->len));
  while (read_element(&reader, &element)) {
    MapEntry entry = read_entry(field->message, &element);
    push_scalar(L, key, &entry.key);
    if (value->type != FIELD_MESSAGE)
      push_scalar(L, value, &entry.value);
    else
      push_submessage(L, owner, metatable, value->message, &entry.value, entry.value_count, element.data, element.len);
    lua_rawset(L, -3);
  }
}

static void push_field(lua_State *L, int owner, int metatable, const Message *message, const Field *field) {
  WireField value;
  uint32_t count;
  if (field->map) {
    push_map(L, owner, metatable, message, field);
  } else if (field->repeated) {
    push_list(L, owner, metatable, message, field);
  } else if (!read_field(message->type, message->bytes, message->len, field, &value, &count)) {
    if (field->oneof != NULL)
      lua_pushnil(L);
    else
      push_default(L, field);
  } else if (field->type != FIELD_MESSAGE) {
    push_scalar(L, field, &value);
  } else {
    push_submessage(L, owner, metatable, field->message, &value, count, message->bytes, message->len);
  }
}

static int raise_unknown_field(lua_State *L, const MessageType *type, int key) {
  if (lua_type(L, key) != LUA_TSTRING) {
    return luaL_error(L, "%s has no field of a %s's name", type->name, luaL_typename(L, key));
  }
  size_t len;
  const char *name = lua_tolstring(L, key, &len);
  char hint[SCHEMA_HINT_SIZE];
  return luaL_error(L, "%s has no field '%s'%s", type->name, name, schema_hint_field(type, name, len, hint));
}

static const Field *check_field(lua_State *L, const MessageType *type, int key) {
  size_t len;
  const Field *field = NULL;
  if (lua_type(L, key) == LUA_TSTRING) {
    const char *name = lua_tolstring(L, key, &len);
    field = schema_field(type, name, len);
  }
  if (field == NULL) raise_unknown_field(L, type, key);
  return field;
}

static bool is_set(const Message *message, const Field *field) {
  WireField value;
  uint32_t count;
  if (field->repeated) return read_count(field, message->bytes, message->len) > 0;
  return read_field(message->type, message->bytes, message->len, field, &value, &count) && read_is_set(field, &value);
}

/* -- Metamethods; upvalue 1 is the metatable -- */

static int message_index(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  push_field(L, 1, lua_upvalueindex(1), message, check_field(L, message->type, 2));
  return 1;
}

/* What delegate makes: looks up `key` in a message with a class. Upvalue 2 has the getters. */
static int delegated_index(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) == LUA_TFUNCTION) {
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
  } else {
    push_field(L, 1, lua_upvalueindex(1), message, check_field(L, message->type, 2));
  }
  return 1;
}

static int message_newindex(lua_State *L) {
  return luaL_error(L, "%s: a message cannot be changed; make a table of it with totable",
                    message_check_arg(L, 1)->type->name);
}

static int message_tostring(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  lua_pushfstring(L, "%s (%I bytes)", message->type->name, (LUAI_UACINT)message->len);
  return 1;
}

static int message_eq(lua_State *L) {
  const Message *a = message_test(L, 1), *b = message_test(L, 2);
  bool equal = a != NULL && b != NULL && a->type == b->type && a->len == b->len &&
               (a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0);
  lua_pushboolean(L, equal);
  return 1;
}

/* The next field that is set behind the one named by the control value, and its value. */
static int message_next(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  uint16_t i = 0;
  if (!lua_isnil(L, 2)) i = (uint16_t)(check_field(L, message->type, 2)->index + 1);
  for (; i < message->type->field_count; i++) {
    const Field *field = &message->type->fields[i];
    if (!is_set(message, field)) continue;
    lua_pushlstring(L, field->name, field->name_len);
    push_field(L, 1, lua_upvalueindex(1), message, field);
    return 2;
  }
  return 0;
}

static int message_pairs(lua_State *L) {
  message_check_arg(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, message_next, 1);
  lua_pushvalue(L, 1);
  return 2;
}

/* -- Functions of wgtwo.core -- */

/*
 * delegate(getters) -> the __index of a class: the functions in getters are called with the message for their names;
 * any other name is a field. Upvalue 1 is the metatable of messages.
 */
static int core_delegate(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_insert(L, 1);
  lua_pushcclosure(L, delegated_index, 2);
  return 1;
}

/* view(message) -> the same message without its class */
static int core_view(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  push_view(L, 1, message->type, message->bytes, message->len);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_setmetatable(L, -2);
  return 1;
}

/* owner(any) -> what take was given for it, or set_owner since; nil for all but a message with a class */
static int core_owner(lua_State *L) {
  const Message *message = message_test(L, 1);
  if (message != NULL && is_root(message))
    lua_getiuservalue(L, 1, OWNER_VALUE);
  else
    lua_pushnil(L);
  return 1;
}

static int core_set_owner(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  lua_settop(L, 2);
  if (!is_root(message) || !lua_setiuservalue(L, 1, OWNER_VALUE)) return luaL_argerror(L, 1, "it has no class");
  return 0;
}

/* decode(TYPE, bytes) -> message | nil, text */
static int core_decode(lua_State *L) {
  const MessageType *type = schema_check_type(L, 1);
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  memcpy(message_new(L, type, len), bytes, len);
  if (message_check(L, -1) == NULL) return 1;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* has(message, field) -> boolean */
static int core_has(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  luaL_checkstring(L, 2);
  lua_pushboolean(L, is_set(message, check_field(L, message->type, 2)));
  return 1;
}

/* which(message, oneof) -> name of the field that is set | nil */
static int core_which(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  size_t len;
  const char *name = luaL_checklstring(L, 2, &len);
  const Oneof *oneof = schema_oneof(message->type, name, len);
  if (oneof == NULL) {
    char hint[SCHEMA_HINT_SIZE];
    return luaL_error(L, "%s has no oneof '%s'%s", message->type->name, name,
                      schema_hint_oneof(message->type, name, len, hint));
  }
  const Field *member = read_oneof(message->type, message->bytes, message->len, oneof);
  if (member != NULL)
    lua_pushlstring(L, member->name, member->name_len);
  else
    lua_pushnil(L);
  return 1;
}

static int core_typename(lua_State *L) {
  lua_pushstring(L, message_check_arg(L, 1)->type->name);
  return 1;
}

static int core_bytes(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  lua_pushlstring(L, (const char *)message->bytes, message->len);
  return 1;
}

static int core_is_message(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, message_test(L, 1) != NULL);
  return 1;
}

static int core_type(lua_State *L) {
  schema_push_type(L, message_check_arg(L, 1)->type);
  return 1;
}

static const luaL_Reg metamethods[] = {
  { "__index", message_index }, { "__newindex", message_newindex }, { "__tostring", message_tostring },
  { "__eq", message_eq },       { "__pairs", message_pairs },       { NULL, NULL },
};

static const luaL_Reg functions[] = {
  { "decode", core_decode },       { "has", core_has },
  { "which", core_which },         { "typename", core_typename },
  { "bytes", core_bytes },         { "is_message", core_is_message },
  { "type", core_type },           { "delegate", core_delegate },
  { "view", core_view },           { "owner", core_owner },
  { "set_owner", core_set_owner }, { NULL, NULL },
};

void message_register(lua_State *L) {
  lua_createtable(L, 0, 8);
  lua_pushvalue(L, -1);
  luaL_setfuncs(L, metamethods, 1);
  lua_pushliteral(L, "wgtwo.message");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "wgtwo.message");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable_key);
  luaL_setfuncs(L, functions, 0);
  totable_register(L);
}
