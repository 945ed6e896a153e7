/* The rules of fill.h. */

#include "fill.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"
#include "wire.h"

/* -- Reasons -- */

static size_t write_path(const Step *step, char *out, size_t size) {
  size_t len = 0;
  if (step->up != NULL) {
    len = write_path(step->up, out, size);
    if (len + 1 < size) out[len++] = '.';
  }
  int written;
  if (step->key != NULL) {
    written = snprintf(out + len, size - len, "%s[\"%s\"]", step->field->name, step->key);
  } else if (step->has_index) {
    written = snprintf(out + len, size - len, "%s[%" PRId64 "]", step->field->name, step->index);
  } else {
    written = snprintf(out + len, size - len, "%s", step->field->name);
  }
  if (written > 0) len += (size_t)written;
  return len < size ? len : size - 1;
}

bool fill_fail(Fill *fill, const char *format, ...) {
  size_t len = 0;
  if (fill->step != NULL) {
    len = write_path(fill->step, fill->error, sizeof fill->error / 2);
    len += (size_t)snprintf(fill->error + len, sizeof fill->error - len, ": ");
  }
  va_list args;
  va_start(args, format);
  vsnprintf(fill->error + len, sizeof fill->error - len, format, args);
  va_end(args);
  return false;
}

bool fill_fail_memory(Fill *fill) { return fill_fail(fill, "not enough memory"); }

bool fill_fail_unknown_field(Fill *fill, const MessageType *type, const char *name, size_t len) {
  char hint[SCHEMA_HINT_SIZE];
  return fill_fail(fill, "%s has no field '%.100s'%s", type->name, name, schema_hint_field(type, name, len, hint));
}

/* -- Messages -- */

ProtobufCMessage *fill_message(Fill *fill, const MessageType *type) {
  ProtobufCMessage *message = arena_zalloc(fill->arena, type->descriptor.sizeof_message);
  if (message == NULL) {
    fill_fail_memory(fill);
    return NULL;
  }
  message->descriptor = &type->descriptor;
  return message;
}

/* protobuf-c packs an unknown field as its tag and then its bytes as they are. So a message of no known field and one
 * unknown one, whose tag is the first tag of the bytes and whose bytes are all the rest, packs to those bytes. */
ProtobufCMessage *fill_raw(Fill *fill, const uint8_t *bytes, size_t len) {
  static const ProtobufCIntRange no_range[] = { { 0, 0 } };
  static const ProtobufCMessageDescriptor raw_descriptor = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "",
    .short_name = "",
    .c_name = "",
    .package_name = "",
    .sizeof_message = sizeof(ProtobufCMessage),
    .field_ranges = no_range,
  };
  ProtobufCMessage *message = arena_zalloc(fill->arena, sizeof *message);
  ProtobufCMessageUnknownField *rest = arena_zalloc(fill->arena, sizeof *rest);
  if (message == NULL || rest == NULL) {
    fill_fail_memory(fill);
    return NULL;
  }
  message->descriptor = &raw_descriptor;
  if (len == 0) return message;
  const uint8_t *behind_tag = bytes;
  uint64_t tag = wire_take_varint(&behind_tag);
  rest->tag = (uint32_t)(tag >> 3);
  rest->wire_type = (ProtobufCWireType)(tag & 7);
  rest->data = (uint8_t *)behind_tag;
  rest->len = len - (size_t)(behind_tag - bytes);
  message->n_unknown_fields = 1;
  message->unknown_fields = rest;
  return message;
}

bool fill_enter(Fill *fill) {
  if (fill->depth > SCHEMA_MAX_NESTING)
    return fill_fail(fill, "messages are nested more than %d deep", SCHEMA_MAX_NESTING);
  fill->depth++;
  return true;
}

/* -- Fields -- */

static uint32_t *quantifier(ProtobufCMessage *message, const Field *field) {
  return (uint32_t *)((char *)message + field->quantifier);
}

bool fill_begin_member(Fill *fill, ProtobufCMessage *message, const Field *field) {
  uint32_t set = *quantifier(message, field);
  if (set == 0) return true;
  const MessageType *type = (const MessageType *)message->descriptor;
  return fill_fail(fill, "%s and %s are both set, of the oneof %s only one may be",
                   schema_field_by_number(type, set)->name, field->name, field->oneof->name);
}

/* Whether the value is something else than the zero that a field without presence leaves out. */
bool fill_is_not_zero(const Field *field, const void *place) {
  uint64_t bits64;
  uint32_t bits32;
  switch (field->type) {
  case FIELD_STRING:
  case FIELD_BYTES: return ((const ProtobufCBinaryData *)place)->len > 0;
  case FIELD_DOUBLE:
  case FIELD_INT64:
  case FIELD_UINT64:
  case FIELD_FIXED64:
  case FIELD_SFIXED64:
  case FIELD_SINT64: memcpy(&bits64, place, sizeof bits64); return bits64 != 0;
  default: memcpy(&bits32, place, sizeof bits32); return bits32 != 0;
  }
}

size_t fill_element_size(const Field *field) {
  switch (field->type) {
  case FIELD_STRING:
  case FIELD_BYTES: return sizeof(ProtobufCBinaryData);
  case FIELD_MESSAGE: return sizeof(ProtobufCMessage *);
  case FIELD_BOOL: return sizeof(protobuf_c_boolean);
  case FIELD_DOUBLE:
  case FIELD_INT64:
  case FIELD_UINT64:
  case FIELD_FIXED64:
  case FIELD_SFIXED64:
  case FIELD_SINT64: return 8;
  default: return 4;
  }
}

void *fill_list(Fill *fill, ProtobufCMessage *message, const Field *field, size_t count) {
  size_t size = fill_element_size(field);
  void *elements = count < SIZE_MAX / 2 / size ? arena_alloc(fill->arena, count * size + 1) : NULL;
  if (elements == NULL) {
    fill_fail_memory(fill);
    return NULL;
  }
  *(void **)fill_place(message, field) = elements;
  *(size_t *)((char *)message + field->quantifier) = count;
  return elements;
}

/* -- Values -- */

static bool fail_range(Fill *fill, const char *type, int64_t value) {
  return fill_fail(fill, "%" PRId64 " is out of the range of %s", value, type);
}

static bool fill_int32(Fill *fill, const char *type, void *place, int64_t value) {
  if (value < INT32_MIN || value > INT32_MAX) return fail_range(fill, type, value);
  *(int32_t *)place = (int32_t)value;
  return true;
}

bool fill_integer(Fill *fill, const Field *field, void *place, int64_t value) {
  switch (field->type) {
  case FIELD_INT32: return fill_int32(fill, "int32", place, value);
  case FIELD_SINT32: return fill_int32(fill, "sint32", place, value);
  case FIELD_SFIXED32: return fill_int32(fill, "sfixed32", place, value);
  case FIELD_ENUM: return fill_int32(fill, "an enum", place, value);
  case FIELD_UINT32:
  case FIELD_FIXED32:
    if (value < 0 || value > UINT32_MAX)
      return fail_range(fill, field->type == FIELD_UINT32 ? "uint32" : "fixed32", value);
    *(uint32_t *)place = (uint32_t)value;
    return true;
  default: *(int64_t *)place = value; return true;
  }
}

bool fill_unsigned(Fill *fill, const Field *field, void *place, uint64_t value) {
  if (field->type != FIELD_UINT64 && field->type != FIELD_FIXED64) {
    return fill_fail(fill, "%" PRIu64 " is out of range", value);
  }
  *(uint64_t *)place = value;
  return true;
}

bool fill_number(Fill *fill, const Field *field, void *place, double value) {
  if (field->type == FIELD_DOUBLE) {
    *(double *)place = value;
    return true;
  }
  if (isfinite(value) && fabs(value) > (double)FLT_MAX)
    return fill_fail(fill, "%g is out of the range of float", value);
  *(float *)place = (float)value;
  return true;
}

bool fill_text(Fill *fill, const Field *field, void *place, const char *text, size_t len) {
  if (field->type == FIELD_STRING && !utf8_is_text(text, len)) {
    if (memchr(text, '\0', len) != NULL) return fill_fail(fill, "a string must not have '\\0' in it");
    return fill_fail(fill, "a string must be valid UTF-8");
  }
  *(ProtobufCBinaryData *)place = (ProtobufCBinaryData){ len, (uint8_t *)text };
  return true;
}

bool fill_enum(Fill *fill, const Field *field, void *place, const char *name, size_t len) {
  const EnumValue *value = schema_enum_value_by_name(field->enumeration, name, len);
  if (value != NULL) {
    *(int32_t *)place = value->number;
    return true;
  }
  char hint[SCHEMA_HINT_SIZE];
  return fill_fail(fill, "%s has no value '%.100s'%s", field->enumeration->name, name,
                   schema_hint_enum_value(field->enumeration, name, len, hint));
}

void fill_bool(void *place, bool value) { *(protobuf_c_boolean *)place = value; }

/* -- Timestamps and durations -- */

bool fill_instant(Fill *fill, const MessageType *type, ProtobufCMessage *message, Instant instant) {
  bool valid = type->kind == KIND_TIMESTAMP ? instant_is_timestamp(instant) : instant_is_duration(instant);
  if (!valid) {
    return fill_fail(fill, "%" PRId64 " s and %d ns are out of the range of %s", instant.seconds, (int)instant.nanos,
                     type->name);
  }
  *(int64_t *)fill_place(message, &type->fields[0]) = instant.seconds;
  *(int32_t *)fill_place(message, &type->fields[1]) = instant.nanos;
  fill_end(message, &type->fields[0]);
  fill_end(message, &type->fields[1]);
  return true;
}

bool fill_instant_seconds(Fill *fill, const MessageType *type, ProtobufCMessage *message, double seconds) {
  Instant instant;
  if (!instant_from_seconds(seconds, type->kind == KIND_DURATION, &instant)) {
    return fill_fail(fill, "%g s are out of the range of %s", seconds, type->name);
  }
  return fill_instant(fill, type, message, instant);
}

bool fill_instant_text(Fill *fill, const MessageType *type, ProtobufCMessage *message, const char *text, size_t len) {
  Instant instant;
  if (type->kind == KIND_TIMESTAMP) {
    if (instant_parse_timestamp(text, len, &instant)) return fill_instant(fill, type, message, instant);
    return fill_fail(fill, "'%.60s' is no timestamp such as 2024-05-17T12:00:00Z", text);
  }
  if (instant_parse_duration(text, len, &instant)) return fill_instant(fill, type, message, instant);
  return fill_fail(fill, "'%.60s' is no duration such as 1.5s", text);
}

bool fill_finish(Fill *fill, const MessageType *type, ProtobufCMessage *message) {
  if (type->kind == KIND_TIMESTAMP || type->kind == KIND_DURATION) {
    Instant instant = { *(int64_t *)fill_place(message, &type->fields[0]),
                        *(int32_t *)fill_place(message, &type->fields[1]) };
    return fill_instant(fill, type, message, instant);
  }
  if (!type->has_required) return true;
  for (uint16_t i = 0; i < type->field_count; i++) {
    const Field *field = &type->fields[i];
    if (!field->required) continue;
    bool set =
        field->type == FIELD_MESSAGE ? *(void **)fill_place(message, field) != NULL : *quantifier(message, field) != 0;
    if (!set) return fill_fail(fill, "%s: the required field %s is not set", type->name, field->name);
  }
  return true;
}

/* -- Maps -- */

static const Field *key_field(const ProtobufCMessage *entry) {
  return &((const MessageType *)entry->descriptor)->fields[0];
}

static int compare_integers(const Field *field, const void *a, const void *b) {
  if (fill_element_size(field) == 4) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
  }
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static int compare_entries(const void *left, const void *right) {
  ProtobufCMessage *a = *(ProtobufCMessage *const *)left, *b = *(ProtobufCMessage *const *)right;
  const Field *field = key_field(a);
  const void *x = fill_place(a, field), *y = fill_place(b, field);
  if (field->type != FIELD_STRING) return compare_integers(field, x, y);
  const ProtobufCBinaryData *s = x, *t = y;
  int order = memcmp(s->data, t->data, s->len < t->len ? s->len : t->len);
  return order != 0 ? order : (s->len > t->len) - (s->len < t->len);
}

bool fill_sort_map(Fill *fill, const Field *field, ProtobufCMessage **entries, size_t count) {
  if (count < 2) return true;
  qsort(entries, count, sizeof *entries, compare_entries);
  for (size_t i = 1; i < count; i++) {
    if (compare_entries(&entries[i - 1], &entries[i]) == 0)
      return fill_fail(fill, "a key of %s is there twice", field->name);
  }
  return true;
}
