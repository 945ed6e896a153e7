/* The fields and oneofs of one message type.
 *
 * A proto3 `optional` field stands in a oneof of its own in the set; that oneof is left out here and the field has
 * presence instead. proto2's `required` is kept as a mark: sending checks it, reading does not. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema_build.h"
#include "utf8.h"
#include "wire.h"

enum { MAX_FIELDS = 8192, MAX_NUMBER = 536870911 };

#define LABEL(name) GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_##name

static uint8_t wire_type_of(FieldType type) {
  switch (type) {
  case FIELD_DOUBLE:
  case FIELD_FIXED64:
  case FIELD_SFIXED64: return WIRE_64BIT;
  case FIELD_FLOAT:
  case FIELD_FIXED32:
  case FIELD_SFIXED32: return WIRE_32BIT;
  case FIELD_STRING:
  case FIELD_BYTES:
  case FIELD_MESSAGE: return WIRE_BYTES;
  default: return WIRE_VARINT;
  }
}

/* -- Defaults of proto2 -- */

/* Undoes C escapes, as protoc writes the default of a bytes field. The result is never longer than the text. */
static size_t unescape(const char *text, char *out) {
  static const char plain[] = "abfnrtv\\'\"?", meant[] = "\a\b\f\n\r\t\v\\'\"?";
  size_t len = 0;
  for (const char *c = text; *c != '\0';) {
    if (*c != '\\' || c[1] == '\0') {
      out[len++] = *c++;
      continue;
    }
    c++;
    if (*c >= '0' && *c <= '7') {
      int code = 0;
      for (int i = 0; i < 3 && *c >= '0' && *c <= '7'; i++) code = code * 8 + (*c++ - '0');
      out[len++] = (char)code;
    } else if (*c == 'x' || *c == 'X') {
      char *end;
      char digits[3] = { c[1], c[1] != '\0' ? c[2] : '\0', '\0' };
      out[len++] = (char)strtoul(digits, &end, 16);
      c += 1 + (end - digits);
    } else {
      const char *escape = strchr(plain, *c);
      out[len++] = escape != NULL ? meant[escape - plain] : *c;
      c++;
    }
  }
  return len;
}

static bool set_number_default(Field *field, const char *text) {
  char *end;
  errno = 0;
  switch (field->type) {
  case FIELD_DOUBLE:
  case FIELD_FLOAT: field->default_value.number = strtod(text, &end); break;
  case FIELD_UINT64:
  case FIELD_FIXED64: field->default_value.integer = (int64_t)strtoull(text, &end, 0); break;
  default: field->default_value.integer = strtoll(text, &end, 0); break;
  }
  return end != text && *end == '\0' && (errno == 0 || field->type == FIELD_DOUBLE || field->type == FIELD_FLOAT);
}

static bool set_default(Builder *b, const MessageType *type, Field *field, const char *text) {
  bool valid = true;
  if (field->repeated || field->type == FIELD_MESSAGE) {
    valid = text == NULL;
  } else if (field->type == FIELD_STRING || field->type == FIELD_BYTES) {
    size_t len = text != NULL ? strlen(text) : 0;
    char *copy = (char *)build_text(b, text != NULL ? text : "", len);
    if (copy == NULL) return false;
    field->default_len = field->type == FIELD_BYTES && text != NULL ? unescape(text, copy) : len;
    field->default_text = copy;
  } else if (field->type == FIELD_ENUM) {
    const EnumValue *value = field->enumeration->value_count > 0 ? &field->enumeration->values[0] : NULL;
    if (text != NULL) value = schema_enum_value_by_name(field->enumeration, text, strlen(text));
    valid = text == NULL || value != NULL;
    field->default_value.integer = value != NULL ? value->number : 0;
  } else if (field->type == FIELD_BOOL) {
    field->default_value.integer = text != NULL && strcmp(text, "true") == 0;
  } else if (text != NULL) {
    valid = set_number_default(field, text);
  }
  return valid || build_fail(b, "%s.%s: '%s' is no default for it", type->name, field->name, text);
}

/* -- Names -- */

/* What JSON calls a field that says nothing else: underscores go, and the letter behind one is raised. */
static const char *camel_case(Builder *b, const char *name) {
  char *out = build_alloc(b, strlen(name) + 1, 1);
  if (out == NULL) return NULL;
  char *at = out;
  bool raise = false;
  for (; *name != '\0'; name++) {
    if (*name == '_') {
      raise = true;
      continue;
    }
    *at++ = raise && *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name;
    raise = false;
  }
  return out;
}

/* The name quoted and with its colon, ready to be written. */
static const char *json_key(Builder *b, const char *name, uint32_t *len) {
  size_t name_len = strlen(name);
  char *key = build_alloc(b, name_len + 4, 1);
  if (key == NULL) return NULL;
  key[0] = '"';
  memcpy(key + 1, name, name_len);
  memcpy(key + 1 + name_len, "\":", 2);
  *len = (uint32_t)name_len + 3;
  return key;
}

static bool set_names(Builder *b, const MessageType *type, Field *field, const FieldProto *proto) {
  if (!build_check_name(b, proto->name, type->name)) return false;
  field->name_len = (uint32_t)strlen(proto->name);
  field->name = build_text(b, proto->name, field->name_len);
  if (field->name == NULL) return false;
  if (proto->json_name != NULL) {
    size_t len = strlen(proto->json_name);
    if (!utf8_is_valid(proto->json_name, len) || strpbrk(proto->json_name, "\"\\") != NULL) {
      return build_fail(b, "%s.%s: '%s' is no valid JSON name", type->name, field->name, proto->json_name);
    }
    for (size_t i = 0; i < len; i++) {
      if ((unsigned char)proto->json_name[i] < ' ') {
        return build_fail(b, "%s.%s: '%s' is no valid JSON name", type->name, field->name, proto->json_name);
      }
    }
    field->json_name = build_text(b, proto->json_name, len);
  } else {
    field->json_name = camel_case(b, field->name);
  }
  if (field->json_name == NULL) return false;
  field->json_name_len = (uint32_t)strlen(field->json_name);
  return (field->json_key = json_key(b, field->json_name, &field->json_key_len)) != NULL &&
         (field->proto_key = json_key(b, field->name, &field->proto_key_len)) != NULL;
}

/* -- Fields -- */

static bool set_type(Builder *b, const MessageType *type, Field *field, const FieldProto *proto) {
  bool named = proto->type_name != NULL && proto->type_name[0] != '\0';
  if (!named && (!proto->has_type || (int)proto->type < FIELD_DOUBLE || (int)proto->type > FIELD_SINT64)) {
    return build_fail(b, "%s.%s has no valid type", type->name, field->name);
  }
  field->type = (FieldType)proto->type;
  if (proto->has_type && proto->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_GROUP) {
    return build_fail(b, "%s.%s is a group, which is not supported", type->name, field->name);
  }
  bool wants_name = !proto->has_type || field->type == FIELD_MESSAGE || field->type == FIELD_ENUM;
  if (wants_name) {
    char user[SCHEMA_ERROR_SIZE / 2];
    snprintf(user, sizeof user, "%s.%s", type->name, field->name);
    const Symbol *symbol = build_resolve(b, proto->type_name, user);
    if (symbol == NULL) return false;
    FieldType found = symbol->kind == SYMBOL_MESSAGE ? FIELD_MESSAGE : FIELD_ENUM;
    if (proto->has_type && found != field->type) {
      return build_fail(b, "%s: %s is no %s", user, proto->type_name, field->type == FIELD_ENUM ? "enum" : "message");
    }
    field->type = found;
    if (found == FIELD_MESSAGE)
      field->message = symbol->what;
    else
      field->enumeration = symbol->what;
  } else if (named) {
    return build_fail(b, "%s.%s has a type name and a type without one", type->name, field->name);
  }
  field->wire_type = wire_type_of(field->type);
  return true;
}

static bool set_field(Builder *b, const MessageType *type, Field *field, const FieldProto *proto, bool proto3) {
  if (!set_names(b, type, field, proto)) return false;
  if (!proto->has_number || proto->number < 1 || proto->number > MAX_NUMBER) {
    return build_fail(b, "%s.%s: %d is no valid field number", type->name, field->name, (int)proto->number);
  }
  field->number = (uint32_t)proto->number;
  if (!set_type(b, type, field, proto)) return false;
  field->repeated = proto->has_label && proto->label == LABEL(REPEATED);
  field->required = proto->has_label && proto->label == LABEL(REQUIRED);
  field->map = field->type == FIELD_MESSAGE && field->message->map_entry;
  if (field->map && !field->repeated) {
    return build_fail(b, "%s.%s: a map entry outside of a map", type->name, field->name);
  }
  if (field->repeated && field->wire_type != WIRE_BYTES) {
    bool said = proto->options != NULL && proto->options->has_packed;
    field->packed = said ? proto->options->packed : proto3;
  }
  field->proto3_optional = proto->proto3_optional && !field->repeated && proto->has_oneof_index;
  field->presence = !field->repeated && (!proto3 || field->proto3_optional || proto->has_oneof_index ||
                                         type->map_entry || field->type == FIELD_MESSAGE);
  return set_default(b, type, field, proto->default_value);
}

static int compare_numbers(const void *left, const void *right) {
  uint32_t a = ((const Field *)left)->number, b = ((const Field *)right)->number;
  return (a > b) - (a < b);
}

/* A map entry is made by protoc; one that is not as protoc makes it would be read as something it is not. */
static bool check_map_entry(Builder *b, const MessageType *type) {
  bool valid = type->field_count == 2 && type->fields[0].number == 1 && type->fields[1].number == 2 &&
               !type->fields[0].repeated && !type->fields[1].repeated && type->oneof_count == 0;
  if (valid) {
    FieldType key = type->fields[0].type;
    valid =
        key != FIELD_DOUBLE && key != FIELD_FLOAT && key != FIELD_BYTES && key != FIELD_MESSAGE && key != FIELD_ENUM;
  }
  return valid || build_fail(b, "%s is no valid map entry", type->name);
}

/* -- Oneofs -- */

/* Makes the oneofs that are not the hidden one of an optional field. `numbered[i]` becomes the oneof that the set
 * numbers i. */
static bool make_oneofs(Builder *b, MessageType *type, const MessageProto *proto, Oneof **numbered) {
  uint16_t *members = build_alloc(b, proto->n_oneof_decl + 1, sizeof *members);
  bool *hidden = build_alloc(b, proto->n_oneof_decl + 1, sizeof *hidden);
  Oneof *oneofs = build_alloc(b, proto->n_oneof_decl + 1, sizeof *oneofs);
  if (members == NULL || hidden == NULL || oneofs == NULL) return false;
  for (size_t i = 0; i < proto->n_field; i++) {
    const FieldProto *field = proto->field[i];
    if (!field->has_oneof_index) continue;
    if (field->oneof_index < 0 || (size_t)field->oneof_index >= proto->n_oneof_decl) {
      return build_fail(b, "%s: a field is in oneof %d of %zu", type->name, (int)field->oneof_index,
                        proto->n_oneof_decl);
    }
    if (field->has_label && field->label != LABEL(OPTIONAL)) {
      return build_fail(b, "%s: a repeated or required field is in a oneof", type->name);
    }
    members[field->oneof_index]++;
    hidden[field->oneof_index] |= field->proto3_optional;
  }
  for (size_t i = 0; i < proto->n_oneof_decl; i++) {
    if (!build_check_name(b, proto->oneof_decl[i]->name, type->name)) return false;
    if (hidden[i] && members[i] > 1) return build_fail(b, "%s: an optional field shares a oneof", type->name);
    if (hidden[i] || members[i] == 0) continue;
    Oneof *oneof = &oneofs[type->oneof_count];
    oneof->name = build_text(b, proto->oneof_decl[i]->name, strlen(proto->oneof_decl[i]->name));
    oneof->fields = build_alloc(b, members[i], sizeof *oneof->fields);
    if (oneof->name == NULL || oneof->fields == NULL) return false;
    oneof->owner = type;
    oneof->index = type->oneof_count++;
    numbered[i] = oneof;
  }
  type->oneofs = oneofs;
  return true;
}

bool build_fields(Builder *b, MessageType *type, const MessageProto *proto, bool proto3) {
  if (proto->n_field > MAX_FIELDS || proto->n_oneof_decl > MAX_FIELDS) {
    return build_fail(b, "%s has more than %d fields", type->name, (int)MAX_FIELDS);
  }
  Field *fields = build_alloc(b, proto->n_field + 1, sizeof *fields);
  Oneof **numbered = build_alloc(b, proto->n_oneof_decl + 1, sizeof(Oneof *));
  type->declared = build_alloc(b, proto->n_field + 1, sizeof *type->declared);
  if (fields == NULL || numbered == NULL || type->declared == NULL) return false;
  if (!make_oneofs(b, type, proto, numbered)) return false;
  for (size_t i = 0; i < proto->n_field; i++) {
    if (!set_field(b, type, &fields[i], proto->field[i], proto3)) return false;
    if (proto->field[i]->has_oneof_index) fields[i].oneof = numbered[proto->field[i]->oneof_index];
  }
  type->fields = fields;
  type->field_count = (uint16_t)proto->n_field;
  qsort(fields, type->field_count, sizeof *fields, compare_numbers);
  for (uint16_t i = 0; i < type->field_count; i++) {
    if (i > 0 && fields[i - 1].number == fields[i].number) {
      return build_fail(b, "%s: %s and %s have the number %u", type->name, fields[i - 1].name, fields[i].name,
                        (unsigned)fields[i].number);
    }
    fields[i].index = i;
    type->has_required |= fields[i].required;
    if (fields[i].oneof != NULL) {
      Oneof *oneof = (Oneof *)fields[i].oneof;
      oneof->fields[oneof->field_count++] = &fields[i];
    }
  }
  if (!build_names(b, type)) return false;
  for (size_t i = 0; i < proto->n_field; i++) {
    type->declared[i] = schema_field(type, proto->field[i]->name, strlen(proto->field[i]->name));
  }
  return (!type->map_entry || check_map_entry(b, type)) && build_layout(b, type, fields);
}
