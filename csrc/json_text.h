/* JSON as text: strings, numbers, braces and indentation, into a scratch's text. What is written first in a container
 * and what is not, the writer knows. No Lua; running out of memory is remembered and everything after it ignored. */

#ifndef WGTWO_JSON_TEXT_H
#define WGTWO_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scratch.h"

typedef struct JsonText {
  Scratch *out;
  unsigned indent; /* spaces a level; 0: one line */
  unsigned level;
  bool failed; /* no memory */
} JsonText;

static inline void json_put(JsonText *json, const char *text, size_t len) {
  if (!scratch_append(json->out, text, len)) json->failed = true;
}

/* A string, quoted and escaped. Bytes that are no UTF-8 become U+FFFD. */
void json_put_string(JsonText *json, const char *text, size_t len);

void json_put_integer(JsonText *json, int64_t value);
void json_put_unsigned(JsonText *json, uint64_t value);

/* Few digits that read back as the same number; false for NaN and the infinities, which JSON does not have. */
bool json_put_double(JsonText *json, double value);
bool json_put_float(JsonText *json, float value);

/* Standard base64 with padding, quoted. */
void json_put_base64(JsonText *json, const uint8_t *bytes, size_t len);

/* A container: open, then json_next before each item, then close. `empty` starts as true. */
void json_open(JsonText *json, char bracket);
void json_next(JsonText *json, bool *empty);
void json_close(JsonText *json, char bracket, bool empty);

/* A key that is quoted and has its colon. */
static inline void json_put_key(JsonText *json, const char *key, size_t len) {
  json_put(json, key, len);
  if (json->indent > 0) json_put(json, " ", 1);
}

#endif
