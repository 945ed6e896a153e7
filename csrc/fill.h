/* Filling protobuf-c structs: what a value must be to become a field, and the reason with the field's path when it is
 * not.
 *
 * encode.c fills from Lua tables and json_read.c from JSON; the rules of each type stand here once. Structs are
 * allocated in the caller's arena, texts are not copied. No Lua, no errors raised: false with the reason in Fill.error.
 */

#ifndef WGTWO_FILL_H
#define WGTWO_FILL_H

#include "arena.h"
#include "instant.h"
#include "schema.h"

/* A step to the value being filled; the steps lie on the C stack, linked upwards. */
typedef struct Step {
  const struct Step *up;
  const Field *field;
  int64_t index;   /* from 1, in a list; the key of a map with integer keys */
  const char *key; /* of a map with text keys */
  bool has_index;
} Step;

typedef struct Fill {
  Arena *arena;
  const Step *step; /* the innermost; NULL at the top */
  unsigned depth;
  char error[1024];
} Fill;

/* Writes "path: reason" and returns false. */
bool fill_fail(Fill *fill, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool fill_fail_memory(Fill *fill);
bool fill_fail_unknown_field(Fill *fill, const MessageType *type, const char *name, size_t len);

/* A cleared struct of the type; NULL with the reason. */
ProtobufCMessage *fill_message(Fill *fill, const MessageType *type);

/* Bytes that were checked as a message of the right type, to be packed as they are. */
ProtobufCMessage *fill_raw(Fill *fill, const uint8_t *bytes, size_t len);

/* Where a singular field's value stands. */
static inline void *fill_place(ProtobufCMessage *message, const Field *field) {
  return (char *)message + field->offset;
}
/* Into a message, the outermost too, or an entry of a map, which is a message on the wire. False with the reason when
 * it is nested too deep; else to be left again. */
bool fill_enter(Fill *fill);
static inline void fill_leave(Fill *fill) { fill->depth--; }

/* Before a singular field is filled. False with the reason when another member of its oneof is set. */
bool fill_begin_member(Fill *fill, ProtobufCMessage *message, const Field *field);
static inline bool fill_begin(Fill *fill, ProtobufCMessage *message, const Field *field) {
  return field->oneof == NULL || fill_begin_member(fill, message, field);
}

/* Marks a singular field as set, its value being in place. */
bool fill_is_not_zero(const Field *field, const void *place);
static inline void fill_end(ProtobufCMessage *message, const Field *field) {
  uint32_t *quantifier = (uint32_t *)((char *)message + field->quantifier);
  if (field->oneof != NULL)
    *quantifier = field->number;
  else if (field->type != FIELD_MESSAGE)
    *quantifier = field->presence || fill_is_not_zero(field, fill_place(message, field));
}

/* Bytes of one element of a list. */
size_t fill_element_size(const Field *field);

/* Room for `count` elements; sets the count. NULL with the reason. */
void *fill_list(Fill *fill, ProtobufCMessage *message, const Field *field, size_t count);

/* One value into place. `field` tells the type. */
bool fill_integer(Fill *fill, const Field *field, void *place,
                  int64_t value); /* integer types; uint64 in two's complement */
bool fill_unsigned(Fill *fill, const Field *field, void *place, uint64_t value);           /* a value of 2^63 or more */
bool fill_number(Fill *fill, const Field *field, void *place, double value);               /* float, double */
bool fill_text(Fill *fill, const Field *field, void *place, const char *text, size_t len); /* string, bytes */
bool fill_enum(Fill *fill, const Field *field, void *place, const char *name, size_t len);
void fill_bool(void *place, bool value);

/* Seconds and nanos into the struct of a Timestamp or Duration, if they are in its range. */
bool fill_instant(Fill *fill, const MessageType *type, ProtobufCMessage *message, Instant instant);
bool fill_instant_seconds(Fill *fill, const MessageType *type, ProtobufCMessage *message, double seconds);
bool fill_instant_text(Fill *fill, const MessageType *type, ProtobufCMessage *message, const char *text, size_t len);

/* To be called when all fields of a message are filled: proto2's required ones, and the range of a Timestamp or
 * Duration. */
bool fill_finish(Fill *fill, const MessageType *type, ProtobufCMessage *message);

/* Puts the entries of a map in the order of their keys, so that equal maps are equal bytes. False when a key is there
 * twice. */
bool fill_sort_map(Fill *fill, const Field *field, ProtobufCMessage **entries, size_t count);

#endif
