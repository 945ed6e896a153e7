/* The well-known types, by name and by shape. A set may define a google.protobuf.Timestamp of its own making; only one
 * whose fields are the known ones is treated as such, so that whoever reads a kind may rely on the fields. */

#include <string.h>

#include "schema_build.h"

typedef struct KnownField {
  uint32_t number;
  FieldType type;
  bool repeated;
  const char *message; /* the field's type, for FIELD_MESSAGE */
} KnownField;

typedef struct KnownType {
  const char *name; /* behind "google.protobuf." */
  MessageKind kind;
  uint16_t field_count;
  KnownField fields[6];
} KnownType;

static const KnownType known_types[] = {
  { "Timestamp", KIND_TIMESTAMP, 2, { { 1, FIELD_INT64, false, NULL }, { 2, FIELD_INT32, false, NULL } } },
  { "Duration", KIND_DURATION, 2, { { 1, FIELD_INT64, false, NULL }, { 2, FIELD_INT32, false, NULL } } },
  { "FieldMask", KIND_FIELD_MASK, 1, { { 1, FIELD_STRING, true, NULL } } },
  { "Struct", KIND_STRUCT, 1, { { 1, FIELD_MESSAGE, true, "google.protobuf.Struct.FieldsEntry" } } },
  { "ListValue", KIND_LIST_VALUE, 1, { { 1, FIELD_MESSAGE, true, "google.protobuf.Value" } } },
  { "Value",
    KIND_VALUE,
    6,
    { { 1, FIELD_ENUM, false, NULL },
      { 2, FIELD_DOUBLE, false, NULL },
      { 3, FIELD_STRING, false, NULL },
      { 4, FIELD_BOOL, false, NULL },
      { 5, FIELD_MESSAGE, false, "google.protobuf.Struct" },
      { 6, FIELD_MESSAGE, false, "google.protobuf.ListValue" } } },
  { "Any", KIND_ANY, 2, { { 1, FIELD_STRING, false, NULL }, { 2, FIELD_BYTES, false, NULL } } },
  { "DoubleValue", KIND_WRAPPER, 1, { { 1, FIELD_DOUBLE, false, NULL } } },
  { "FloatValue", KIND_WRAPPER, 1, { { 1, FIELD_FLOAT, false, NULL } } },
  { "Int64Value", KIND_WRAPPER, 1, { { 1, FIELD_INT64, false, NULL } } },
  { "UInt64Value", KIND_WRAPPER, 1, { { 1, FIELD_UINT64, false, NULL } } },
  { "Int32Value", KIND_WRAPPER, 1, { { 1, FIELD_INT32, false, NULL } } },
  { "UInt32Value", KIND_WRAPPER, 1, { { 1, FIELD_UINT32, false, NULL } } },
  { "BoolValue", KIND_WRAPPER, 1, { { 1, FIELD_BOOL, false, NULL } } },
  { "StringValue", KIND_WRAPPER, 1, { { 1, FIELD_STRING, false, NULL } } },
  { "BytesValue", KIND_WRAPPER, 1, { { 1, FIELD_BYTES, false, NULL } } },
};

static bool has_shape(const MessageType *type, const KnownType *known) {
  if (type->field_count != known->field_count) return false;
  for (uint16_t i = 0; i < type->field_count; i++) {
    const Field *field = &type->fields[i];
    const KnownField *want = &known->fields[i];
    if (field->number != want->number || field->type != want->type || field->repeated != want->repeated) return false;
    if (want->message != NULL && strcmp(field->message->name, want->message) != 0) return false;
    if (known->kind == KIND_VALUE && field->oneof == NULL) return false;
    if (known->kind != KIND_VALUE && field->oneof != NULL) return false;
  }
  if (known->kind != KIND_STRUCT) return true;
  const MessageType *entry = type->fields[0].message;
  return type->fields[0].map && entry->field_count == 2 && entry->fields[0].type == FIELD_STRING &&
         entry->fields[1].type == FIELD_MESSAGE && strcmp(entry->fields[1].message->name, "google.protobuf.Value") == 0;
}

void build_kind(MessageType *type) {
  static const char package[] = "google.protobuf.";
  if (strncmp(type->name, package, sizeof package - 1) != 0) return;
  for (size_t i = 0; i < sizeof known_types / sizeof known_types[0]; i++) {
    if (strcmp(type->name + sizeof package - 1, known_types[i].name) != 0) continue;
    if (has_shape(type, &known_types[i])) type->kind = known_types[i].kind;
    return;
  }
}
