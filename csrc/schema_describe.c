/* Descriptions: tables for people and for the tools that print, list and complete. */

#include "schema_describe.h"

#include <lauxlib.h>

static const char *const type_names[] = { NULL,      "double",   "float",    "int64",  "uint64",  "int32", "fixed64",
                                          "fixed32", "bool",     "string",   NULL,     "message", "bytes", "uint32",
                                          "enum",    "sfixed32", "sfixed64", "sint32", "sint64" };

static void set_text(lua_State *L, const char *key, const char *text) {
  if (text == NULL) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

static void set_boolean(lua_State *L, const char *key, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, key);
}

static const char *type_name(const Field *field) {
  if (field->type == FIELD_MESSAGE) return field->message->name;
  return field->type == FIELD_ENUM ? field->enumeration->name : NULL;
}

static const char *label(const Field *field) {
  if (field->repeated) return "repeated";
  if (field->required) return "required";
  return field->presence && field->oneof == NULL && field->type != FIELD_MESSAGE ? "optional" : "singular";
}

static void push_field(lua_State *L, const Field *field) {
  lua_createtable(L, 0, 8);
  set_text(L, "name", field->name);
  lua_pushinteger(L, field->number);
  lua_setfield(L, -2, "number");
  set_text(L, "type", type_names[field->type]);
  set_text(L, "type_name", type_name(field));
  set_text(L, "label", field->proto3_optional ? "optional" : label(field));
  set_text(L, "json_name", field->json_name);
  if (field->oneof != NULL) set_text(L, "oneof", field->oneof->name);
  if (!field->map) return;
  const Field *key = &field->message->fields[0], *value = &field->message->fields[1];
  set_boolean(L, "map", true);
  set_text(L, "key_type", type_names[key->type]);
  set_text(L, "value_type", type_names[value->type]);
  set_text(L, "value_type_name", type_name(value));
}

static void push_message(lua_State *L, const MessageType *type) {
  lua_createtable(L, 0, 6);
  set_text(L, "kind", "message");
  set_text(L, "name", type->name);
  set_text(L, "file", type->file);
  set_boolean(L, "map_entry", type->map_entry);
  lua_createtable(L, type->field_count, 0);
  for (uint16_t i = 0; i < type->field_count; i++) {
    push_field(L, type->declared[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "fields");
  lua_createtable(L, type->oneof_count, 0);
  for (uint16_t i = 0; i < type->oneof_count; i++) {
    lua_pushstring(L, type->oneofs[i].name);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "oneofs");
}

static void push_enum(lua_State *L, const EnumType *type) {
  lua_createtable(L, 0, 4);
  set_text(L, "kind", "enum");
  set_text(L, "name", type->name);
  set_text(L, "file", type->file);
  lua_createtable(L, (int)type->value_count, 0);
  for (uint32_t i = 0; i < type->value_count; i++) {
    lua_createtable(L, 0, 2);
    set_text(L, "name", type->values[i].name);
    lua_pushinteger(L, type->values[i].number);
    lua_setfield(L, -2, "number");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "values");
}

void schema_describe_method(lua_State *L, const Method *method) {
  lua_createtable(L, 0, 13);
  set_text(L, "kind", "method");
  set_text(L, "name", method->name);
  set_text(L, "short_name", method->short_name);
  set_text(L, "service", method->service->name);
  set_text(L, "file", method->service->file);
  set_text(L, "input_type", method->input->name);
  set_text(L, "output_type", method->output->name);
  schema_push_type(L, method->input);
  lua_setfield(L, -2, "input");
  schema_push_type(L, method->output);
  lua_setfield(L, -2, "output");
  set_boolean(L, "client_streaming", method->client_streaming);
  set_boolean(L, "server_streaming", method->server_streaming);
  set_text(L, "scope", method->scope);
  set_text(L, "status", method->status);
  set_text(L, "http", method->http);
}

static void push_service(lua_State *L, const Service *service) {
  lua_createtable(L, 0, 4);
  set_text(L, "kind", "service");
  set_text(L, "name", service->name);
  set_text(L, "file", service->file);
  lua_createtable(L, (int)service->method_count, 0);
  for (uint32_t i = 0; i < service->method_count; i++) {
    schema_describe_method(L, &service->methods[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "methods");
}

void schema_describe(lua_State *L, const Schema *schema, const char *name, size_t len) {
  const MessageType *message = schema_message(schema, name, len);
  if (message != NULL) {
    push_message(L, message);
    return;
  }
  const EnumType *enumeration = schema_enum(schema, name, len);
  if (enumeration != NULL) {
    push_enum(L, enumeration);
    return;
  }
  const Service *service = schema_service(schema, name, len);
  if (service != NULL) {
    push_service(L, service);
    return;
  }
  const Method *method = schema_method(schema, name, len);
  if (method != NULL)
    schema_describe_method(L, method);
  else
    lua_pushnil(L);
}
