/* Reading fields of checked bytes, without Lua: the last value of a field, the elements of a list, the entries of a
 * map, or an index of everything that is set. Any thread.
 *
 * Rules as protobuf-c's unpack has them: the last scalar wins; of a oneof the last member wins, whole; a singular
 * submessage outside of a oneof that occurs several times is the concatenation of its bytes; a list may be packed,
 * unpacked, or both in turn. */

#ifndef WGTWO_READ_H
#define WGTWO_READ_H

#include "arena.h"
#include "instant.h"
#include "schema.h"
#include "wire.h"

/* The last value of a singular field. False when it is not set. `count` is how often it occurs (of a oneof member: 1).
 */
bool read_field(const MessageType *type, const uint8_t *bytes, size_t len, const Field *field, WireField *found,
                uint32_t *count);

/* The bytes of all occurrences of a submessage, one behind the other, into `out` (NULL: only the size). Returns the
 * size. */
size_t read_joined(const uint8_t *bytes, size_t len, uint32_t number, uint8_t *out);

/* The field of the oneof that is set; NULL when none is. */
const Field *read_oneof(const MessageType *type, const uint8_t *bytes, size_t len, const Oneof *oneof);

/* The elements of a repeated field, in order. */
typedef struct ListReader {
  const Field *field;
  const uint8_t *at, *end;
  const uint8_t *packed, *packed_end; /* inside of a packed run while packed < packed_end */
} ListReader;

static inline ListReader read_list(const Field *field, const uint8_t *bytes, size_t len) {
  return (ListReader){ field, bytes, bytes + len, NULL, NULL };
}
bool read_element(ListReader *reader, WireField *element);
uint32_t read_count(const Field *field, const uint8_t *bytes, size_t len);

/* Key and value of a map entry; a missing one has the wire type WIRE_MISSING, whose value is the default. */
enum { WIRE_MISSING = 7 };
typedef struct MapEntry {
  WireField key, value;
  uint32_t value_count; /* over 1: a submessage to be joined from the entry's bytes */
} MapEntry;
MapEntry read_entry(const MessageType *entry_type, const WireField *entry);

/* A submessage that occurs `count` times in a container, as one run of bytes: where it stands, or joined in the arena.
 * False when there is no memory. */
bool read_submessage(const uint8_t *container, size_t container_len, uint32_t count, WireField *value, Arena *arena);

/* What is set in a message, found in one pass; one slot a field, by Field.index. */
typedef struct Slot {
  WireField last;
  uint32_t count; /* occurrences on the wire; 0: not set. Of a submessage outside of a oneof, over 1: to be joined */
  const uint8_t *first; /* where the first occurrence stands, for lists */
} Slot;

/* Fills `slots`, one for each field of the type. Returns how many fields stand on the wire. */
uint32_t read_slots(const MessageType *type, const uint8_t *bytes, size_t len, Slot *slots);

/* Whether a value found on the wire counts as set: always with presence, else when it is not zero or empty. */
bool read_is_set(const Field *field, const WireField *value);

/* -- Values -- */

/* protobuf-c takes a bool from any wire type: true when any byte has a bit below the eighth. */
static inline bool read_bool(const WireField *value) {
  if (value->wire_type == WIRE_BYTES) return value->len > 0;
  uint8_t any = 0;
  for (size_t i = 0; i < value->len; i++) any |= value->data[i];
  return (any & 0x7F) != 0;
}

/* Any integer type, bool, enum. uint64 in two's complement. */
static inline int64_t read_integer(const Field *field, const WireField *value) {
  switch (field->type) {
  case FIELD_INT64:
  case FIELD_UINT64: return (int64_t)wire_varint(value->data);
  case FIELD_INT32:
  case FIELD_ENUM: return (int32_t)(uint32_t)wire_varint(value->data);
  case FIELD_UINT32: return (uint32_t)wire_varint(value->data);
  case FIELD_SINT64: return wire_unzigzag(wire_varint(value->data));
  case FIELD_SINT32: return (int32_t)wire_unzigzag((uint32_t)wire_varint(value->data));
  case FIELD_FIXED64:
  case FIELD_SFIXED64: return (int64_t)wire_fixed64(value->data);
  case FIELD_FIXED32: return wire_fixed32(value->data);
  case FIELD_SFIXED32: return (int32_t)wire_fixed32(value->data);
  default: return read_bool(value);
  }
}

static inline float read_float(const WireField *value) {
  uint32_t bits = wire_fixed32(value->data);
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

/* double and float */
static inline double read_number(const Field *field, const WireField *value) {
  if (field->type == FIELD_FLOAT) return (double)read_float(value);
  uint64_t bits = wire_fixed64(value->data);
  double number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

/* Seconds and nanos of a Timestamp or Duration, whatever they are. */
Instant read_instant(const MessageType *type, const uint8_t *bytes, size_t len);

#endif
