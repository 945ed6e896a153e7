/* A message as a plain table: the fields that are set, under their proto names, all the way down.
 *
 * One pass over the bytes finds what is set (read_slots), a second makes the table. What is needed meanwhile lies on
 * the C stack or in userdata on the Lua stack, never in shared memory: making tables may run finalizers, and those may
 * do anything. */

#include "totable.h"

#include <lauxlib.h>

#include "message.h"
#include "push.h"

enum { FEW_FIELDS = 24 }; /* slots of a message with no more than that are on the C stack */

static void push_message(lua_State *L, const MessageType *type, const uint8_t *bytes, size_t len);

/* Pushes a submessage that occurs `count` times in the container. */
static void push_submessage(lua_State *L, const MessageType *type, const WireField *value, uint32_t count,
                            const uint8_t *container, size_t container_len) {
  const uint8_t *bytes = value->data;
  size_t len = value->len;
  bool joined = count > 1;
  if (joined) {
    len = read_joined(container, container_len, value->number, NULL);
    uint8_t *copy = lua_newuserdatauv(L, len, 0);
    read_joined(container, container_len, value->number, copy);
    bytes = copy;
  }
  if (is_instant(type))
    push_instant(L, type, bytes, len);
  else
    push_message(L, type, bytes, len);
  if (joined) lua_remove(L, -2);
}

static void push_list(lua_State *L, const Field *field, uint32_t count, const uint8_t *bytes, size_t len) {
  ListReader reader = read_list(field, bytes, len);
  WireField element;
  lua_createtable(L, (int)count, 0);
  for (lua_Integer i = 1; read_element(&reader, &element); i++) {
    if (field->type == FIELD_MESSAGE)
      push_submessage(L, field->message, &element, 1, NULL, 0);
    else
      push_scalar(L, field, &element);
    lua_rawseti(L, -2, i);
  }
}

static void push_map(lua_State *L, const Field *field, uint32_t count, const uint8_t *bytes, size_t len) {
  const Field *key = &field->message->fields[0], *value = &field->message->fields[1];
  ListReader reader = read_list(field, bytes, len);
  WireField element;
  lua_createtable(L, 0, (int)count);
  while (read_element(&reader, &element)) {
    MapEntry entry = read_entry(field->message, &element);
    push_scalar(L, key, &entry.key);
    if (value->type != FIELD_MESSAGE)
      push_scalar(L, value, &entry.value);
    else
      push_submessage(L, value->message, &entry.value, entry.value_count, element.data, element.len);
    lua_rawset(L, -3);
  }
}

/* Pushes a list or map; false, and nothing pushed, when it has no elements (an empty packed run). */
static bool push_repeated(lua_State *L, const Field *field, const uint8_t *bytes, size_t len) {
  uint32_t count = read_count(field, bytes, len);
  if (count == 0) return false;
  if (field->map)
    push_map(L, field, count, bytes, len);
  else
    push_list(L, field, count, bytes, len);
  return true;
}

static void set_field(lua_State *L, const Field *field, const Slot *slot, const uint8_t *bytes, size_t len) {
  if (field->repeated) {
    if (!push_repeated(L, field, slot->first, (size_t)(bytes + len - slot->first))) return;
  } else if (field->type == FIELD_MESSAGE) {
    push_submessage(L, field->message, &slot->last, slot->count, bytes, len);
  } else {
    if (!read_is_set(field, &slot->last)) return;
    push_scalar(L, field, &slot->last);
  }
  lua_pushlstring(L, field->name, field->name_len);
  lua_insert(L, -2);
  lua_rawset(L, -3);
}

static void push_message(lua_State *L, const MessageType *type, const uint8_t *bytes, size_t len) {
  Slot few[FEW_FIELDS], *slots = few;
  luaL_checkstack(L, 8, "messages nested too deep");
  bool many = type->field_count > FEW_FIELDS;
  if (many) slots = lua_newuserdatauv(L, type->field_count * sizeof *slots, 0);
  uint32_t set = read_slots(type, bytes, len, slots);
  lua_createtable(L, 0, (int)set);
  for (uint16_t i = 0; i < type->field_count && set > 0; i++) {
    if (slots[i].count > 0) set_field(L, &type->fields[i], &slots[i], bytes, len);
  }
  if (many) lua_remove(L, -2);
}

/* totable(message) -> table */
static int core_totable(lua_State *L) {
  const Message *message = message_check_arg(L, 1);
  push_message(L, message->type, message->bytes, message->len);
  return 1;
}

void totable_register(lua_State *L) {
  lua_pushcfunction(L, core_totable);
  lua_setfield(L, -2, "totable");
}
