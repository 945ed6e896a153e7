/* A schema with every kind of field there is, for the targets that read and write messages: test.Every, and the
 * well-known types.
 *
 * test.Every has, of each scalar type T (its descriptor number n): f_n singular, o_n optional, r_n repeated, u_n
 * repeated and not packed, c_n in the oneof `choice`, m_n the value of a map with string keys; k_n maps with that key;
 * and itself as a submessage in each of these places. All are generated, so that no type is forgotten. */

#ifndef WGTWO_FUZZ_EVERY_TYPE_H
#define WGTWO_FUZZ_EVERY_TYPE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "schema.h"

typedef Google__Protobuf__FileDescriptorProto EveryFile;
typedef Google__Protobuf__DescriptorProto EveryMessage;
typedef Google__Protobuf__FieldDescriptorProto EveryField;
typedef Google__Protobuf__EnumDescriptorProto EveryEnum;

enum { EVERY_MAX = 256 };

/* What the set is made of; freed once it is packed. */
static Arena every_arena;

static void *every_new(size_t size) {
  void *piece = arena_zalloc(&every_arena, size);
  if (piece == NULL) abort();
  return piece;
}

static char *every_text(const char *format, const char *name, int number) {
  char *text = every_new(96);
  snprintf(text, 96, format, name, number);
  return text;
}

static EveryField *every_field(EveryMessage *message, char *name, int type, const char *type_name) {
  EveryField *field = every_new(sizeof *field);
  google__protobuf__field_descriptor_proto__init(field);
  field->name = name;
  field->has_number = field->has_type = field->has_label = 1;
  field->number = (int)message->n_field + 1;
  field->type = (Google__Protobuf__FieldDescriptorProto__Type)type;
  field->label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_OPTIONAL;
  field->type_name = (char *)type_name;
  message->field[message->n_field++] = field;
  return field;
}

static EveryMessage *every_message(EveryMessage **list, size_t *count, char *name) {
  EveryMessage *message = every_new(sizeof *message);
  google__protobuf__descriptor_proto__init(message);
  message->name = name;
  message->field = every_new(EVERY_MAX * sizeof(void *));
  message->nested_type = every_new(EVERY_MAX * sizeof(void *));
  message->oneof_decl = every_new(EVERY_MAX * sizeof(void *));
  list[(*count)++] = message;
  return message;
}

static void every_repeat(EveryField *field) {
  field->label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
}

static int every_oneof(EveryMessage *message, char *name) {
  Google__Protobuf__OneofDescriptorProto *oneof = every_new(sizeof *oneof);
  google__protobuf__oneof_descriptor_proto__init(oneof);
  oneof->name = name;
  message->oneof_decl[message->n_oneof_decl] = oneof;
  return (int)message->n_oneof_decl++;
}

/* A map field; its entry message is nested in the message, whose full name is `scope`. */
static void every_map(EveryMessage *message, const char *scope, char *name, int key, int value,
                      const char *value_type) {
  EveryMessage *entry = every_message(message->nested_type, &message->n_nested_type, every_text("%sEntry", name, 0));
  entry->options = every_new(sizeof *entry->options);
  google__protobuf__message_options__init(entry->options);
  entry->options->has_map_entry = entry->options->map_entry = 1;
  every_field(entry, "key", key, NULL);
  every_field(entry, "value", value, value_type);
  char *type_name = every_new(128);
  snprintf(type_name, 128, ".%s.%s", scope, entry->name);
  every_repeat(every_field(message, name, FIELD_MESSAGE, type_name));
}

static const char *every_type_name(int type) {
  return type == FIELD_MESSAGE ? ".test.Every" : type == FIELD_ENUM ? ".test.Colour" : NULL;
}

static void every_fields(EveryMessage *message) {
  for (int type = FIELD_DOUBLE; type <= FIELD_SINT64; type++) {
    if (type != 10) every_field(message, every_text("f%s_%d", "", type), type, every_type_name(type));
  }
  int choice = every_oneof(message, "choice");
  for (int type = FIELD_DOUBLE; type <= FIELD_SINT64; type++) {
    if (type == 10) continue;
    EveryField *field = every_field(message, every_text("c%s_%d", "", type), type, every_type_name(type));
    field->has_oneof_index = 1;
    field->oneof_index = choice;
  }
  for (int type = FIELD_DOUBLE; type <= FIELD_SINT64; type++) {
    if (type == 10) continue;
    const char *type_name = every_type_name(type);
    every_repeat(every_field(message, every_text("r%s_%d", "", type), type, type_name));
    EveryField *loose = every_field(message, every_text("u%s_%d", "", type), type, type_name);
    every_repeat(loose);
    loose->options = every_new(sizeof *loose->options);
    google__protobuf__field_options__init(loose->options);
    loose->options->has_packed = type != FIELD_STRING && type != FIELD_BYTES && type != FIELD_MESSAGE;
    every_map(message, "test.Every", every_text("m%s_%d", "", type), FIELD_STRING, type, type_name);
    if (type == FIELD_DOUBLE || type == FIELD_FLOAT || type == FIELD_BYTES || type_name != NULL) continue;
    every_map(message, "test.Every", every_text("k%s_%d", "", type), type, FIELD_INT32, NULL);
  }
  for (int type = FIELD_DOUBLE; type <= FIELD_SINT64; type++) {
    if (type == 10) continue;
    EveryField *field = every_field(message, every_text("o%s_%d", "", type), type, every_type_name(type));
    field->has_oneof_index = field->has_proto3_optional = field->proto3_optional = 1;
    field->oneof_index = every_oneof(message, every_text("_o%s_%d", "", type));
  }
}

static EveryEnum *every_enum(char *name, char **values, int count) {
  EveryEnum *type = every_new(sizeof *type);
  google__protobuf__enum_descriptor_proto__init(type);
  type->name = name;
  type->value = every_new(EVERY_MAX * sizeof(void *));
  for (int i = 0; i < count; i++) {
    Google__Protobuf__EnumValueDescriptorProto *value = every_new(sizeof *value);
    google__protobuf__enum_value_descriptor_proto__init(value);
    value->name = values[i];
    value->has_number = 1;
    value->number = i;
    type->value[type->n_value++] = value;
  }
  return type;
}

static EveryFile *every_file(char *name, char *package) {
  EveryFile *file = every_new(sizeof *file);
  google__protobuf__file_descriptor_proto__init(file);
  file->name = name;
  file->package = package;
  file->syntax = "proto3";
  file->message_type = every_new(EVERY_MAX * sizeof(void *));
  file->enum_type = every_new(EVERY_MAX * sizeof(void *));
  return file;
}

static EveryFile *every_known_types(void) {
  static char *null_values[] = { "NULL_VALUE" };
  static const struct {
    char *name;
    int type;
  } wrappers[] = {
    { "DoubleValue", FIELD_DOUBLE }, { "FloatValue", FIELD_FLOAT },   { "Int64Value", FIELD_INT64 },
    { "UInt64Value", FIELD_UINT64 }, { "Int32Value", FIELD_INT32 },   { "UInt32Value", FIELD_UINT32 },
    { "BoolValue", FIELD_BOOL },     { "StringValue", FIELD_STRING }, { "BytesValue", FIELD_BYTES },
  };
  EveryFile *file = every_file("known.proto", "google.protobuf");
  size_t *count = &file->n_message_type;
  for (int i = 0; i < 2; i++) {
    EveryMessage *instant = every_message(file->message_type, count, i == 0 ? "Timestamp" : "Duration");
    every_field(instant, "seconds", FIELD_INT64, NULL);
    every_field(instant, "nanos", FIELD_INT32, NULL);
  }
  for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++) {
    every_field(every_message(file->message_type, count, wrappers[i].name), "value", wrappers[i].type, NULL);
  }
  EveryMessage *any = every_message(file->message_type, count, "Any");
  every_field(any, "type_url", FIELD_STRING, NULL);
  every_field(any, "value", FIELD_BYTES, NULL);
  every_repeat(every_field(every_message(file->message_type, count, "FieldMask"), "paths", FIELD_STRING, NULL));
  EveryMessage *list = every_message(file->message_type, count, "ListValue");
  every_repeat(every_field(list, "values", FIELD_MESSAGE, ".google.protobuf.Value"));
  EveryMessage *object = every_message(file->message_type, count, "Struct");
  every_map(object, "google.protobuf.Struct", "Fields", FIELD_STRING, FIELD_MESSAGE, ".google.protobuf.Value");
  object->field[0]->name = "fields";
  EveryMessage *value = every_message(file->message_type, count, "Value");
  int kind = every_oneof(value, "kind");
  every_field(value, "null_value", FIELD_ENUM, ".google.protobuf.NullValue");
  every_field(value, "number_value", FIELD_DOUBLE, NULL);
  every_field(value, "string_value", FIELD_STRING, NULL);
  every_field(value, "bool_value", FIELD_BOOL, NULL);
  every_field(value, "struct_value", FIELD_MESSAGE, ".google.protobuf.Struct");
  every_field(value, "list_value", FIELD_MESSAGE, ".google.protobuf.ListValue");
  for (size_t i = 0; i < value->n_field; i++) {
    value->field[i]->has_oneof_index = 1;
    value->field[i]->oneof_index = kind;
  }
  file->enum_type[file->n_enum_type++] = every_enum("NullValue", null_values, 1);
  return file;
}

static EveryFile *every_test_file(EveryFile *known) {
  static char *colours[] = { "NONE", "RED", "GREEN", "BLUE" };
  EveryFile *file = every_file("every.proto", "test");
  EveryMessage *message = every_message(file->message_type, &file->n_message_type, "Every");
  every_fields(message);
  for (size_t i = 0; i < known->n_message_type; i++) {
    char *name = every_text("w_%s", known->message_type[i]->name, 0);
    every_field(message, name, FIELD_MESSAGE, every_text(".google.protobuf.%s", known->message_type[i]->name, 0));
    every_map(message, "test.Every", every_text("x_%s", known->message_type[i]->name, 0), FIELD_STRING, FIELD_MESSAGE,
              every_text(".google.protobuf.%s", known->message_type[i]->name, 0));
  }
  every_field(message, "lone_null", FIELD_ENUM, ".google.protobuf.NullValue");
  file->enum_type[file->n_enum_type++] = every_enum("Colour", colours, 4);
  file->n_dependency = 1;
  file->dependency = every_new(sizeof(char *));
  file->dependency[0] = known->name;
  return file;
}

/* The set's bytes, from malloc. */
static uint8_t *every_set(size_t *len) {
  Google__Protobuf__FileDescriptorSet set = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;
  EveryFile *files[2];
  arena_init(&every_arena, 64 << 10);
  files[0] = every_known_types();
  files[1] = every_test_file(files[0]);
  set.n_file = 2;
  set.file = files;
  *len = google__protobuf__file_descriptor_set__get_packed_size(&set);
  uint8_t *bytes = malloc(*len);
  if (bytes == NULL) abort();
  google__protobuf__file_descriptor_set__pack(&set, bytes);
  arena_free(&every_arena);
  return bytes;
}

static Schema *every_schema(void) {
  char error[SCHEMA_ERROR_SIZE];
  size_t len;
  uint8_t *set = every_set(&len);
  Schema *schema = schema_build(set, len, error);
  if (schema == NULL) {
    fprintf(stderr, "every_type.h: %s\n", error);
    abort();
  }
  free(set);
  return schema;
}

#endif
