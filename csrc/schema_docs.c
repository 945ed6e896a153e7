/* Documentation: the comments in front of each definition, out of the set's source information.
 *
 * Source information names a definition by a path of numbers through descriptor.proto (4, 0, 2, 1: first message,
 * second field). The set was read without it when the schema was built, so that building stays quick; here only the
 * files' comments are read. */

#include <lauxlib.h>
#include <string.h>

#include "schema_build.h"
#include "schema_describe.h"
#include "scratch.h"
#include "wire.h"

typedef Google__Protobuf__SourceCodeInfo__Location Location;

/* Field numbers of descriptor.proto along a path. */
enum {
  FILE_MESSAGE = 4,
  FILE_ENUM = 5,
  FILE_SERVICE = 6,
  MESSAGE_FIELD = 2,
  MESSAGE_MESSAGE = 3,
  MESSAGE_ENUM = 4,
  MESSAGE_ONEOF = 8,
  ENUM_VALUE = 2,
  SERVICE_METHOD = 2
};

static void *piece_alloc(void *arena, size_t size) { return arena_alloc(arena, size); }

static void piece_free(void *arena, void *piece) {
  (void)arena;
  (void)piece;
}

static const char *or_empty(const char *name) { return name != NULL ? name : ""; }

/* The last part of a name below an enum. */
static const char *enum_child(const EnumProto *proto, const int32_t *path, size_t n) {
  if (n != 2 || path[0] != ENUM_VALUE || path[1] < 0 || (size_t)path[1] >= proto->n_value) return NULL;
  return or_empty(proto->value[path[1]]->name);
}

/* Appends ".name" of each step of a path below a message. False when the path leads to something without documentation
 * here. */
static bool add_message_path(luaL_Buffer *name, const MessageProto *proto, const int32_t *path, size_t n) {
  for (;;) {
    luaL_addstring(name, or_empty(proto->name));
    if (n == 0) return true;
    if (n < 2 || path[1] < 0) return false;
    size_t i = (size_t)path[1];
    luaL_addchar(name, '.');
    if (path[0] == MESSAGE_FIELD && n == 2 && i < proto->n_field) {
      luaL_addstring(name, or_empty(proto->field[i]->name));
      return true;
    }
    if (path[0] == MESSAGE_ONEOF && n == 2 && i < proto->n_oneof_decl) {
      luaL_addstring(name, or_empty(proto->oneof_decl[i]->name));
      return true;
    }
    if (path[0] == MESSAGE_ENUM && i < proto->n_enum_type) {
      luaL_addstring(name, or_empty(proto->enum_type[i]->name));
      if (n == 2) return true;
      const char *child = enum_child(proto->enum_type[i], path + 2, n - 2);
      if (child == NULL) return false;
      luaL_addchar(name, '.');
      luaL_addstring(name, child);
      return true;
    }
    if (path[0] != MESSAGE_MESSAGE || i >= proto->n_nested_type) return false;
    proto = proto->nested_type[i];
    path += 2;
    n -= 2;
  }
}

static bool add_path(luaL_Buffer *name, const FileProto *file, const int32_t *path, size_t n) {
  if (n < 2 || path[1] < 0) return false;
  size_t i = (size_t)path[1];
  if (path[0] == FILE_MESSAGE && i < file->n_message_type)
    return add_message_path(name, file->message_type[i], path + 2, n - 2);
  if (path[0] == FILE_ENUM && i < file->n_enum_type) {
    luaL_addstring(name, or_empty(file->enum_type[i]->name));
    const char *child = n > 2 ? enum_child(file->enum_type[i], path + 2, n - 2) : NULL;
    if (child == NULL) return n == 2;
    luaL_addchar(name, '.');
    luaL_addstring(name, child);
    return true;
  }
  if (path[0] != FILE_SERVICE || i >= file->n_service) return false;
  const ServiceProto *service = file->service[i];
  luaL_addstring(name, or_empty(service->name));
  if (n == 2) return true;
  if (n != 4 || path[2] != SERVICE_METHOD || path[3] < 0 || (size_t)path[3] >= service->n_method) return false;
  luaL_addchar(name, '.');
  luaL_addstring(name, or_empty(service->method[path[3]]->name));
  return true;
}

/* Pushes the comment without the space that a line starts with and without the empty end. */
static void push_comment(lua_State *L, const char *comment) {
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  size_t len = strlen(comment);
  while (len > 0 && (comment[len - 1] == '\n' || comment[len - 1] == ' ')) len--;
  bool line_start = true;
  for (size_t i = 0; i < len; i++) {
    if (!(line_start && comment[i] == ' ')) luaL_addchar(&text, comment[i]);
    line_start = comment[i] == '\n';
  }
  luaL_pushresult(&text);
}

/* Puts one location's comment into the table at `documents`. */
static void add_location(lua_State *L, int documents, const FileProto *file, const Location *location) {
  if (location->leading_comments == NULL) return;
  luaL_Buffer name;
  luaL_buffinit(L, &name);
  if (file->package != NULL && file->package[0] != '\0') {
    luaL_addstring(&name, file->package);
    luaL_addchar(&name, '.');
  }
  bool known = add_path(&name, file, location->path, location->n_path);
  luaL_pushresult(&name);
  if (known) {
    push_comment(L, location->leading_comments);
    if (location->path[0] == FILE_SERVICE && location->n_path == 4) {
      const char *dotted = lua_tostring(L, -2), *dot = strrchr(dotted, '.');
      lua_pushlstring(L, dotted, (size_t)(dot - dotted));
      lua_pushfstring(L, "%s/%s", lua_tostring(L, -1), dot + 1);
      lua_pushvalue(L, -3);
      lua_rawset(L, documents);
      lua_pop(L, 1);
    }
    lua_rawset(L, documents);
  } else {
    lua_pop(L, 1);
  }
}

static void add_file(lua_State *L, int documents, Arena *arena, const WireField *field) {
  ProtobufCAllocator allocator = { piece_alloc, piece_free, arena };
  arena_reset(arena);
  FileProto *file = google__protobuf__file_descriptor_proto__unpack(&allocator, field->len, field->data);
  if (file == NULL || file->source_code_info == NULL) return;
  for (size_t i = 0; i < file->source_code_info->n_location; i++) {
    add_location(L, documents, file, file->source_code_info->location[i]);
  }
}

void schema_push_documentation(lua_State *L, const uint8_t *set, size_t len) {
  const uint8_t *end = set + len;
  WireField field;
  lua_newtable(L);
  int documents = lua_gettop(L);
  Scratch *scratch = scratch_push(L);
  while (wire_read(&set, end, &field)) {
    if (field.number == 1 && field.wire_type == WIRE_BYTES) add_file(L, documents, &scratch->arena, &field);
  }
  scratch_free(scratch);
  lua_pop(L, 1);
}
