/* The protobuf-c descriptor of a message type, and where each field stands in the struct that it describes.
 *
 * The struct: protobuf-c's header, a case per oneof, then the values (members of a oneof share one place, as protobuf-c
 * wants it), then has-flags. Every singular field is described as optional with a has-flag, so that the encoder decides
 * what is sent, and strings as bytes, which have a length. message_init is NULL: protobuf-c then clears the struct by
 * itself. */

#include <string.h>

#include "schema_build.h"

static ProtobufCType protobuf_c_type(FieldType type) {
  switch (type) {
  case FIELD_DOUBLE: return PROTOBUF_C_TYPE_DOUBLE;
  case FIELD_FLOAT: return PROTOBUF_C_TYPE_FLOAT;
  case FIELD_INT64: return PROTOBUF_C_TYPE_INT64;
  case FIELD_UINT64: return PROTOBUF_C_TYPE_UINT64;
  case FIELD_INT32: return PROTOBUF_C_TYPE_INT32;
  case FIELD_FIXED64: return PROTOBUF_C_TYPE_FIXED64;
  case FIELD_FIXED32: return PROTOBUF_C_TYPE_FIXED32;
  case FIELD_BOOL: return PROTOBUF_C_TYPE_BOOL;
  case FIELD_MESSAGE: return PROTOBUF_C_TYPE_MESSAGE;
  case FIELD_UINT32: return PROTOBUF_C_TYPE_UINT32;
  case FIELD_ENUM: return PROTOBUF_C_TYPE_ENUM;
  case FIELD_SFIXED32: return PROTOBUF_C_TYPE_SFIXED32;
  case FIELD_SFIXED64: return PROTOBUF_C_TYPE_SFIXED64;
  case FIELD_SINT32: return PROTOBUF_C_TYPE_SINT32;
  case FIELD_SINT64: return PROTOBUF_C_TYPE_SINT64;
  case FIELD_STRING:
  case FIELD_BYTES: break;
  }
  return PROTOBUF_C_TYPE_BYTES;
}

static size_t value_size(const Field *field) {
  if (field->repeated) return sizeof(void *);
  return field->type == FIELD_STRING || field->type == FIELD_BYTES ? sizeof(ProtobufCBinaryData) : 8;
}

/* Sets offsets and quantifiers; returns the size of the struct. */
static size_t place_fields(const MessageType *type, Field *fields) {
  size_t size = sizeof(ProtobufCMessage);
  Oneof *oneofs = (Oneof *)type->oneofs;
  for (uint16_t i = 0; i < type->oneof_count; i++, size += sizeof(uint32_t)) oneofs[i].case_offset = (uint32_t)size;
  size = (size + 7) & ~(size_t)7;
  for (uint16_t i = 0; i < type->oneof_count; i++) {
    size_t widest = 0;
    for (uint16_t j = 0; j < oneofs[i].field_count; j++) {
      Field *member = &fields[oneofs[i].fields[j]->index];
      member->offset = (uint32_t)size;
      member->quantifier = oneofs[i].case_offset;
      if (value_size(member) > widest) widest = value_size(member);
    }
    size += widest;
  }
  for (uint16_t i = 0; i < type->field_count; i++) {
    if (fields[i].oneof != NULL) continue;
    if (fields[i].repeated) {
      fields[i].quantifier = (uint32_t)size;
      size += sizeof(size_t);
    }
    fields[i].offset = (uint32_t)size;
    size += value_size(&fields[i]);
  }
  for (uint16_t i = 0; i < type->field_count; i++) {
    if (fields[i].oneof != NULL || fields[i].repeated || fields[i].type == FIELD_MESSAGE) continue;
    fields[i].quantifier = (uint32_t)size;
    size += sizeof(protobuf_c_boolean);
  }
  return (size + 7) & ~(size_t)7;
}

static void describe_field(const Field *field, ProtobufCFieldDescriptor *out) {
  out->name = field->name;
  out->id = field->number;
  out->label = field->repeated ? PROTOBUF_C_LABEL_REPEATED : PROTOBUF_C_LABEL_OPTIONAL;
  out->type = protobuf_c_type(field->type);
  out->quantifier_offset = field->quantifier;
  out->offset = field->offset;
  if (field->packed) out->flags |= PROTOBUF_C_FIELD_FLAG_PACKED;
  if (field->oneof != NULL) out->flags |= PROTOBUF_C_FIELD_FLAG_ONEOF;
  if (field->type == FIELD_MESSAGE) out->descriptor = &field->message->descriptor;
  if (field->type == FIELD_ENUM) out->descriptor = &field->enumeration->descriptor;
}

/* The runs of consecutive numbers, ended by one that only tells the count. */
static bool make_ranges(Builder *b, MessageType *type) {
  unsigned count = 0;
  for (uint16_t i = 0; i < type->field_count; i++) {
    if (i == 0 || type->fields[i].number != type->fields[i - 1].number + 1) count++;
  }
  ProtobufCIntRange *ranges = build_alloc(b, count + 1, sizeof *ranges);
  if (ranges == NULL) return false;
  unsigned n = 0;
  for (uint16_t i = 0; i < type->field_count; i++) {
    if (i > 0 && type->fields[i].number == type->fields[i - 1].number + 1) continue;
    ranges[n].start_value = (int)type->fields[i].number;
    ranges[n++].orig_index = i;
  }
  ranges[n].orig_index = type->field_count;
  type->descriptor.n_field_ranges = count;
  type->descriptor.field_ranges = ranges;
  return true;
}

bool build_layout(Builder *b, MessageType *type, Field *fields) {
  ProtobufCMessageDescriptor *descriptor = &type->descriptor;
  const char *dot = strrchr(type->name, '.');
  descriptor->magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC;
  descriptor->name = descriptor->c_name = type->name;
  descriptor->short_name = dot != NULL ? dot + 1 : type->name;
  descriptor->package_name = "";
  descriptor->sizeof_message = place_fields(type, fields);
  descriptor->n_fields = type->field_count;
  if (type->field_count > 0) {
    ProtobufCFieldDescriptor *described = build_alloc(b, type->field_count, sizeof *described);
    if (described == NULL) return false;
    for (uint16_t i = 0; i < type->field_count; i++) describe_field(&fields[i], &described[i]);
    descriptor->fields = described;
  }
  return make_ranges(b, type);
}
