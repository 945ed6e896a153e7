/* UTF-8: is it valid, does it hold a NUL. */

#ifndef WGTWO_UTF8_H
#define WGTWO_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the bytes are valid UTF-8: no overlong forms, no surrogates, nothing over U+10FFFF. NUL is valid. */
bool utf8_is_valid(const char *text, size_t len);

/* The same, and without NUL. */
bool utf8_is_text(const char *text, size_t len);

/* Bytes of the valid character at the start of `text`; 0 when there is none. */
size_t utf8_character(const char *text, size_t len);

#endif
