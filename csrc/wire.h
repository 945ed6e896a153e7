/* The wire format: reading tags and values, and the one check that a message gets when it arrives.
 *
 * Two readers stand here. wire_next walks bytes that were checked (every bound is known to hold) and is inline, since
 * every field access runs it; wire_check walks bytes from outside. What wire_check accepts is what protobuf-c's unpack
 * accepts, with two differences: nesting over SCHEMA_MAX_NESTING is refused here, and a submessage that occurs twice
 * with an unset oneof in both is accepted here while protobuf-c fails to merge it. Like protobuf-c it refuses groups
 * and does not look at UTF-8. No Lua, any thread. */

#ifndef WGTWO_WIRE_H
#define WGTWO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "schema.h"

enum { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_BYTES = 2, WIRE_GROUP = 3, WIRE_GROUP_END = 4, WIRE_32BIT = 5 };

/* One field as it stands on the wire. For WIRE_BYTES `data` is behind the length. */
typedef struct WireField {
  uint32_t number;
  uint32_t wire_type;
  const uint8_t *data;
  size_t len;
} WireField;

/* NULL when `bytes` is a well-formed message of the type, else the reason: one of a few constant texts. */
const char *wire_check(const MessageType *type, const uint8_t *bytes, size_t len);

/* The same for a message that stands `depth` deep in others. */
const char *wire_check_nested(const MessageType *type, const uint8_t *bytes, size_t len, unsigned depth);

/* The reason for nesting over SCHEMA_MAX_NESTING, the one that protobuf-c does not share. */
extern const char wire_too_deep[];

/* Reads the field at *at of unchecked bytes. Advances *at; false when the bytes are not a field. */
bool wire_read(const uint8_t **at, const uint8_t *end, WireField *field);

/* A varint of up to ten bytes, already known to end. */
static inline uint64_t wire_varint(const uint8_t *at) {
  uint64_t value = at[0];
  if (value < 0x80) return value;
  value &= 0x7f;
  for (unsigned shift = 7;; shift += 7) {
    uint64_t byte = *++at;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

static inline uint32_t wire_fixed32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t wire_fixed64(const uint8_t *at) {
  return (uint64_t)wire_fixed32(at) | (uint64_t)wire_fixed32(at + 4) << 32;
}

static inline int64_t wire_unzigzag(uint64_t value) { return (int64_t)(value >> 1 ^ (0 - (value & 1))); }

/* The same, and moves *at behind it. */
static inline uint64_t wire_take_varint(const uint8_t **at) {
  const uint8_t *p = *at;
  uint64_t value = *p++;
  if (value >= 0x80) {
    value &= 0x7f;
    for (unsigned shift = 7;; shift += 7) {
      uint64_t byte = *p++;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
  }
  *at = p;
  return value;
}

/* The next field of checked bytes; false at the end. */
static inline bool wire_next(const uint8_t **at, const uint8_t *end, WireField *field) {
  const uint8_t *p = *at;
  if (p >= end) return false;
  uint64_t key = wire_take_varint(&p);
  field->number = (uint32_t)(key >> 3);
  field->wire_type = (uint32_t)key & 7;
  size_t len;
  switch (field->wire_type) {
  case WIRE_BYTES: len = (size_t)wire_take_varint(&p); break;
  case WIRE_VARINT: {
    const uint8_t *q = p;
    while (*q++ >= 0x80) {}
    len = (size_t)(q - p);
    break;
  }
  case WIRE_64BIT: len = 8; break;
  default: len = 4; break;
  }
  field->data = p;
  field->len = len;
  *at = p + len;
  return true;
}

#endif
