/* The text side of JSON. */

#include "json_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "utf8.h"

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* A high bit in each byte that is below `n` (which is at most 128), or over 127. */
#define BELOW(word, n)  ((word)-EACH_BYTE(n))
#define EQUALS(word, c) (((word) ^ EACH_BYTE(c)) - EACH_BYTE(1))

/* Characters of the leading run that stand in JSON as they are, in steps of eight. A byte may be taken for a special
 * one because of its lower neighbour, never the other way; the caller looks at it again. */
static size_t plain_run(const char *text, size_t len) {
  size_t at = 0;
  while (len - at >= 8) {
    uint64_t word;
    memcpy(&word, text + at, 8);
    if ((word | BELOW(word, ' ') | EQUALS(word, '"') | EQUALS(word, '\\')) & EACH_BYTE(0x80)) break;
    at += 8;
  }
  return at;
}

static void put_escaped(JsonText *json, unsigned char c) {
  static const char *const short_forms[] = {
    ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\"
  };
  if (short_forms[c] != NULL) {
    json_put(json, short_forms[c], 2);
    return;
  }
  char text[8];
  snprintf(text, sizeof text, "\\u%04x", c);
  json_put(json, text, 6);
}

/* One character, whatever it is. Returns its bytes. */
static size_t put_character(JsonText *json, const char *text, size_t len) {
  unsigned char c = (unsigned char)*text;
  if (c < ' ' || c == '"' || c == '\\') {
    put_escaped(json, c);
    return 1;
  }
  size_t size = utf8_character(text, len);
  if (size > 0)
    json_put(json, text, size);
  else
    json_put(json, "\xEF\xBF\xBD", 3);
  return size > 0 ? size : 1;
}

void json_put_string(JsonText *json, const char *text, size_t len) {
  json_put(json, "\"", 1);
  size_t at = 0;
  while (at < len) {
    size_t plain = plain_run(text + at, len - at);
    json_put(json, text + at, plain);
    at += plain;
    for (size_t last = at + 8; at < len && at < last;) at += put_character(json, text + at, len - at);
  }
  json_put(json, "\"", 1);
}

void json_put_unsigned(JsonText *json, uint64_t value) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  json_put(json, digits + at, sizeof digits - at);
}

void json_put_integer(JsonText *json, int64_t value) {
  if (value < 0) json_put(json, "-", 1);
  json_put_unsigned(json, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* snprintf writes the decimal point of the process's locale. */
static void put_formatted(JsonText *json, char *text, int len) {
  for (int i = 0; i < len; i++) {
    bool known = (text[i] >= '0' && text[i] <= '9') || text[i] == '-' || text[i] == '+' || text[i] == 'e';
    if (!known) text[i] = '.';
  }
  json_put(json, text, (size_t)len);
}

bool json_put_double(JsonText *json, double value) {
  char text[32];
  int len = 0;
  if (!isfinite(value)) return false;
  if (value == 0 && signbit(value)) { /* "-0" would be read as the integer 0 */
    json_put(json, "-0.0", 4);
    return true;
  }
  for (int digits = 15; digits <= 17; digits++) {
    len = snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  put_formatted(json, text, len);
  return true;
}

bool json_put_float(JsonText *json, float value) {
  char text[32];
  int len = 0;
  if (!isfinite(value) || value == 0) return json_put_double(json, (double)value);
  for (int digits = 6; digits <= 9; digits++) {
    len = snprintf(text, sizeof text, "%.*g", digits, (double)value);
    if (strtof(text, NULL) == value) break;
  }
  put_formatted(json, text, len);
  return true;
}

void json_put_base64(JsonText *json, const uint8_t *bytes, size_t len) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  json_put(json, "\"", 1);
  for (size_t i = 0; i < len; i += 3) {
    size_t left = len - i;
    uint32_t group =
        (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
    char text[4] = { digits[group >> 18], digits[group >> 12 & 63], '=', '=' };
    if (left > 1) text[2] = digits[group >> 6 & 63];
    if (left > 2) text[3] = digits[group & 63];
    json_put(json, text, 4);
  }
  json_put(json, "\"", 1);
}

static void new_line(JsonText *json) {
  static const char spaces[] = "                                ";
  json_put(json, "\n", 1);
  for (size_t left = (size_t)json->indent * json->level; left > 0;) {
    size_t some = left < sizeof spaces - 1 ? left : sizeof spaces - 1;
    json_put(json, spaces, some);
    left -= some;
  }
}

void json_open(JsonText *json, char bracket) {
  json_put(json, &bracket, 1);
  json->level++;
}

void json_next(JsonText *json, bool *empty) {
  if (!*empty) json_put(json, ",", 1);
  *empty = false;
  if (json->indent > 0) new_line(json);
}

void json_close(JsonText *json, char bracket, bool empty) {
  json->level--;
  if (!empty && json->indent > 0) new_line(json);
  json_put(json, &bracket, 1);
}
