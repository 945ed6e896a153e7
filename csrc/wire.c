/* Checking bytes from outside: structure, bounds, nesting, and that each known field has a wire type that it may have.
 */

#include "wire.h"

#include <limits.h>

const char wire_too_deep[] = "messages nested too deep";
static const char bad_tag[] = "a tag that is none";
static const char bad_varint[] = "a number that does not end";
static const char cut_off[] = "a field that is cut off";
static const char bad_group[] = "a group, which is not supported";
static const char bad_wire_type[] = "a field with the wrong wire type";
static const char bad_packed[] = "a packed list of the wrong length";

enum { MAX_VARINT = 10, MAX_TAG = 5, MAX_LENGTH = 5 };

/* Bytes of the varint at `at`; 0 when it does not end within `most` bytes or the bytes there are. */
static inline size_t varint_size(const uint8_t *at, const uint8_t *end, size_t most) {
  if ((size_t)(end - at) < most) most = (size_t)(end - at);
  for (size_t i = 0; i < most; i++) {
    if (at[i] < 0x80) return i + 1;
  }
  return 0;
}

/* Reads one field; NULL, or the reason why there is none. protobuf-c's rules: tag and length have at most five bytes, a
 * one-byte tag is no zero field number, a length fits an int. */
static const char *read_any_field(const uint8_t **at, const uint8_t *end, WireField *field) {
  const uint8_t *p = *at;
  uint32_t first = *p;
  if ((first & 0xF8) == 0) return bad_tag;
  if (first < 0x80) {
    field->number = first >> 3;
    p++;
  } else {
    size_t size = varint_size(p, end, MAX_TAG);
    if (size == 0) return bad_tag;
    field->number = (uint32_t)(wire_varint(p) >> 3);
    p += size;
  }
  field->wire_type = first & 7;
  size_t len;
  if (field->wire_type == WIRE_BYTES) {
    if (p < end && *p < 0x80) {
      len = *p++;
    } else {
      size_t size = varint_size(p, end, MAX_LENGTH);
      if (size == 0) return cut_off;
      uint64_t value = wire_varint(p);
      if (value > INT_MAX) return cut_off;
      len = (size_t)value;
      p += size;
    }
  } else if (field->wire_type == WIRE_VARINT) {
    len = varint_size(p, end, MAX_VARINT);
    if (len == 0) return bad_varint;
  } else if (field->wire_type == WIRE_64BIT) {
    len = 8;
  } else if (field->wire_type == WIRE_32BIT) {
    len = 4;
  } else {
    return bad_group;
  }
  if ((size_t)(end - p) < len) return cut_off;
  field->data = p;
  field->len = len;
  *at = p + len;
  return NULL;
}

/* The same; what nearly every field is goes quickly: bytes with a tag and a length of one byte each. */
static inline const char *read_field(const uint8_t **at, const uint8_t *end, WireField *field) {
  const uint8_t *p = *at;
  if (end - p < 2 || ((p[0] | p[1]) & 0x80) != 0 || (p[0] & 7) != WIRE_BYTES || p[0] < 8 || end - p - 2 < p[1])
    return read_any_field(at, end, field);
  field->number = p[0] >> 3;
  field->wire_type = WIRE_BYTES;
  field->data = p + 2;
  field->len = p[1];
  *at = p + 2 + p[1];
  return NULL;
}

bool wire_read(const uint8_t **at, const uint8_t *end, WireField *field) {
  return *at < end && read_field(at, end, field) == NULL;
}

static const char *check_packed(const Field *field, const uint8_t *at, size_t len) {
  if (field->wire_type == WIRE_64BIT) return len % 8 == 0 ? NULL : bad_packed;
  if (field->wire_type == WIRE_32BIT) return len % 4 == 0 ? NULL : bad_packed;
  for (const uint8_t *end = at + len; at < end;) {
    size_t size = varint_size(at, end, MAX_VARINT);
    if (size == 0) return bad_varint;
    at += size;
  }
  return NULL;
}

static const char *check_message(const MessageType *type, const uint8_t *at, const uint8_t *end, unsigned depth) {
  WireField wire;
  while (at < end) {
    const char *reason = read_field(&at, end, &wire);
    if (reason != NULL) return reason;
    const Field *field = schema_field_by_number(type, wire.number);
    if (field == NULL) continue;
    if (field->wire_type == wire.wire_type) {
      if (field->type != FIELD_MESSAGE) continue;
      if (depth == SCHEMA_MAX_NESTING) return wire_too_deep;
      reason = check_message(field->message, wire.data, wire.data + wire.len, depth + 1);
    } else if (field->repeated && wire.wire_type == WIRE_BYTES) {
      reason = check_packed(field, wire.data, wire.len);
    } else if (field->type != FIELD_BOOL) { /* of a bool protobuf-c takes any wire type */
      reason = bad_wire_type;
    }
    if (reason != NULL) return reason;
  }
  return NULL;
}

const char *wire_check_nested(const MessageType *type, const uint8_t *bytes, size_t len, unsigned depth) {
  return depth > SCHEMA_MAX_NESTING ? wire_too_deep : check_message(type, bytes, bytes + len, depth);
}

const char *wire_check(const MessageType *type, const uint8_t *bytes, size_t len) {
  return check_message(type, bytes, bytes + len, 0);
}
