/* Validation of UTF-8, eight ASCII characters at a time. */

#include "utf8.h"

#include <stdint.h>
#include <string.h>

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Whether the eight bytes are all 1 to 127. A NUL may borrow from its neighbour, which then looks wrong too. */
static inline bool is_plain_word(const char *text) {
  uint64_t word;
  memcpy(&word, text, 8);
  return (((word - EACH_BYTE(1)) | word) & EACH_BYTE(0x80)) == 0;
}

/* Characters of a leading run without NUL and without bytes over 127, eight at a time; all of them when the whole is
 * such a run. */
static size_t plain_run(const char *text, size_t len) {
  size_t at = 0;
  if (len < 8) {
    while (at < len && (signed char)text[at] > 0) at++;
    return at;
  }
  while (len - at >= 8) {
    if (!is_plain_word(text + at)) return at;
    at += 8;
  }
  return is_plain_word(text + len - 8) ? len : at;
}

static bool continues(unsigned char c) { return (c & 0xC0) == 0x80; }

size_t utf8_character(const char *text, size_t len) {
  const unsigned char *c = (const unsigned char *)text;
  if (len == 0) return 0;
  if (c[0] < 0x80) return 1;
  if (c[0] >= 0xC2 && c[0] <= 0xDF) return len >= 2 && continues(c[1]) ? 2 : 0;
  if ((c[0] & 0xF0) == 0xE0) {
    if (len < 3 || !continues(c[1]) || !continues(c[2])) return 0;
    if (c[0] == 0xE0 && c[1] < 0xA0) return 0;   /* overlong */
    return c[0] == 0xED && c[1] >= 0xA0 ? 0 : 3; /* surrogates */
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

bool utf8_is_valid(const char *text, size_t len) { return validate(text, len, true); }

bool utf8_is_text(const char *text, size_t len) { return validate(text, len, false); }
