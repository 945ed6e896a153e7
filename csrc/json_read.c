/* JSON to messages: jansson parses, then its tree fills protobuf-c structs by the rules of fill.h. What is filled
 * points into the tree, which lives until the message is packed. */

#include "json_read.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *kind_of(const json_t *value) {
  static const char *const names[] = { "object", "array", "string", "integer", "number", "true", "false", "null" };
  return names[json_typeof(value)];
}

static bool fail_type(Fill *fill, const char *expected, const json_t *value) {
  return fill_fail(fill, "%s expected, got %s", expected, kind_of(value));
}

static ProtobufCMessage *from_json(Fill *fill, const MessageType *type, const json_t *value);

/* -- Numbers -- */

/* A number of JSON's grammar, and nothing around it. */
static bool is_number_text(const char *text, size_t len, bool *integral) {
  const char *at = text, *end = text + len;
  const char *digits = "0123456789";
  *integral = true;
  if (memchr(text, '\0', len) != NULL) return false;
  if (at < end && *at == '-') at++;
  size_t whole = strspn(at, digits);
  if (whole == 0 || (whole > 1 && *at == '0')) return false;
  at += whole;
  if (*at == '.') {
    *integral = false;
    size_t decimals = strspn(++at, digits);
    if (decimals == 0) return false;
    at += decimals;
  }
  if (*at == 'e' || *at == 'E') {
    *integral = false;
    at++;
    if (*at == '+' || *at == '-') at++;
    size_t exponent = strspn(at, digits);
    if (exponent == 0) return false;
    at += exponent;
  }
  return at == end;
}

/* The double of a number's text, whatever decimal point the locale has. */
static bool parse_double(const char *text, size_t len, double *number) {
  json_error_t error;
  json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
  if (value == NULL) return false;
  *number = json_real_value(value);
  json_decref(value);
  return true;
}

static bool from_whole_number(Fill *fill, const Field *field, void *place, double number) {
  static const double int64_end = 9223372036854775808.0;
  if (floor(number) != number) return fill_fail(fill, "integer expected, got %.17g", number);
  if (number >= -int64_end && number < int64_end) {
    int64_t value = (int64_t)number;
    if (value < 0 && (field->type == FIELD_UINT64 || field->type == FIELD_FIXED64)) {
      return fill_fail(fill, "%.17g is out of range", number);
    }
    return fill_integer(fill, field, place, value);
  }
  if (number >= int64_end && number < 2 * int64_end) return fill_unsigned(fill, field, place, (uint64_t)number);
  return fill_fail(fill, "%.17g is out of range", number);
}

static bool is_unsigned64(const Field *field) { return field->type == FIELD_UINT64 || field->type == FIELD_FIXED64; }

static bool from_integer_text(Fill *fill, const Field *field, void *place, const char *text, size_t len) {
  bool integral;
  double number;
  if (!is_number_text(text, len, &integral)) return fill_fail(fill, "integer expected, got '%.60s'", text);
  if (!integral) {
    if (!parse_double(text, len, &number)) return fill_fail(fill, "'%.60s' is out of range", text);
    return from_whole_number(fill, field, place, number);
  }
  errno = 0;
  if (is_unsigned64(field)) {
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno != 0 || (text[0] == '-' && value != 0)) return fill_fail(fill, "%.60s is out of range", text);
    return fill_unsigned(fill, field, place, value);
  }
  long long value = strtoll(text, NULL, 10);
  if (errno != 0) return fill_fail(fill, "%.60s is out of range", text);
  return fill_integer(fill, field, place, value);
}

static bool from_integer(Fill *fill, const Field *field, void *place, const json_t *value) {
  if (json_is_string(value))
    return from_integer_text(fill, field, place, json_string_value(value), json_string_length(value));
  if (json_is_real(value)) return from_whole_number(fill, field, place, json_real_value(value));
  if (!json_is_integer(value)) return fail_type(fill, "integer", value);
  json_int_t number = json_integer_value(value);
  if (number < 0 && is_unsigned64(field)) return fill_fail(fill, "%lld is out of range", (long long)number);
  return fill_integer(fill, field, place, number);
}

static bool from_number(Fill *fill, const Field *field, void *place, const json_t *value) {
  double number;
  bool integral;
  if (json_is_number(value)) return fill_number(fill, field, place, json_number_value(value));
  if (!json_is_string(value)) return fail_type(fill, "number", value);
  const char *text = json_string_value(value);
  size_t len = json_string_length(value);
  if (strcmp(text, "NaN") == 0) return fill_number(fill, field, place, (double)NAN);
  if (strcmp(text, "Infinity") == 0) return fill_number(fill, field, place, (double)INFINITY);
  if (strcmp(text, "-Infinity") == 0) return fill_number(fill, field, place, -(double)INFINITY);
  if (is_number_text(text, len, &integral) && parse_double(text, len, &number))
    return fill_number(fill, field, place, number);
  return fill_fail(fill, "number expected, got '%.60s'", text);
}

/* -- Other scalars -- */

static int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  return c == '/' || c == '_' ? 63 : -1;
}

/* Standard or URL-safe, padded or not. */
static bool from_base64(Fill *fill, void *place, const json_t *value) {
  const char *text = json_string_value(value);
  size_t len = json_string_length(value), out_len = 0;
  uint8_t *out = arena_alloc(fill->arena, len + 1);
  if (out == NULL) return fill_fail_memory(fill);
  if (len % 4 == 0) {
    for (int i = 0; i < 2 && len > 0 && text[len - 1] == '='; i++) len--;
  }
  uint32_t bits = 0;
  unsigned held = 0;
  for (size_t i = 0; i < len; i++) {
    int digit = base64_digit(text[i]);
    if (digit < 0) return fill_fail(fill, "not base64");
    bits = bits << 6 | (uint32_t)digit;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out[out_len++] = (uint8_t)(bits >> held);
  }
  if (len % 4 == 1) return fill_fail(fill, "not base64");
  *(ProtobufCBinaryData *)place = (ProtobufCBinaryData){ out_len, out };
  return true;
}

static bool from_enum(Fill *fill, const Field *field, void *place, const json_t *value) {
  if (json_is_null(value) && field->enumeration->null_value) return fill_integer(fill, field, place, 0);
  if (json_is_string(value)) return fill_enum(fill, field, place, json_string_value(value), json_string_length(value));
  if (!json_is_number(value)) return fail_type(fill, "enum name or number", value);
  return from_integer(fill, field, place, value);
}

static bool from_value(Fill *fill, const Field *field, void *place, const json_t *value) {
  switch (field->type) {
  case FIELD_MESSAGE: return (*(ProtobufCMessage **)place = from_json(fill, field->message, value)) != NULL;
  case FIELD_STRING:
    if (!json_is_string(value)) return fail_type(fill, "string", value);
    return fill_text(fill, field, place, json_string_value(value), json_string_length(value));
  case FIELD_BYTES:
    if (!json_is_string(value)) return fail_type(fill, "base64 string", value);
    return from_base64(fill, place, value);
  case FIELD_BOOL:
    if (!json_is_boolean(value)) return fail_type(fill, "boolean", value);
    fill_bool(place, json_is_true(value));
    return true;
  case FIELD_DOUBLE:
  case FIELD_FLOAT: return from_number(fill, field, place, value);
  case FIELD_ENUM: return from_enum(fill, field, place, value);
  default: return from_integer(fill, field, place, value);
  }
}

/* -- Lists and maps -- */

static bool from_array(Fill *fill, const Field *field, ProtobufCMessage *message, const json_t *value, Step *step) {
  if (!json_is_array(value)) return fail_type(fill, "array", value);
  size_t count = json_array_size(value), size = fill_element_size(field);
  char *elements = fill_list(fill, message, field, count);
  if (elements == NULL) return false;
  step->has_index = true;
  for (size_t i = 0; i < count; i++) {
    step->index = (int64_t)i + 1;
    if (!from_value(fill, field, elements + i * size, json_array_get(value, i))) return false;
  }
  step->has_index = false;
  return true;
}

/* The key of an object as the key of a map. */
static bool from_key(Fill *fill, const Field *field, void *place, const char *key) {
  if (field->type == FIELD_STRING) return fill_text(fill, field, place, key, strlen(key));
  if (field->type != FIELD_BOOL) return from_integer_text(fill, field, place, key, strlen(key));
  bool is_true = strcmp(key, "true") == 0;
  if (!is_true && strcmp(key, "false") != 0) return fill_fail(fill, "boolean key expected, got '%.60s'", key);
  fill_bool(place, is_true);
  return true;
}

static bool from_object_map(Fill *fill, const Field *field, ProtobufCMessage *message, const json_t *object,
                            Step *step) {
  if (!json_is_object(object)) return fail_type(fill, "object", object);
  const Field *key_field = &field->message->fields[0], *value_field = &field->message->fields[1];
  size_t count = json_object_size(object), n = 0;
  ProtobufCMessage **entries = fill_list(fill, message, field, count);
  if (entries == NULL) return false;
  const char *key;
  json_t *value;
  if (!fill_enter(fill)) return false;
  json_object_foreach((json_t *)object, key, value) {
    ProtobufCMessage *entry = fill_message(fill, field->message);
    if (entry == NULL) return false;
    step->key = key;
    bool filled = from_key(fill, key_field, fill_place(entry, key_field), key) &&
                  from_value(fill, value_field, fill_place(entry, value_field), value);
    if (!filled) return false;
    step->key = NULL;
    fill_end(entry, key_field);
    fill_end(entry, value_field);
    entries[n++] = entry;
  }
  fill_leave(fill);
  return fill_sort_map(fill, field, entries, count);
}

/* -- Messages -- */

/* Whether null is a value of the field's own, and does not mean that it is not set. */
static bool takes_null(const Field *field) {
  if (field->repeated) return false;
  return field->type == FIELD_MESSAGE ? field->message->kind == KIND_VALUE
                                      : field->type == FIELD_ENUM && field->enumeration->null_value;
}

static bool from_member(Fill *fill, const Field *field, ProtobufCMessage *message, const json_t *value) {
  if (json_is_null(value) && !takes_null(field)) return true;
  Step step = { fill->step, field, 0, NULL, false };
  fill->step = &step;
  bool filled;
  if (!field->repeated) {
    filled = fill_begin(fill, message, field) && from_value(fill, field, fill_place(message, field), value);
    if (filled) fill_end(message, field);
  } else if (field->map) {
    filled = from_object_map(fill, field, message, value, &step);
  } else {
    filled = from_array(fill, field, message, value, &step);
  }
  fill->step = step.up;
  return filled;
}

/* `except` is a key that is none of the message's; NULL: there is none. */
static bool from_object(Fill *fill, const MessageType *type, ProtobufCMessage *message, const json_t *object,
                        const char *except) {
  if (!json_is_object(object)) return fail_type(fill, "object", object);
  bool *seen = arena_zalloc(fill->arena, type->field_count + 1u);
  if (seen == NULL) return fill_fail_memory(fill);
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value) {
    if (except != NULL && strcmp(key, except) == 0) continue;
    const Field *field = schema_field_by_json_name(type, key, strlen(key));
    if (field == NULL) return fill_fail_unknown_field(fill, type, key, strlen(key));
    if (seen[field->index])
      return fill_fail(fill, "%s is there twice, as %s and %s", field->name, field->name, field->json_name);
    seen[field->index] = true;
    if (!from_member(fill, field, message, value)) return false;
  }
  return fill_finish(fill, type, message);
}

/* "fromE164.e164,text" -> the paths "from_e164.e164" and "text". */
static bool from_mask(Fill *fill, const MessageType *type, ProtobufCMessage *message, const json_t *value) {
  if (!json_is_string(value)) return fail_type(fill, "string", value);
  const char *text = json_string_value(value);
  size_t len = json_string_length(value), count = len > 0;
  for (size_t i = 0; i < len; i++) count += text[i] == ',';
  ProtobufCBinaryData *paths = fill_list(fill, message, &type->fields[0], count);
  char *out = arena_alloc(fill->arena, 2 * len + 1);
  if (paths == NULL || out == NULL) return fill_fail_memory(fill);
  const char *end = text + len;
  for (size_t i = 0; i < count; i++, text++) {
    char *start = out;
    for (; text < end && *text != ','; text++) {
      if (*text == '_') return fill_fail(fill, "a path of a field mask is written in camelCase");
      bool upper = *text >= 'A' && *text <= 'Z';
      if (upper) *out++ = '_';
      *out++ = upper ? (char)(*text - 'A' + 'a') : *text;
    }
    if (!fill_text(fill, &type->fields[0], &paths[i], start, (size_t)(out - start))) return false;
  }
  return true;
}

/* One field of a wrapper or a Value. */
static bool set_single(Fill *fill, const Field *field, ProtobufCMessage *message, const json_t *value) {
  if (!from_value(fill, field, fill_place(message, field), value)) return false;
  fill_end(message, field);
  return true;
}

/* Field numbers of google.protobuf.Value. */
static bool from_any_value(Fill *fill, const MessageType *type, ProtobufCMessage *message, const json_t *value) {
  enum { NULL_VALUE, NUMBER_VALUE, STRING_VALUE, BOOL_VALUE, STRUCT_VALUE, LIST_VALUE };
  static const int members[] = {
    [JSON_OBJECT] = STRUCT_VALUE,  [JSON_ARRAY] = LIST_VALUE,  [JSON_STRING] = STRING_VALUE,
    [JSON_INTEGER] = NUMBER_VALUE, [JSON_REAL] = NUMBER_VALUE, [JSON_TRUE] = BOOL_VALUE,
    [JSON_FALSE] = BOOL_VALUE,     [JSON_NULL] = NULL_VALUE
  };
  const Field *field = &type->fields[members[json_typeof(value)]];
  if (!json_is_null(value)) return set_single(fill, field, message, value);
  *(int32_t *)fill_place(message, field) = 0;
  fill_end(message, field);
  return true;
}

static bool from_plain_map(Fill *fill, const MessageType *type, ProtobufCMessage *message, const json_t *value) {
  const Field *field = &type->fields[0];
  Step step = { fill->step, field, 0, NULL, false };
  fill->step = &step;
  bool filled = type->kind == KIND_STRUCT ? from_object_map(fill, field, message, value, &step)
                                          : from_array(fill, field, message, value, &step);
  fill->step = step.up;
  return filled;
}

static const char type_key[] = "@type";

/* The message that the object of an Any holds. */
static ProtobufCMessage *from_held(Fill *fill, const MessageType *held, const json_t *object) {
  if (held->kind != KIND_PLAIN) {
    const json_t *value = json_object_get(object, "value");
    if (value != NULL && json_object_size(object) == 2) return from_json(fill, held, value);
    fill_fail(fill, "the value of a %s expected", held->name);
    return NULL;
  }
  if (!fill_enter(fill)) return NULL;
  ProtobufCMessage *message = fill_message(fill, held);
  if (message != NULL && !from_object(fill, held, message, object, type_key)) message = NULL;
  fill_leave(fill);
  return message;
}

static bool from_any(Fill *fill, const MessageType *type, ProtobufCMessage *message, const json_t *object) {
  const Field *url_field = &type->fields[0], *value_field = &type->fields[1];
  const json_t *url = json_object_get(object, type_key);
  bool resolved = url != NULL;
  if (!resolved) url = json_object_get(object, "typeUrl");
  if (!resolved && url == NULL) url = json_object_get(object, "type_url");
  const MessageType *held = NULL;
  if (json_is_string(url)) held = schema_message_of_url(type->schema, json_string_value(url), json_string_length(url));
  if (!resolved && held == NULL) return from_object(fill, type, message, object, NULL);
  if (!resolved) return fill_fail(fill, "an Any of a known type is written with %s", type_key);
  if (held == NULL) return fill_fail(fill, "%s names no known type", type_key);
  ProtobufCMessage *inner = from_held(fill, held, object);
  if (inner == NULL) return false;
  size_t len = protobuf_c_message_get_packed_size(inner);
  uint8_t *bytes = arena_alloc(fill->arena, len + 1);
  if (bytes == NULL) return fill_fail_memory(fill);
  protobuf_c_message_pack(inner, bytes);
  *(ProtobufCBinaryData *)fill_place(message, value_field) = (ProtobufCBinaryData){ len, bytes };
  fill_end(message, value_field);
  if (!fill_text(fill, url_field, fill_place(message, url_field), json_string_value(url), json_string_length(url))) {
    return false;
  }
  fill_end(message, url_field);
  return true;
}

static bool fill_from_json(Fill *fill, const MessageType *type, ProtobufCMessage *message, const json_t *value) {
  switch (type->kind) {
  case KIND_TIMESTAMP:
  case KIND_DURATION:
    if (!json_is_string(value)) return fail_type(fill, "string", value);
    return fill_instant_text(fill, type, message, json_string_value(value), json_string_length(value));
  case KIND_FIELD_MASK: return from_mask(fill, type, message, value);
  case KIND_STRUCT:
  case KIND_LIST_VALUE: return from_plain_map(fill, type, message, value);
  case KIND_VALUE: return from_any_value(fill, type, message, value);
  case KIND_WRAPPER: return set_single(fill, &type->fields[0], message, value);
  case KIND_ANY: return from_any(fill, type, message, value);
  case KIND_PLAIN: break;
  }
  return from_object(fill, type, message, value, NULL);
}

static ProtobufCMessage *from_json(Fill *fill, const MessageType *type, const json_t *value) {
  if (!fill_enter(fill)) return NULL;
  ProtobufCMessage *message = fill_message(fill, type);
  if (message == NULL) return NULL;
  bool filled = fill_from_json(fill, type, message, value);
  fill_leave(fill);
  return filled ? message : NULL;
}

const uint8_t *json_read_message(Scratch *scratch, Fill *fill, const MessageType *type, const char *text,
                                 size_t text_len, size_t *len) {
  json_error_t error;
  uint8_t *bytes = NULL;
  json_t *root = json_loadb(text, text_len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
  fill->arena = &scratch->arena;
  fill->step = NULL;
  fill->depth = 0;
  if (root == NULL) {
    fill_fail(fill, "not JSON: line %d, column %d: %s", error.line, error.column, error.text);
    return NULL;
  }
  ProtobufCMessage *message = from_json(fill, type, root);
  if (message != NULL) {
    *len = protobuf_c_message_get_packed_size(message);
    bytes = arena_alloc(&scratch->arena, *len + 1);
    if (bytes != NULL)
      protobuf_c_message_pack(message, bytes);
    else
      fill_fail_memory(fill);
  }
  json_decref(root);
  return bytes;
}
