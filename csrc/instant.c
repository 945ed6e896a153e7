/* Timestamps and durations as texts and numbers. Days are counted in the proleptic Gregorian calendar, in years that
 * start in March, so that the leap day is a year's last. */

#include "instant.h"

#include <math.h>
#include <stdio.h>

enum { DAY = 86400, ERA_DAYS = 146097, DAYS_TO_1970 = 719468, BILLION = 1000000000 };

static const int64_t first_second = -62135596800, last_second = 253402300799;
static const int64_t longest_duration = 315576000000;

bool instant_is_timestamp(Instant instant) {
  return instant.seconds >= first_second && instant.seconds <= last_second && instant.nanos >= 0 &&
         instant.nanos < BILLION;
}

bool instant_is_duration(Instant instant) {
  if (instant.seconds < -longest_duration || instant.seconds > longest_duration) return false;
  if (instant.nanos <= -BILLION || instant.nanos >= BILLION) return false;
  return !(instant.seconds > 0 && instant.nanos < 0) && !(instant.seconds < 0 && instant.nanos > 0);
}

bool instant_from_seconds(double seconds, bool duration, Instant *instant) {
  static const double exact = 8388608, int64_end = 9223372036854775808.0;
  if (!(seconds > -int64_end && seconds < int64_end)) return false;
  double whole = floor(seconds);
  double fraction = seconds - whole;
  int64_t nanos = fabs(seconds) < exact ? llround(fraction * 1e9) : llround(fraction * 1e6) * 1000;
  int64_t count = (int64_t)whole;
  if (nanos == BILLION) {
    count++;
    nanos = 0;
  }
  if (duration && count < 0 && nanos > 0) {
    count++;
    nanos -= BILLION;
  }
  *instant = (Instant){ count, (int32_t)nanos };
  return true;
}

/* -- Reading -- */

typedef struct Cursor {
  const char *at, *end;
} Cursor;

static bool take(Cursor *cursor, char wanted) {
  if (cursor->at == cursor->end || *cursor->at != wanted) return false;
  cursor->at++;
  return true;
}

/* Exactly `digits` digits. */
static bool take_digits(Cursor *cursor, int digits, int *value) {
  *value = 0;
  for (int i = 0; i < digits; i++, cursor->at++) {
    if (cursor->at == cursor->end || *cursor->at < '0' || *cursor->at > '9') return false;
    *value = *value * 10 + (*cursor->at - '0');
  }
  return true;
}

/* One to nine decimals behind a point, or nothing. */
static bool take_fraction(Cursor *cursor, int32_t *nanos) {
  *nanos = 0;
  if (!take(cursor, '.')) return true;
  int digits = 0;
  for (; cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9'; cursor->at++) {
    if (++digits > 9) return false;
    *nanos = *nanos * 10 + (*cursor->at - '0');
  }
  for (int i = digits; i < 9; i++) *nanos *= 10;
  return digits > 0;
}

static int days_of_month(int year, int month) {
  static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : days[month - 1];
}

static int64_t days_since_1970(int year, int month, int day) {
  int64_t y = month <= 2 ? year - 1 : year;
  int64_t era = y / 400; /* years are 0 or more here */
  int64_t year_of_era = y - era * 400;
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - DAYS_TO_1970;
}

static bool take_offset(Cursor *cursor, int *seconds) {
  int hours, minutes, sign = 1;
  *seconds = 0;
  if (take(cursor, 'Z')) return true;
  if (take(cursor, '-'))
    sign = -1;
  else if (!take(cursor, '+'))
    return false;
  if (!take_digits(cursor, 2, &hours) || !take(cursor, ':') || !take_digits(cursor, 2, &minutes)) return false;
  *seconds = sign * (hours * 3600 + minutes * 60);
  return hours < 24 && minutes < 60;
}

bool instant_parse_timestamp(const char *text, size_t len, Instant *instant) {
  Cursor cursor = { text, text + len };
  int year, month, day, hour, minute, second, offset;
  bool read = take_digits(&cursor, 4, &year) && take(&cursor, '-') && take_digits(&cursor, 2, &month) &&
              take(&cursor, '-') && take_digits(&cursor, 2, &day) && take(&cursor, 'T') &&
              take_digits(&cursor, 2, &hour) && take(&cursor, ':') && take_digits(&cursor, 2, &minute) &&
              take(&cursor, ':') && take_digits(&cursor, 2, &second) && take_fraction(&cursor, &instant->nanos) &&
              take_offset(&cursor, &offset) && cursor.at == cursor.end;
  if (!read || year < 1 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month)) return false;
  if (hour > 23 || minute > 59 || second > 59) return false;
  instant->seconds = days_since_1970(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
  return instant_is_timestamp(*instant);
}

bool instant_parse_duration(const char *text, size_t len, Instant *instant) {
  Cursor cursor = { text, text + len };
  bool negative = take(&cursor, '-');
  int digits = 0;
  instant->seconds = 0;
  for (; cursor.at < cursor.end && *cursor.at >= '0' && *cursor.at <= '9'; cursor.at++) {
    if (++digits > 12) return false;
    instant->seconds = instant->seconds * 10 + (*cursor.at - '0');
  }
  if (digits == 0 || !take_fraction(&cursor, &instant->nanos) || !take(&cursor, 's') || cursor.at != cursor.end)
    return false;
  if (negative) *instant = (Instant){ -instant->seconds, -instant->nanos };
  return instant_is_duration(*instant);
}

/* -- Writing -- */

static char *put_digits(char *at, uint64_t value, int digits) {
  for (int i = digits - 1; i >= 0; i--, value /= 10) at[i] = (char)('0' + value % 10);
  return at + digits;
}

static char *put_fraction(char *at, int32_t nanos) {
  if (nanos == 0) return at;
  *at++ = '.';
  if (nanos % 1000000 == 0) return put_digits(at, (uint64_t)nanos / 1000000, 3);
  if (nanos % 1000 == 0) return put_digits(at, (uint64_t)nanos / 1000, 6);
  return put_digits(at, (uint64_t)nanos, 9);
}

size_t instant_format_timestamp(Instant instant, char text[INSTANT_TEXT]) {
  int64_t days =
      (instant.seconds - first_second) / DAY + (first_second / DAY + DAYS_TO_1970); /* since March of year 0 */
  int64_t rest = (instant.seconds - first_second) % DAY;
  int64_t era = days / ERA_DAYS, day_of_era = days % ERA_DAYS;
  int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t shifted = (5 * day_of_year + 2) / 153; /* month, March being 0 */
  int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
  int64_t year = year_of_era + era * 400 + (month <= 2);
  char *at = put_digits(text, (uint64_t)year, 4);
  *at++ = '-';
  at = put_digits(at, (uint64_t)month, 2);
  *at++ = '-';
  at = put_digits(at, (uint64_t)(day_of_year - (153 * shifted + 2) / 5 + 1), 2);
  *at++ = 'T';
  at = put_digits(at, (uint64_t)(rest / 3600), 2);
  *at++ = ':';
  at = put_digits(at, (uint64_t)(rest / 60 % 60), 2);
  *at++ = ':';
  at = put_digits(at, (uint64_t)(rest % 60), 2);
  at = put_fraction(at, instant.nanos);
  *at++ = 'Z';
  *at = '\0';
  return (size_t)(at - text);
}

size_t instant_format_duration(Instant instant, char text[INSTANT_TEXT]) {
  bool negative = instant.seconds < 0 || instant.nanos < 0;
  int64_t seconds = negative ? -instant.seconds : instant.seconds;
  int written = snprintf(text, INSTANT_TEXT, "%s%lld", negative ? "-" : "", (long long)seconds);
  char *at = put_fraction(text + written, negative ? -instant.nanos : instant.nanos);
  *at++ = 's';
  *at = '\0';
  return (size_t)(at - text);
}
