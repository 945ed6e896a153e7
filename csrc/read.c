/* The lazy reader of read.h. */

#include "read.h"

bool read_field(const MessageType *type, const uint8_t *bytes, size_t len, const Field *field, WireField *found,
                uint32_t *count) {
  const uint8_t *end = bytes + len;
  const Oneof *oneof = field->oneof;
  uint32_t occurrences = 0;
  WireField wire;
  while (wire_next(&bytes, end, &wire)) {
    if (wire.number == field->number) {
      *found = wire;
      occurrences++;
    } else if (oneof != NULL && occurrences > 0) {
      const Field *other = schema_field_by_number(type, wire.number);
      if (other != NULL && other->oneof == oneof) occurrences = 0;
    }
  }
  *count = oneof != NULL && occurrences > 1 ? 1 : occurrences;
  return occurrences > 0;
}

size_t read_joined(const uint8_t *bytes, size_t len, uint32_t number, uint8_t *out) {
  const uint8_t *end = bytes + len;
  size_t size = 0;
  WireField wire;
  while (wire_next(&bytes, end, &wire)) {
    if (wire.number != number) continue;
    if (out != NULL && wire.len > 0) memcpy(out + size, wire.data, wire.len);
    size += wire.len;
  }
  return size;
}

const Field *read_oneof(const MessageType *type, const uint8_t *bytes, size_t len, const Oneof *oneof) {
  const uint8_t *end = bytes + len;
  const Field *member = NULL;
  WireField wire;
  while (wire_next(&bytes, end, &wire)) {
    const Field *field = schema_field_by_number(type, wire.number);
    if (field != NULL && field->oneof == oneof) member = field;
  }
  return member;
}

bool read_element(ListReader *reader, WireField *element) {
  const Field *field = reader->field;
  for (;;) {
    if (reader->packed < reader->packed_end) {
      const uint8_t *start = reader->packed;
      element->number = field->number;
      element->wire_type = field->wire_type;
      element->data = start;
      if (field->wire_type == WIRE_VARINT)
        wire_take_varint(&reader->packed);
      else
        reader->packed += field->wire_type == WIRE_64BIT ? 8 : 4;
      element->len = (size_t)(reader->packed - start);
      return true;
    }
    do {
      if (!wire_next(&reader->at, reader->end, element)) return false;
    } while (element->number != field->number);
    if (element->wire_type != WIRE_BYTES || field->wire_type == WIRE_BYTES) return true;
    reader->packed = element->data;
    reader->packed_end = element->data + element->len;
  }
}

uint32_t read_count(const Field *field, const uint8_t *bytes, size_t len) {
  const uint8_t *end = bytes + len;
  uint32_t count = 0;
  WireField wire;
  while (wire_next(&bytes, end, &wire)) {
    if (wire.number != field->number) continue;
    if (wire.wire_type != WIRE_BYTES || field->wire_type == WIRE_BYTES) {
      count++;
    } else if (field->wire_type == WIRE_VARINT) {
      for (size_t i = 0; i < wire.len; i++) count += wire.data[i] < 0x80;
    } else {
      count += (uint32_t)(wire.len / (field->wire_type == WIRE_64BIT ? 8 : 4));
    }
  }
  return count;
}

static uint32_t take_entry_field(const MessageType *entry_type, const WireField *entry, const Field *field,
                                 WireField *value) {
  uint32_t count;
  if (read_field(entry_type, entry->data, entry->len, field, value, &count)) return count;
  *value = (WireField){ field->number, WIRE_MISSING, entry->data, 0 };
  return 0;
}

MapEntry read_entry(const MessageType *entry_type, const WireField *entry) {
  MapEntry out;
  take_entry_field(entry_type, entry, &entry_type->fields[0], &out.key);
  out.value_count = take_entry_field(entry_type, entry, &entry_type->fields[1], &out.value);
  return out;
}

bool read_submessage(const uint8_t *container, size_t container_len, uint32_t count, WireField *value, Arena *arena) {
  if (count < 2) return true;
  size_t size = read_joined(container, container_len, value->number, NULL);
  uint8_t *joined = arena_alloc(arena, size + 1);
  if (joined == NULL) return false;
  value->data = joined;
  value->len = read_joined(container, container_len, value->number, joined);
  return true;
}

/* A oneof keeps its last member only, and that once. */
static inline void drop_others(const Oneof *oneof, Slot *slots) {
  for (uint16_t i = 0; i < oneof->field_count; i++) slots[oneof->fields[i]->index].count = 0;
}

uint32_t read_slots(const MessageType *type, const uint8_t *bytes, size_t len, Slot *slots) {
  const uint8_t *at = bytes, *end = bytes + len;
  uint32_t found = 0;
  for (uint16_t i = 0; i < type->field_count; i++) slots[i].count = 0;
  for (;;) {
    const uint8_t *start = at;
    WireField wire;
    if (!wire_next(&at, end, &wire)) return found;
    const Field *field = schema_field_by_number(type, wire.number);
    if (field == NULL) continue;
    Slot *slot = &slots[field->index];
    if (field->oneof != NULL) drop_others(field->oneof, slots);
    if (slot->count++ == 0) {
      slot->first = start;
      found++;
    }
    slot->last = wire;
  }
}

bool read_is_set(const Field *field, const WireField *value) {
  if (field->presence || field->repeated) return true;
  switch (field->type) {
  case FIELD_STRING:
  case FIELD_BYTES: return value->len > 0;
  case FIELD_MESSAGE: return true;
  case FIELD_DOUBLE: return wire_fixed64(value->data) != 0;
  case FIELD_FLOAT: return wire_fixed32(value->data) != 0;
  default: return read_integer(field, value) != 0;
  }
}

Instant read_instant(const MessageType *type, const uint8_t *bytes, size_t len) {
  const uint8_t *end = bytes + len;
  Instant instant = { 0, 0 };
  WireField wire;
  while (wire_next(&bytes, end, &wire)) {
    if (wire.number == 1) instant.seconds = read_integer(&type->fields[0], &wire);
    if (wire.number == 2) instant.nanos = (int32_t)read_integer(&type->fields[1], &wire);
  }
  return instant;
}
