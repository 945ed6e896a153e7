/* A streaming writer: from the bytes of a message to JSON text, without anything in between.
 *
 * Fields come in the order of their numbers, maps in the order of their keys. */

#include "json_write.h"

#include <math.h>
#include <stdlib.h>

#include "read.h"

enum { FEW_FIELDS = 24 }; /* slots of a message with no more than that are on the C stack */

typedef struct Writer {
  JsonText *json;
  bool proto_names;
  unsigned depth; /* messages around the one being written, and it */
} Writer;

static void write_message(Writer *w, const MessageType *type, const uint8_t *bytes, size_t len);
static void write_fields(Writer *w, const MessageType *type, const uint8_t *bytes, size_t len, bool *empty);

static void put_text(Writer *w, const char *text) { json_put(w->json, text, strlen(text)); }

/* -- Scalars -- */

static void write_number(Writer *w, const Field *field, const WireField *value) {
  bool missing = value->wire_type == WIRE_MISSING;
  double number = missing ? 0 : read_number(field, value);
  bool written = field->type == FIELD_FLOAT ? json_put_float(w->json, (float)number) : json_put_double(w->json, number);
  if (!written) put_text(w, isnan(number) ? "\"NaN\"" : number > 0 ? "\"Infinity\"" : "\"-Infinity\"");
}

static void write_enum(Writer *w, const EnumType *type, int32_t number) {
  if (type->null_value && number == 0) { /* another number, from a later version, would be lost as null */
    put_text(w, "null");
    return;
  }
  const EnumValue *value = schema_enum_value(type, number);
  if (value != NULL)
    json_put_string(w->json, value->name, value->name_len);
  else
    json_put_integer(w->json, number);
}

/* Any value but a message. `quoted`: as the key of a map, where everything is a string. */
static void write_scalar(Writer *w, const Field *field, const WireField *value, bool quoted) {
  JsonText *json = w->json;
  bool missing = value->wire_type == WIRE_MISSING;
  bool wide = false;
  switch (field->type) {
  case FIELD_STRING: json_put_string(json, (const char *)value->data, value->len); return;
  case FIELD_BYTES: json_put_base64(json, value->data, value->len); return;
  case FIELD_DOUBLE:
  case FIELD_FLOAT: write_number(w, field, value); return;
  case FIELD_ENUM: write_enum(w, field->enumeration, missing ? 0 : (int32_t)read_integer(field, value)); return;
  case FIELD_INT64:
  case FIELD_UINT64:
  case FIELD_SINT64:
  case FIELD_FIXED64:
  case FIELD_SFIXED64: wide = true; break;
  default: break;
  }
  if (wide || quoted) json_put(json, "\"", 1);
  if (field->type == FIELD_BOOL)
    put_text(w, !missing && read_bool(value) ? "true" : "false");
  else if (missing)
    json_put(json, "0", 1);
  else if (field->type == FIELD_UINT64 || field->type == FIELD_FIXED64)
    json_put_unsigned(json, (uint64_t)read_integer(field, value));
  else
    json_put_integer(json, read_integer(field, value));
  if (wide || quoted) json_put(json, "\"", 1);
}

static void write_value(Writer *w, const Field *field, const WireField *value) {
  if (field->type == FIELD_MESSAGE)
    write_message(w, field->message, value->data, value->len);
  else
    write_scalar(w, field, value, false);
}

/* -- Lists and maps -- */

static void write_list(Writer *w, const Field *field, const uint8_t *bytes, size_t len) {
  ListReader reader = read_list(field, bytes, len);
  WireField element;
  bool empty = true;
  json_open(w->json, '[');
  while (read_element(&reader, &element)) {
    json_next(w->json, &empty);
    write_value(w, field, &element);
  }
  json_close(w->json, ']', empty);
}

/* An entry of a map on its way into order. */
typedef struct SortedEntry {
  const Field *key_field;
  MapEntry entry;
  WireField element;
  uint32_t place;
} SortedEntry;

static int compare_keys(const SortedEntry *a, const SortedEntry *b) {
  const WireField *x = &a->entry.key, *y = &b->entry.key;
  if (a->key_field->type == FIELD_STRING) {
    size_t least = x->len < y->len ? x->len : y->len;
    int order = least > 0 ? memcmp(x->data, y->data, least) : 0;
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
  }
  int64_t m = x->wire_type == WIRE_MISSING ? 0 : read_integer(a->key_field, x);
  int64_t n = y->wire_type == WIRE_MISSING ? 0 : read_integer(a->key_field, y);
  return (m > n) - (m < n);
}

static int compare_entries(const void *left, const void *right) {
  const SortedEntry *a = left, *b = right;
  int order = compare_keys(a, b);
  return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

static void write_entry(Writer *w, const Field *field, SortedEntry *sorted, bool *empty) {
  const MessageType *entry_type = field->message;
  const Field *value_field = &entry_type->fields[1];
  WireField value = sorted->entry.value;
  json_next(w->json, empty);
  write_scalar(w, &entry_type->fields[0], &sorted->entry.key, true);
  json_put_key(w->json, ":", 1);
  if (value_field->type == FIELD_MESSAGE) {
    const WireField *element = &sorted->element;
    if (!read_submessage(element->data, element->len, sorted->entry.value_count, &value, &w->json->out->arena)) {
      w->json->failed = true;
      return;
    }
  }
  write_value(w, value_field, &value);
}

static void write_map(Writer *w, const Field *field, const uint8_t *bytes, size_t len) {
  uint32_t count = read_count(field, bytes, len);
  SortedEntry *sorted = arena_alloc(&w->json->out->arena, (count + 1) * sizeof *sorted);
  ListReader reader = read_list(field, bytes, len);
  if (sorted == NULL) {
    w->json->failed = true;
    return;
  }
  for (uint32_t i = 0; i < count && read_element(&reader, &sorted[i].element); i++) {
    sorted[i].key_field = &field->message->fields[0];
    sorted[i].entry = read_entry(field->message, &sorted[i].element);
    sorted[i].place = i;
  }
  qsort(sorted, count, sizeof *sorted, compare_entries);
  bool empty = true;
  json_open(w->json, '{');
  for (uint32_t i = 0; i < count; i++) { /* of equal keys the last one counts */
    if (i + 1 == count || compare_keys(&sorted[i], &sorted[i + 1]) != 0) write_entry(w, field, &sorted[i], &empty);
  }
  json_close(w->json, '}', empty);
}

/* -- Well-known types -- */

/* A path of a field mask: "from_e164.e164" is "fromE164.e164". */
static void write_mask(Writer *w, const MessageType *type, const uint8_t *bytes, size_t len) {
  ListReader reader = read_list(&type->fields[0], bytes, len);
  Scratch *out = w->json->out;
  WireField path;
  size_t start = out->len;
  json_put(w->json, "\"", 1);
  for (bool first = true; read_element(&reader, &path); first = false) {
    if (!first) json_put(w->json, ",", 1);
    for (size_t i = 0; i < path.len; i++) {
      char c = (char)path.data[i];
      if (c == '_' && i + 1 < path.len && path.data[i + 1] >= 'a' && path.data[i + 1] <= 'z') {
        c = (char)(path.data[++i] - 'a' + 'A');
      }
      json_put(w->json, &c, 1);
    }
  }
  if (w->json->failed) return;
  /* A path may hold anything: what was put together is written again as a string. */
  size_t mask_len = out->len - start - 1;
  char *mask = arena_copy(&out->arena, out->text + start + 1, mask_len);
  out->len = start;
  if (mask != NULL)
    json_put_string(w->json, mask, mask_len);
  else
    w->json->failed = true;
}

static bool write_instant(Writer *w, const MessageType *type, const uint8_t *bytes, size_t len) {
  char text[INSTANT_TEXT];
  size_t text_len;
  Instant instant = read_instant(type, bytes, len);
  if (type->kind == KIND_TIMESTAMP) {
    if (!instant_is_timestamp(instant)) return false;
    text_len = instant_format_timestamp(instant, text);
  } else {
    if (!instant_is_duration(instant)) return false;
    text_len = instant_format_duration(instant, text);
  }
  json_put_string(w->json, text, text_len);
  return true;
}

/* The one field of a wrapper, or the member of a Value. Nothing set is the zero of the one and the null of the other.
 */
static void write_single(Writer *w, const MessageType *type, const uint8_t *bytes, size_t len) {
  const Field *field = &type->fields[0];
  if (type->kind == KIND_VALUE) field = read_oneof(type, bytes, len, type->fields[0].oneof);
  if (field == NULL) {
    put_text(w, "null");
    return;
  }
  WireField value;
  uint32_t count;
  if (!read_field(type, bytes, len, field, &value, &count))
    value = (WireField){ field->number, WIRE_MISSING, bytes, 0 };
  write_value(w, field, &value);
}

/* The message in an Any, with its type. False when the schema does not know the type, or the bytes are none of it: then
 * the Any is written as the message that it is. */
static bool write_any(Writer *w, const MessageType *type, const uint8_t *bytes, size_t len) {
  WireField url, value = { 2, WIRE_BYTES, bytes, 0 };
  uint32_t count;
  if (!read_field(type, bytes, len, &type->fields[0], &url, &count)) return false;
  const MessageType *held = schema_message_of_url(type->schema, (const char *)url.data, url.len);
  if (held == NULL) return false;
  read_field(type, bytes, len, &type->fields[1], &value, &count);
  if (wire_check_nested(held, value.data, value.len, w->depth) != NULL) return false;
  bool empty = true;
  json_open(w->json, '{');
  json_next(w->json, &empty);
  json_put_key(w->json, "\"@type\":", 8);
  json_put_string(w->json, (const char *)url.data, url.len);
  if (held->kind == KIND_PLAIN) {
    write_fields(w, held, value.data, value.len, &empty);
  } else {
    json_next(w->json, &empty);
    json_put_key(w->json, "\"value\":", 8);
    write_message(w, held, value.data, value.len);
  }
  json_close(w->json, '}', empty);
  return true;
}

static bool write_known(Writer *w, const MessageType *type, const uint8_t *bytes, size_t len) {
  switch (type->kind) {
  case KIND_TIMESTAMP:
  case KIND_DURATION: return write_instant(w, type, bytes, len);
  case KIND_FIELD_MASK: write_mask(w, type, bytes, len); return true;
  case KIND_STRUCT: write_map(w, &type->fields[0], bytes, len); return true;
  case KIND_LIST_VALUE: write_list(w, &type->fields[0], bytes, len); return true;
  case KIND_VALUE:
  case KIND_WRAPPER: write_single(w, type, bytes, len); return true;
  case KIND_ANY: return write_any(w, type, bytes, len);
  case KIND_PLAIN: break;
  }
  return false;
}

/* -- Messages -- */

static bool is_written(const Field *field, const Slot *slot, const uint8_t *end) {
  if (slot->count == 0) return false;
  if (field->repeated) return read_count(field, slot->first, (size_t)(end - slot->first)) > 0;
  return read_is_set(field, &slot->last);
}

static void write_field(Writer *w, const Field *field, Slot *slot, const uint8_t *bytes, size_t len) {
  if (w->proto_names)
    json_put_key(w->json, field->proto_key, field->proto_key_len);
  else
    json_put_key(w->json, field->json_key, field->json_key_len);
  if (field->repeated) {
    size_t rest = (size_t)(bytes + len - slot->first);
    if (field->map)
      write_map(w, field, slot->first, rest);
    else
      write_list(w, field, slot->first, rest);
    return;
  }
  if (field->type == FIELD_MESSAGE && !read_submessage(bytes, len, slot->count, &slot->last, &w->json->out->arena)) {
    w->json->failed = true;
    return;
  }
  write_value(w, field, &slot->last);
}

static void write_fields(Writer *w, const MessageType *type, const uint8_t *bytes, size_t len, bool *empty) {
  Slot few[FEW_FIELDS], *slots = few;
  if (type->field_count > FEW_FIELDS) slots = arena_alloc(&w->json->out->arena, type->field_count * sizeof *slots);
  if (slots == NULL) {
    w->json->failed = true;
    return;
  }
  read_slots(type, bytes, len, slots);
  for (uint16_t i = 0; i < type->field_count; i++) {
    if (!is_written(&type->fields[i], &slots[i], bytes + len)) continue;
    json_next(w->json, empty);
    write_field(w, &type->fields[i], &slots[i], bytes, len);
  }
}

static void write_message(Writer *w, const MessageType *type, const uint8_t *bytes, size_t len) {
  w->depth++;
  if (type->kind == KIND_PLAIN || !write_known(w, type, bytes, len)) {
    bool empty = true;
    json_open(w->json, '{');
    write_fields(w, type, bytes, len, &empty);
    json_close(w->json, '}', empty);
  }
  w->depth--;
}

void json_write_message(JsonText *json, const MessageType *type, const uint8_t *bytes, size_t len, bool proto_names) {
  Writer writer = { json, proto_names, 0 };
  write_message(&writer, type, bytes, len);
}
