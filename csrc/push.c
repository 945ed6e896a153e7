/* Wire values as Lua values. */

#include "push.h"

static void push_enum(lua_State *L, const EnumType *type, int32_t number) {
  const EnumValue *value = schema_enum_value(type, number);
  if (value != NULL)
    lua_pushlstring(L, value->name, value->name_len);
  else
    lua_pushinteger(L, number);
}

void push_scalar(lua_State *L, const Field *field, const WireField *value) {
  bool missing = value->wire_type == WIRE_MISSING;
  switch (field->type) {
  case FIELD_STRING:
  case FIELD_BYTES: lua_pushlstring(L, (const char *)value->data, value->len); break;
  case FIELD_BOOL: lua_pushboolean(L, !missing && read_bool(value)); break;
  case FIELD_DOUBLE:
  case FIELD_FLOAT: lua_pushnumber(L, missing ? 0 : read_number(field, value)); break;
  case FIELD_ENUM: push_enum(L, field->enumeration, missing ? 0 : (int32_t)read_integer(field, value)); break;
  default: lua_pushinteger(L, missing ? 0 : read_integer(field, value)); break;
  }
}

void push_default(lua_State *L, const Field *field) {
  switch (field->type) {
  case FIELD_STRING:
  case FIELD_BYTES: lua_pushlstring(L, field->default_text, field->default_len); break;
  case FIELD_BOOL: lua_pushboolean(L, field->default_value.integer != 0); break;
  case FIELD_DOUBLE:
  case FIELD_FLOAT: lua_pushnumber(L, field->default_value.number); break;
  case FIELD_ENUM: push_enum(L, field->enumeration, (int32_t)field->default_value.integer); break;
  case FIELD_MESSAGE: lua_pushnil(L); break;
  default: lua_pushinteger(L, field->default_value.integer); break;
  }
}

void push_instant(lua_State *L, const MessageType *type, const uint8_t *bytes, size_t len) {
  Instant instant = read_instant(type, bytes, len);
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, instant.seconds);
  lua_setfield(L, -2, "seconds");
  lua_pushinteger(L, instant.nanos);
  lua_setfield(L, -2, "nanos");
}
