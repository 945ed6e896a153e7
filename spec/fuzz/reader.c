/* The lazy reader against protobuf-c's unpack.
 *
 * Any bytes: both accept them or both refuse them, and what both accept reads the same, field by field. Two differences
 * are known and let pass: nesting over the limit, which only wire_check refuses, and a submessage that occurs several
 * times, which protobuf-c does not always manage to merge; there, the joined bytes are unpacked on their own and
 * compared. */

#include "every_type.h"
#include "read.h"

static const MessageType *every;

#define REQUIRE(condition)                                                                                             \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "reader.c:%d: %s (field %s)\n", __LINE__, #condition, field_name);                               \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

static const char *field_name = "-";

static void compare(const MessageType *type, const uint8_t *bytes, size_t len, const ProtobufCMessage *unpacked);

/* Whether a submessage outside of a oneof occurs twice, here or below. */
static bool has_merge(const MessageType *type, const uint8_t *bytes, size_t len) {
  WireField wire;
  for (const uint8_t *at = bytes; wire_next(&at, bytes + len, &wire);) {
    const Field *field = schema_field_by_number(type, wire.number);
    if (field == NULL || field->type != FIELD_MESSAGE) continue;
    if (has_merge(field->message, wire.data, wire.len)) return true;
    WireField last;
    uint32_t count;
    if (field->repeated || field->oneof != NULL) continue;
    if (read_field(type, bytes, len, field, &last, &count) && count > 1) return true;
  }
  return false;
}

static bool same_scalar(const Field *field, const WireField *value, const void *place) {
  switch (field->type) {
  case FIELD_STRING:
  case FIELD_BYTES: {
    const ProtobufCBinaryData *data = place;
    return data->len == value->len && (data->len == 0 || memcmp(data->data, value->data, data->len) == 0);
  }
  case FIELD_DOUBLE: return *(const uint64_t *)place == wire_fixed64(value->data);
  case FIELD_FLOAT: return *(const uint32_t *)place == wire_fixed32(value->data);
  case FIELD_BOOL: return (*(const protobuf_c_boolean *)place != 0) == read_bool(value);
  case FIELD_UINT32:
  case FIELD_FIXED32: return *(const uint32_t *)place == read_integer(field, value);
  case FIELD_INT32:
  case FIELD_SINT32:
  case FIELD_SFIXED32:
  case FIELD_ENUM: return *(const int32_t *)place == read_integer(field, value);
  default: return *(const int64_t *)place == read_integer(field, value);
  }
}

static void compare_value(const Field *field, const WireField *value, const void *place) {
  if (field->type == FIELD_MESSAGE)
    compare(field->message, value->data, value->len, *(ProtobufCMessage *const *)place);
  else
    REQUIRE(same_scalar(field, value, place));
}

static size_t element_size(const Field *field) {
  switch (field->type) {
  case FIELD_STRING:
  case FIELD_BYTES: return sizeof(ProtobufCBinaryData);
  case FIELD_MESSAGE: return sizeof(void *);
  case FIELD_DOUBLE:
  case FIELD_INT64:
  case FIELD_UINT64:
  case FIELD_FIXED64:
  case FIELD_SFIXED64:
  case FIELD_SINT64: return 8;
  default: return 4;
  }
}

static void compare_list(const Field *field, const uint8_t *bytes, size_t len, const char *message) {
  size_t count = *(const size_t *)(message + field->quantifier);
  const char *elements = *(char *const *)(message + field->offset);
  ListReader reader = read_list(field, bytes, len);
  WireField element;
  REQUIRE(read_count(field, bytes, len) == count);
  for (size_t i = 0; i < count; i++) {
    REQUIRE(read_element(&reader, &element));
    compare_value(field, &element, elements + i * element_size(field));
  }
  REQUIRE(!read_element(&reader, &element));
}

/* All occurrences joined, which protobuf-c may unpack as one message. */
static void compare_joined(const Field *field, const uint8_t *bytes, size_t len) {
  size_t joined_len = read_joined(bytes, len, field->number, NULL);
  uint8_t *joined = malloc(joined_len + 1);
  if (joined == NULL) abort();
  REQUIRE(read_joined(bytes, len, field->number, joined) == joined_len);
  REQUIRE(wire_check(field->message, joined, joined_len) == NULL);
  ProtobufCMessage *unpacked = protobuf_c_message_unpack(&field->message->descriptor, NULL, joined_len, joined);
  if (unpacked != NULL) compare(field->message, joined, joined_len, unpacked);
  protobuf_c_message_free_unpacked(unpacked, NULL);
  free(joined);
}

static void compare_singular(const MessageType *type, const Field *field, const uint8_t *bytes, size_t len,
                             const char *message) {
  WireField value;
  uint32_t count;
  bool set = read_field(type, bytes, len, field, &value, &count);
  uint32_t quantifier = field->quantifier > 0 ? *(const uint32_t *)(message + field->quantifier) : 0;
  if (field->oneof != NULL)
    REQUIRE(set == (quantifier == field->number));
  else if (field->type == FIELD_MESSAGE)
    REQUIRE(set == (*(void *const *)(message + field->offset) != NULL));
  else
    REQUIRE(set == (quantifier != 0));
  if (!set) return;
  if (count > 1 && field->type == FIELD_MESSAGE)
    compare_joined(field, bytes, len);
  else
    compare_value(field, &value, message + field->offset);
}

static void compare_slot(const MessageType *type, const Field *field, const Slot *slot, const uint8_t *bytes,
                         size_t len) {
  WireField value;
  uint32_t count;
  bool set = read_field(type, bytes, len, field, &value, &count);
  REQUIRE(set == (slot->count > 0));
  if (set) REQUIRE(slot->last.data == value.data && slot->last.len == value.len);
}

static void compare(const MessageType *type, const uint8_t *bytes, size_t len, const ProtobufCMessage *unpacked) {
  Slot slots[256];
  REQUIRE(type->field_count <= 256);
  read_slots(type, bytes, len, slots);
  for (uint16_t i = 0; i < type->field_count; i++) {
    const Field *field = &type->fields[i];
    field_name = field->name;
    compare_slot(type, field, &slots[i], bytes, len);
    if (field->repeated)
      compare_list(field, bytes, len, (const char *)unpacked);
    else
      compare_singular(type, field, bytes, len, (const char *)unpacked);
  }
  for (uint16_t i = 0; i < type->oneof_count; i++) {
    const Field *member = read_oneof(type, bytes, len, &type->oneofs[i]);
    REQUIRE(*(const uint32_t *)((const char *)unpacked + type->oneofs[i].case_offset) ==
            (member != NULL ? member->number : 0));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
  if (every == NULL) every = schema_message(every_schema(), "test.Every", strlen("test.Every"));
  const char *reason = wire_check(every, bytes, len);
  ProtobufCMessage *unpacked = protobuf_c_message_unpack(&every->descriptor, NULL, len, bytes);
  field_name = "-";
  if (reason != NULL) {
    REQUIRE(unpacked == NULL || reason == wire_too_deep);
  } else if (unpacked == NULL) {
    REQUIRE(has_merge(every, bytes, len));
  } else {
    compare(every, bytes, len, unpacked);
  }
  protobuf_c_message_free_unpacked(unpacked, NULL);
  return 0;
}
