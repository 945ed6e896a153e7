/* Finding types, fields and enum values by name and by number. */

#include <stdlib.h>
#include <string.h>

#include "schema_build.h"

enum { DIRECT_NUMBERS = 64, MAX_METHOD_NAME = 512 };

/* -- Symbols: FNV-1a, since full names share their beginnings -- */

uint32_t symbol_hash(const char *name, size_t len) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < len; i++) hash = (hash ^ (uint8_t)name[i]) * 16777619u;
  return hash;
}

const Symbol *symbol_find(const Schema *schema, const char *name, size_t len) {
  uint32_t hash = symbol_hash(name, len);
  for (uint32_t place = hash & schema->symbol_mask;; place = (place + 1) & schema->symbol_mask) {
    const Symbol *symbol = &schema->symbols[place];
    if (symbol->kind == SYMBOL_NONE) return NULL;
    if (symbol->hash == hash && symbol->len == len && memcmp(symbol->name, name, len) == 0) return symbol;
  }
}

static const void *find_kind(const Schema *schema, const char *name, size_t len, SymbolKind kind) {
  const Symbol *symbol = symbol_find(schema, name, len);
  return symbol != NULL && symbol->kind == kind ? symbol->what : NULL;
}

const MessageType *schema_message(const Schema *schema, const char *name, size_t len) {
  return find_kind(schema, name, len, SYMBOL_MESSAGE);
}

const MessageType *schema_message_of_url(const Schema *schema, const char *url, size_t len) {
  size_t at = len;
  while (at > 0 && url[at - 1] != '/') at--;
  return at > 0 ? schema_message(schema, url + at, len - at) : NULL;
}

const EnumType *schema_enum(const Schema *schema, const char *name, size_t len) {
  return find_kind(schema, name, len, SYMBOL_ENUM);
}

const Service *schema_service(const Schema *schema, const char *name, size_t len) {
  return find_kind(schema, name, len, SYMBOL_SERVICE);
}

const Method *schema_method(const Schema *schema, const char *name, size_t len) {
  char dotted[MAX_METHOD_NAME];
  const char *slash = memchr(name, '/', len);
  if (slash == NULL || len > sizeof dotted) return find_kind(schema, name, len, SYMBOL_METHOD);
  memcpy(dotted, name, len);
  dotted[slash - name] = '.';
  return find_kind(schema, dotted, len, SYMBOL_METHOD);
}

/* -- Fields -- */

/* The first and the last eight bytes of a name; of a shorter one, what there is. */
static inline void name_ends(const char *name, size_t len, uint64_t *head, uint64_t *tail) {
  *head = *tail = 0;
  if (len >= 8) {
    memcpy(head, name, 8);
    memcpy(tail, name + len - 8, 8);
  } else if (len >= 4) {
    uint32_t word;
    memcpy(&word, name, 4);
    *head = word;
    memcpy(&word, name + len - 4, 4);
    *tail = word;
  } else if (len > 0) {
    *head = (uint64_t)(uint8_t)name[0] | (uint64_t)(uint8_t)name[len / 2] << 8 | (uint64_t)(uint8_t)name[len - 1] << 16;
  }
}

static inline uint32_t name_hash(uint64_t head, uint64_t tail, size_t len) {
  uint64_t hash = (head * 0x9E3779B97F4A7C15u) ^ ((tail + len) * 0xC2B2AE3D27D4EB4Fu);
  return (uint32_t)(hash >> 32 ^ hash >> 15);
}

static inline const Field *find_name(const FieldNames *names, const char *name, size_t len) {
  uint64_t head, tail;
  name_ends(name, len, &head, &tail);
  for (uint32_t at = name_hash(head, tail, len);; at++) {
    const NamePlace *place = &names->places[at & names->mask];
    if (place->field == NULL) return NULL;
    if (place->head != head || place->tail != tail || place->len != len) continue;
    if (len <= 16 || memcmp(place->name + 8, name + 8, len - 16) == 0) return place->field;
  }
}

const Field *schema_field(const MessageType *type, const char *name, size_t len) {
  return find_name(&type->names, name, len);
}

const Field *schema_field_by_json_name(const MessageType *type, const char *name, size_t len) {
  return find_name(&type->json_names, name, len);
}

const Field *schema_field_by_high_number(const MessageType *type, uint32_t number) {
  size_t low = 0, high = type->field_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (type->fields[middle].number == number) return &type->fields[middle];
    if (type->fields[middle].number < number)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

const Oneof *schema_oneof(const MessageType *type, const char *name, size_t len) {
  for (uint16_t i = 0; i < type->oneof_count; i++) {
    if (strlen(type->oneofs[i].name) == len && memcmp(type->oneofs[i].name, name, len) == 0) return &type->oneofs[i];
  }
  return NULL;
}

static bool make_places(Builder *b, FieldNames *names, size_t entries) {
  uint32_t places = 4;
  while (places < entries * 2) places *= 2;
  names->mask = places - 1;
  return (names->places = build_alloc(b, places, sizeof *names->places)) != NULL;
}

/* Adds a name unless it is there already, as another field's. */
static bool add_name(FieldNames *names, const Field *field, const char *name, size_t len) {
  const Field *found = find_name(names, name, len);
  if (found != NULL) return found == field;
  NamePlace added = { 0, 0, name, field, len };
  name_ends(name, len, &added.head, &added.tail);
  uint32_t at = name_hash(added.head, added.tail, len);
  while (names->places[at & names->mask].field != NULL) at++;
  names->places[at & names->mask] = added;
  return true;
}

bool build_names(Builder *b, MessageType *type) {
  uint32_t highest = type->field_count > 0 ? type->fields[type->field_count - 1].number : 0;
  type->direct = highest < DIRECT_NUMBERS ? highest + 1 : DIRECT_NUMBERS;
  type->by_number = build_alloc(b, type->direct, sizeof *type->by_number);
  if (type->by_number == NULL || !make_places(b, &type->names, type->field_count) ||
      !make_places(b, &type->json_names, 2 * (size_t)type->field_count)) {
    return false;
  }
  for (uint16_t i = 0; i < type->field_count; i++) {
    const Field *field = &type->fields[i];
    if (field->number < type->direct) type->by_number[field->number] = field;
    if (schema_field(type, field->name, field->name_len) != NULL ||
        !add_name(&type->names, field, field->name, field->name_len)) {
      return build_fail(b, "%s has two fields %s", type->name, field->name);
    }
    if (!add_name(&type->json_names, field, field->json_name, field->json_name_len)) {
      return build_fail(b, "%s has two fields that JSON calls %s", type->name, field->json_name);
    }
    if (!add_name(&type->json_names, field, field->name, field->name_len)) {
      return build_fail(b, "%s has two fields that JSON calls %s", type->name, field->name);
    }
  }
  return true;
}

/* -- Enum values -- */

/* -1, 0, 1 as the name of the value stands before, at or behind `name`. */
static int compare_name(const EnumValue *value, const char *name, size_t len) {
  int order = memcmp(value->name, name, value->name_len < len ? value->name_len : len);
  return order != 0 ? order : (value->name_len > len) - (value->name_len < len);
}

static int by_name(const void *left, const void *right) {
  const EnumValue *b = *(const EnumValue *const *)right;
  return compare_name(*(const EnumValue *const *)left, b->name, b->name_len);
}

/* Of equal numbers the first declared comes first. */
static int by_number(const void *left, const void *right) {
  const EnumValue *a = *(const EnumValue *const *)left, *b = *(const EnumValue *const *)right;
  if (a->number != b->number) return a->number < b->number ? -1 : 1;
  return (a > b) - (a < b);
}

bool build_enum_index(Builder *b, EnumType *type, EnumValue *values) {
  type->values = values;
  type->by_name = build_alloc(b, type->value_count + 1, sizeof *type->by_name);
  type->by_number = build_alloc(b, type->value_count + 1, sizeof *type->by_number);
  if (type->by_name == NULL || type->by_number == NULL) return false;
  for (uint32_t i = 0; i < type->value_count; i++) type->by_name[i] = type->by_number[i] = &values[i];
  qsort(type->by_name, type->value_count, sizeof *type->by_name, by_name);
  qsort(type->by_number, type->value_count, sizeof *type->by_number, by_number);
  for (uint32_t i = 0; i < type->value_count; i++) {
    if (i > 0 && strcmp(type->by_name[i - 1]->name, type->by_name[i]->name) == 0) {
      return build_fail(b, "%s has two values %s", type->name, type->by_name[i]->name);
    }
    if (i > 0 && type->by_number[i]->number == type->by_number[i - 1]->number) continue;
    type->by_number[type->number_count++] = type->by_number[i];
  }
  return true;
}

const EnumValue *schema_enum_value(const EnumType *type, int32_t number) {
  if (number >= 0 && (uint32_t)number < type->number_count && type->by_number[number]->number == number) {
    return type->by_number[number];
  }
  uint32_t low = 0, high = type->number_count;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (type->by_number[middle]->number == number) return type->by_number[middle];
    if (type->by_number[middle]->number < number)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

const EnumValue *schema_enum_value_by_name(const EnumType *type, const char *name, size_t len) {
  uint32_t low = 0, high = type->value_count;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    int order = compare_name(type->by_name[middle], name, len);
    if (order == 0) return type->by_name[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}
