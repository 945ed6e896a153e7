/* What an error says behind a name that a type does not have: the nearest one that it has, or all of them. */

#include <stdio.h>
#include <string.h>

#include "schema.h"

enum { MAX_NEAR = 64, MAX_LISTED = 8 };

/* The names of a type, in the order of the .proto file. */
typedef struct Names {
  const void *type;
  uint32_t count;
  const char *(*at)(const void *type, uint32_t i);
} Names;

static const char *field_name(const void *type, uint32_t i) { return ((const MessageType *)type)->declared[i]->name; }

static const char *oneof_name(const void *type, uint32_t i) { return ((const MessageType *)type)->oneofs[i].name; }

static const char *value_name(const void *type, uint32_t i) { return ((const EnumType *)type)->values[i].name; }

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* Insertions, deletions and changes between two names, their case aside. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len) {
  size_t row[MAX_NEAR + 1];
  if (a_len > MAX_NEAR || b_len > MAX_NEAR) return SIZE_MAX;
  for (size_t j = 0; j <= b_len; j++) row[j] = j;
  for (size_t i = 1; i <= a_len; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b_len; j++) {
      size_t changed = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
      diagonal = row[j];
      row[j] = least(changed, least(row[j], row[j - 1]) + 1);
    }
  }
  return row[b_len];
}

/* NULL when nothing is near: when more than half of the longer name is different. */
static const char *nearest(Names names, const char *name, size_t len) {
  const char *found = NULL;
  size_t best = SIZE_MAX;
  for (uint32_t i = 0; i < names.count; i++) {
    const char *other = names.at(names.type, i);
    size_t other_len = strlen(other), far = distance(name, len, other, other_len);
    if (far >= best || far * 2 > (len > other_len ? len : other_len)) continue;
    best = far;
    found = other;
  }
  return found;
}

/* The first names; "…" stands for those that are too many or too long. */
static void list(Names names, char hint[SCHEMA_HINT_SIZE]) {
  static const char more[] = ", …";
  size_t at = (size_t)snprintf(hint, SCHEMA_HINT_SIZE, " (it has: "), room = SCHEMA_HINT_SIZE - sizeof more - 1;
  uint32_t i = 0;
  for (; i < names.count && i < MAX_LISTED; i++) {
    const char *name = names.at(names.type, i);
    if (at + strlen(name) + 2 > room) break;
    at += (size_t)snprintf(hint + at, SCHEMA_HINT_SIZE - at, "%s%s", i > 0 ? ", " : "", name);
  }
  snprintf(hint + at, SCHEMA_HINT_SIZE - at, "%s)", i == names.count ? "" : i > 0 ? more : more + 2);
}

static const char *describe(Names names, const char *name, size_t len, char hint[SCHEMA_HINT_SIZE]) {
  const char *near = nearest(names, name, len);
  if (near != NULL)
    snprintf(hint, SCHEMA_HINT_SIZE, " (did you mean '%s'?)", near);
  else if (names.count > 0)
    list(names, hint);
  else
    snprintf(hint, SCHEMA_HINT_SIZE, " (it has none)");
  return hint;
}

const char *schema_hint_field(const MessageType *type, const char *name, size_t len, char hint[SCHEMA_HINT_SIZE]) {
  return describe((Names){ type, type->field_count, field_name }, name, len, hint);
}

const char *schema_hint_oneof(const MessageType *type, const char *name, size_t len, char hint[SCHEMA_HINT_SIZE]) {
  return describe((Names){ type, type->oneof_count, oneof_name }, name, len, hint);
}

const char *schema_hint_enum_value(const EnumType *type, const char *name, size_t len, char hint[SCHEMA_HINT_SIZE]) {
  return describe((Names){ type, type->value_count, value_name }, name, len, hint);
}
