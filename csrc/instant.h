/* Timestamps and durations: ranges, numbers, and proto3's JSON texts. No Lua, any thread. */

#ifndef WGTWO_INSTANT_H
#define WGTWO_INSTANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a Timestamp: since 1970, nanos always forward. Of a Duration: both of one sign. */
typedef struct Instant {
  int64_t seconds;
  int32_t nanos;
} Instant;

enum { INSTANT_TEXT = 48 }; /* room for any text that is formatted here, with its NUL */

/* Years 1 to 9999; 0 to 999,999,999 nanos. */
bool instant_is_timestamp(Instant instant);

/* 10,000 years either way; nanos of the seconds' sign. */
bool instant_is_duration(Instant instant);

/* From seconds with a fraction. From 2^23 s on a double has no exact nanoseconds, and the fraction is rounded to
 * microseconds. False for what is no number or out of the range of int64. The result may still be out of the type's
 * range. */
bool instant_from_seconds(double seconds, bool duration, Instant *instant);

/* "1972-01-01T10:00:20.021Z", with Z or an offset; up to nine decimals. */
bool instant_parse_timestamp(const char *text, size_t len, Instant *instant);
/* "-3.5s"; up to nine decimals. */
bool instant_parse_duration(const char *text, size_t len, Instant *instant);

/* Write the text of a value in range with 0, 3, 6 or 9 decimals; return its length. */
size_t instant_format_timestamp(Instant instant, char text[INSTANT_TEXT]);
size_t instant_format_duration(Instant instant, char text[INSTANT_TEXT]);

#endif
