/* Validation of UTF-8, eight ASCII characters at a time. */

#include "utf8.h"

#include <stdint.h>
#include <string.h>

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Characters of the leading run without a byte over 127 and without NUL, in steps of eight. */
static size_t plain_run(const char *text, size_t len) {
  size_t at = 0;
  while (len - at >= 8) {
    uint64_t word;
    memcpy(&word, text + at, 8);
    if (((word - EACH_BYTE(1)) | word) & EACH_BYTE(0x80)) break; /* over 127, or a NUL borrowed from its neighbour */
    at += 8;
  }
  return at;
}

static bool continues(unsigned char c) {
  return (c & 0xC0) == 0x80;
}

size_t utf8_character(const char *text, size_t len) {
  const unsigned char *c = (const unsigned char *)text;
  if (len == 0) return 0;
  if (c[0] < 0x80) return 1;
  if (c[0] >= 0xC2 && c[0] <= 0xDF) return len >= 2 && continues(c[1]) ? 2 : 0;
  if ((c[0] & 0xF0) == 0xE0) {
    if (len < 3 || !continues(c[1]) || !continues(c[2])) return 0;
    if (c[0] == 0xE0 && c[1] < 0xA0) return 0;                 /* overlong */
    return c[0] == 0xED && c[1] >= 0xA0 ? 0 : 3;               /* surrogates */
  }
  if (c[0] < 0xF0 || c[0] > 0xF4) return 0;
  if (len < 4 || !continues(c[1]) || !continues(c[2]) || !continues(c[3])) return 0;
  if (c[0] == 0xF0 && c[1] < 0x90) return 0;
  return c[0] == 0xF4 && c[1] >= 0x90 ? 0 : 4;
}

static bool validate(const char *text, size_t len, bool nul_allowed) {
  size_t at = 0;
  while (at < len) {
    at += plain_run(text + at, len - at);
    for (size_t last = at + 8; at < len && at < last;) {
      size_t size = utf8_character(text + at, len - at);
      if (size == 0 || (text[at] == '\0' && !nul_allowed)) return false;
      at += size;
    }
  }
  return true;
}

bool utf8_is_valid(const char *text, size_t len) {
  return validate(text, len, true);
}

bool utf8_is_text(const char *text, size_t len) {
  return validate(text, len, false);
}
