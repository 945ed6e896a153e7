/* From a FileDescriptorSet to a Schema.
 *
 * Two passes over the files: the first names every message, enum and service, so that the second may link fields and
 * methods to them in any order. The set comes from outside: whatever it says, the result is a schema or a reason, and
 * what nests without bound is counted before protobuf-c, which recurses, gets it. */

#include "schema_build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

enum {
  MAX_SET_SIZE = 32 << 20,
  MAX_TYPE_NESTING = 32,
  FILE_OF_SET = 1, /* field numbers of descriptor.proto */
  MESSAGE_OF_FILE = 4,
  SOURCE_INFO_OF_FILE = 9,
  MESSAGE_OF_MESSAGE = 3,
  ARENA_BLOCK = 64 << 10
};

/* -- Errors and memory -- */

bool build_fail(Builder *b, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(b->error, SCHEMA_ERROR_SIZE, format, args);
  va_end(args);
  for (char *c = b->error; *c != '\0'; c++) {
    if (*c < ' ' || *c > '~') *c = '?';
  }
  return false;
}

void *build_alloc(Builder *b, size_t count, size_t size) {
  void *piece = arena_zalloc(&b->schema->arena, count * size);
  if (piece == NULL) build_fail(b, "not enough memory");
  return piece;
}

const char *build_text(Builder *b, const char *text, size_t len) {
  const char *copy = arena_copy(&b->schema->arena, text, len);
  if (copy == NULL) build_fail(b, "not enough memory");
  return copy;
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool is_identifier(const char *name, size_t len) {
  if (len == 0 || !is_letter(name[0])) return false;
  for (size_t i = 1; i < len; i++) {
    if (!is_letter(name[i]) && !(name[i] >= '0' && name[i] <= '9')) return false;
  }
  return true;
}

bool build_check_name(Builder *b, const char *name, const char *scope) {
  if (name != NULL && is_identifier(name, strlen(name))) return true;
  return build_fail(b, "'%s' in %s is no valid name", name != NULL ? name : "", scope);
}

static bool check_package(Builder *b, const char *package, const char *file) {
  for (const char *part = package; *part != '\0';) {
    size_t len = strcspn(part, ".");
    if (!is_identifier(part, len)) return build_fail(b, "package '%s' of %s is no valid name", package, file);
    part += len;
    if (*part == '.' && *++part == '\0') return build_fail(b, "package '%s' of %s is no valid name", package, file);
  }
  return true;
}

/* -- Symbols -- */

static bool add_symbol(Builder *b, SymbolKind kind, const char *name, const void *what) {
  Schema *schema = b->schema;
  size_t len = strlen(name);
  uint32_t hash = symbol_hash(name, len);
  uint32_t place = hash & schema->symbol_mask;
  while (schema->symbols[place].kind != SYMBOL_NONE) {
    if (schema->symbols[place].hash == hash && strcmp(schema->symbols[place].name, name) == 0) {
      return build_fail(b, "%s is defined twice", name);
    }
    place = (place + 1) & schema->symbol_mask;
  }
  schema->symbols[place] = (Symbol){ name, len, hash, kind, what };
  return true;
}

const Symbol *build_resolve(Builder *b, const char *type_name, const char *user) {
  if (type_name == NULL || type_name[0] != '.') {
    build_fail(b, "%s: type name '%s' is not fully qualified", user, type_name != NULL ? type_name : "");
    return NULL;
  }
  const Symbol *symbol = symbol_find(b->schema, type_name + 1, strlen(type_name + 1));
  if (symbol == NULL || (symbol->kind != SYMBOL_MESSAGE && symbol->kind != SYMBOL_ENUM)) {
    build_fail(b, "%s: unknown type %s", user, type_name + 1);
    return NULL;
  }
  return symbol;
}

/* "scope.name", or the name alone at the top of a file without a package. */
static const char *full_name(Builder *b, const char *scope, const char *name) {
  size_t scope_len = strlen(scope), len = strlen(name);
  char *full = build_alloc(b, scope_len + len + 2, 1);
  if (full == NULL) return NULL;
  if (scope_len > 0) {
    memcpy(full, scope, scope_len);
    full[scope_len++] = '.';
  }
  memcpy(full + scope_len, name, len);
  return full;
}

/* -- First pass: names -- */

/* Numbers of things in the set, to size the tables. */
typedef struct Counts {
  size_t messages, enums, services, methods;
} Counts;

static void count_message(const MessageProto *proto, Counts *counts) {
  counts->messages++;
  counts->enums += proto->n_enum_type;
  for (size_t i = 0; i < proto->n_nested_type; i++) count_message(proto->nested_type[i], counts);
}

static void count_file(const FileProto *file, Counts *counts) {
  counts->enums += file->n_enum_type;
  counts->services += file->n_service;
  for (size_t i = 0; i < file->n_message_type; i++) count_message(file->message_type[i], counts);
  for (size_t i = 0; i < file->n_service; i++) counts->methods += file->service[i]->n_method;
}

static bool declare_enum(Builder *b, const EnumProto *proto, const char *scope, const char *file) {
  if (!build_check_name(b, proto->name, scope[0] != '\0' ? scope : file)) return false;
  EnumType *type = build_alloc(b, 1, sizeof *type);
  if (type == NULL || (type->name = full_name(b, scope, proto->name)) == NULL) return false;
  EnumValue *values = build_alloc(b, proto->n_value, sizeof *values);
  if (values == NULL) return false;
  for (size_t i = 0; i < proto->n_value; i++) {
    const char *name = proto->value[i]->name;
    if (!build_check_name(b, name, type->name)) return false;
    values[i].name_len = (uint32_t)strlen(name);
    values[i].name = build_text(b, name, values[i].name_len);
    values[i].number = proto->value[i]->number;
    if (values[i].name == NULL) return false;
  }
  type->file = file;
  type->value_count = (uint32_t)proto->n_value;
  type->null_value = strcmp(type->name, "google.protobuf.NullValue") == 0;
  type->descriptor.magic = PROTOBUF_C__ENUM_DESCRIPTOR_MAGIC;
  type->descriptor.name = type->descriptor.short_name = type->descriptor.c_name = type->name;
  type->descriptor.package_name = "";
  b->schema->enums[b->schema->enum_count++] = type;
  return build_enum_index(b, type, values) && add_symbol(b, SYMBOL_ENUM, type->name, type);
}

static bool declare_message(Builder *b, const MessageProto *proto, const char *scope, const char *file) {
  if (!build_check_name(b, proto->name, scope[0] != '\0' ? scope : file)) return false;
  MessageType *type = build_alloc(b, 1, sizeof *type);
  if (type == NULL || (type->name = full_name(b, scope, proto->name)) == NULL) return false;
  type->schema = b->schema;
  type->file = file;
  type->map_entry = proto->options != NULL && proto->options->map_entry;
  b->schema->messages[b->schema->message_count++] = type;
  if (!add_symbol(b, SYMBOL_MESSAGE, type->name, type)) return false;
  for (size_t i = 0; i < proto->n_nested_type; i++) {
    if (!declare_message(b, proto->nested_type[i], type->name, file)) return false;
  }
  for (size_t i = 0; i < proto->n_enum_type; i++) {
    if (!declare_enum(b, proto->enum_type[i], type->name, file)) return false;
  }
  return true;
}

static bool declare_file(Builder *b, const FileProto *proto) {
  const char *package = proto->package != NULL ? proto->package : "";
  const char *file = build_text(b, proto->name, strlen(proto->name));
  if (file == NULL || !check_package(b, package, file)) return false;
  for (size_t i = 0; i < proto->n_message_type; i++) {
    if (!declare_message(b, proto->message_type[i], package, file)) return false;
  }
  for (size_t i = 0; i < proto->n_enum_type; i++) {
    if (!declare_enum(b, proto->enum_type[i], package, file)) return false;
  }
  return true;
}

/* -- Second pass: fields and methods -- */

static bool link_message(Builder *b, const MessageProto *proto, bool proto3) {
  MessageType *type = b->schema->messages[b->next_message++];
  if (!build_fields(b, type, proto, proto3)) return false;
  for (size_t i = 0; i < proto->n_nested_type; i++) {
    if (!link_message(b, proto->nested_type[i], proto3)) return false;
  }
  return true;
}

static const MessageType *method_type(Builder *b, const char *type_name, const char *method) {
  const Symbol *symbol = build_resolve(b, type_name, method);
  if (symbol == NULL) return NULL;
  if (symbol->kind == SYMBOL_MESSAGE) return symbol->what;
  build_fail(b, "%s: %s is no message", method, type_name);
  return NULL;
}

static bool link_method(Builder *b, Method *method, const MethodProto *proto, const Service *service) {
  if (!build_check_name(b, proto->name, service->name)) return false;
  const char *dotted = full_name(b, service->name, proto->name);
  if (dotted == NULL) return false;
  char *name = (char *)build_text(b, dotted, strlen(dotted));
  if (name == NULL) return false;
  name[strlen(service->name)] = '/';
  method->name = name;
  method->short_name = name + strlen(service->name) + 1;
  method->service = service;
  method->client_streaming = proto->client_streaming;
  method->server_streaming = proto->server_streaming;
  return (method->input = method_type(b, proto->input_type, dotted)) != NULL &&
         (method->output = method_type(b, proto->output_type, dotted)) != NULL &&
         build_method_options(b, method, proto) && add_symbol(b, SYMBOL_METHOD, dotted, method);
}

static bool link_service(Builder *b, const ServiceProto *proto, const char *package, const char *file) {
  if (!build_check_name(b, proto->name, package[0] != '\0' ? package : file)) return false;
  Service *service = build_alloc(b, 1, sizeof *service);
  Method *methods = build_alloc(b, proto->n_method, sizeof *methods);
  if (service == NULL || methods == NULL || (service->name = full_name(b, package, proto->name)) == NULL) return false;
  service->file = build_text(b, file, strlen(file));
  service->methods = methods;
  b->schema->services[b->schema->service_count++] = service;
  if (service->file == NULL || !add_symbol(b, SYMBOL_SERVICE, service->name, service)) return false;
  for (size_t i = 0; i < proto->n_method; i++) {
    if (!link_method(b, &methods[i], proto->method[i], service)) return false;
    service->method_count++;
  }
  return true;
}

static bool link_file(Builder *b, const FileProto *proto) {
  bool proto3 = proto->syntax != NULL && strcmp(proto->syntax, "proto3") == 0;
  for (size_t i = 0; i < proto->n_message_type; i++) {
    if (!link_message(b, proto->message_type[i], proto3)) return false;
  }
  for (size_t i = 0; i < proto->n_service; i++) {
    if (!link_service(b, proto->service[i], proto->package != NULL ? proto->package : "", proto->name)) return false;
  }
  return true;
}

/* -- Files -- */

static void *scratch_alloc(void *arena, size_t size) { return arena_alloc(arena, size); }

static void scratch_free(void *arena, void *piece) {
  (void)arena;
  (void)piece;
}

static bool check_type_nesting(const uint8_t *at, size_t len, unsigned depth) {
  const uint8_t *end = at + len;
  WireField field;
  while (at < end) {
    if (!wire_read(&at, end, &field)) return true; /* unpacking will refuse it */
    if (field.number != MESSAGE_OF_MESSAGE || field.wire_type != WIRE_BYTES) continue;
    if (depth == MAX_TYPE_NESTING || !check_type_nesting(field.data, field.len, depth + 1)) return false;
  }
  return true;
}

/* One file of the set, unpacked into `scratch` without its source information, which is the larger half of a set that
 * has it. */
static FileProto *unpack_file(Builder *b, Arena *scratch, const uint8_t *at, size_t len) {
  uint8_t *kept = arena_alloc(scratch, len);
  if (kept == NULL) return build_fail(b, "not enough memory"), NULL;
  size_t kept_len = 0;
  const uint8_t *end = at + len;
  WireField field;
  while (at < end) {
    const uint8_t *start = at;
    if (!wire_read(&at, end, &field)) return build_fail(b, "not a FileDescriptorSet"), NULL;
    if (field.number == MESSAGE_OF_FILE && field.wire_type == WIRE_BYTES &&
        !check_type_nesting(field.data, field.len, 1)) {
      return build_fail(b, "messages are defined inside each other more than %d deep", MAX_TYPE_NESTING), NULL;
    }
    if (field.number == SOURCE_INFO_OF_FILE) continue;
    memcpy(kept + kept_len, start, (size_t)(at - start));
    kept_len += (size_t)(at - start);
  }
  ProtobufCAllocator allocator = { scratch_alloc, scratch_free, scratch };
  FileProto *file = google__protobuf__file_descriptor_proto__unpack(&allocator, kept_len, kept);
  if (file == NULL) build_fail(b, "not a FileDescriptorSet");
  return file;
}

static int compare_names(const void *left, const void *right) {
  return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static bool check_imports(Builder *b, Arena *scratch, FileProto **files, size_t count) {
  const char **names = arena_alloc(scratch, (count + 1) * sizeof *names);
  if (names == NULL) return build_fail(b, "not enough memory");
  for (size_t i = 0; i < count; i++) {
    if (files[i]->name == NULL || files[i]->name[0] == '\0') return build_fail(b, "a file of the set has no name");
    const char *syntax = files[i]->syntax;
    if (syntax != NULL && strcmp(syntax, "proto2") != 0 && strcmp(syntax, "proto3") != 0) {
      return build_fail(b, "%s: syntax '%s' is not supported", files[i]->name, syntax);
    }
    names[i] = files[i]->name;
  }
  qsort(names, count, sizeof *names, compare_names);
  for (size_t i = 1; i < count; i++) {
    if (strcmp(names[i - 1], names[i]) == 0) return build_fail(b, "%s is in the set twice", names[i]);
  }
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < files[i]->n_dependency; j++) {
      const char *import = files[i]->dependency[j];
      if (bsearch(&import, names, count, sizeof *names, compare_names) == NULL) {
        return build_fail(b, "%s imports %s, which is not in the set", files[i]->name, import);
      }
    }
  }
  return true;
}

static bool unpack_set(Builder *b, Arena *scratch, const uint8_t *set, size_t len, FileProto ***files, size_t *count) {
  const uint8_t *end = set + len;
  WireField field;
  *count = 0;
  for (const uint8_t *at = set; at < end;) {
    if (!wire_read(&at, end, &field)) return build_fail(b, "not a FileDescriptorSet");
    if (field.number == FILE_OF_SET && field.wire_type == WIRE_BYTES) ++*count;
  }
  if (*count == 0) return build_fail(b, "not a FileDescriptorSet: no file in it");
  *files = arena_alloc(scratch, *count * sizeof **files);
  if (*files == NULL) return build_fail(b, "not enough memory");
  size_t n = 0;
  for (const uint8_t *at = set; wire_read(&at, end, &field) && n < *count;) {
    if (field.number != FILE_OF_SET || field.wire_type != WIRE_BYTES) continue;
    if (((*files)[n++] = unpack_file(b, scratch, field.data, field.len)) == NULL) return false;
    if (at >= end) break;
  }
  return check_imports(b, scratch, *files, *count);
}

static bool make_tables(Builder *b, const Counts *counts) {
  Schema *schema = b->schema;
  size_t symbols = counts->messages + counts->enums + counts->services + counts->methods;
  size_t places = 16;
  while (places < symbols * 2) places *= 2;
  schema->symbol_mask = (uint32_t)(places - 1);
  return (schema->symbols = build_alloc(b, places, sizeof *schema->symbols)) != NULL &&
         (schema->messages = build_alloc(b, counts->messages, sizeof *schema->messages)) != NULL &&
         (schema->enums = build_alloc(b, counts->enums, sizeof *schema->enums)) != NULL &&
         (schema->services = build_alloc(b, counts->services, sizeof *schema->services)) != NULL;
}

static bool build_set(Builder *b, Arena *scratch, const uint8_t *set, size_t len) {
  FileProto **files = NULL;
  size_t count = 0;
  if (len > MAX_SET_SIZE) return build_fail(b, "a set of %zu bytes is over the limit of %d", len, (int)MAX_SET_SIZE);
  if (!unpack_set(b, scratch, set, len, &files, &count)) return false;
  Counts counts = { 0 };
  for (size_t i = 0; i < count; i++) count_file(files[i], &counts);
  if (!make_tables(b, &counts)) return false;
  for (size_t i = 0; i < count; i++) {
    if (!declare_file(b, files[i])) return false;
  }
  for (size_t i = 0; i < count; i++) {
    if (!link_file(b, files[i])) return false;
  }
  for (uint32_t i = 0; i < b->schema->message_count; i++) build_kind(b->schema->messages[i]);
  return true;
}

static Schema *build(Arena *arena, const uint8_t *set, size_t len, char error[SCHEMA_ERROR_SIZE]) {
  Arena scratch;
  Schema *schema = arena_zalloc(arena, sizeof *schema);
  Builder b = { schema, error, 0 };
  if (schema == NULL) {
    build_fail(&b, "not enough memory");
    return NULL;
  }
  schema->arena = *arena;
  arena_init(&scratch, ARENA_BLOCK);
  bool built = build_set(&b, &scratch, set, len);
  arena_free(&scratch);
  if (built) return schema;
  schema_free(schema);
  return NULL;
}

Schema *schema_build_in(ArenaSource source, void *owner, const uint8_t *set, size_t len,
                        char error[SCHEMA_ERROR_SIZE]) {
  Arena arena;
  arena_init_in(&arena, ARENA_BLOCK, source, owner);
  return build(&arena, set, len, error);
}

Schema *schema_build(const uint8_t *set, size_t len, char error[SCHEMA_ERROR_SIZE]) {
  Arena arena;
  arena_init(&arena, ARENA_BLOCK);
  return build(&arena, set, len, error);
}

void schema_free(Schema *schema) {
  if (schema == NULL) return;
  Arena arena = schema->arena; /* the schema lies in it */
  arena_free(&arena);
}
