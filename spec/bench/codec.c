/*
 * codec MESSAGE_FILE N SET_FILE: what one message of wgtwo.events.v0 takes, with code that protoc-c generates, and with
 * the lazy reader of this rock's core, without Lua.
 *
 * Prints "unpack=NS pack=NS read=NS": unpack and free; size and pack into a buffer that is there already; copy, check
 * and read three nested fields.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "csrc/read.h"
#include "wgtwo/events/v0/events.pb-c.h"

typedef Wgtwo__Events__V0__SubscribeEventsResponse Response;

static double nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "codec: %s\n", what);
  exit(1);
}

static size_t read_file(const char *path, uint8_t *to, size_t size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) die(path);
  size_t length = fread(to, 1, size, file);
  fclose(file);
  return length;
}

/* protobuf-c */

static Response *unpack(size_t length, const uint8_t *bytes) {
  Response *message = wgtwo__events__v0__subscribe_events_response__unpack(NULL, length, bytes);
  if (message == NULL) die("not a SubscribeEventsResponse");
  return message;
}

static double unpack_many(long n, size_t length, const uint8_t *bytes) {
  double begun = nanoseconds();
  for (long i = 0; i < n; i++) wgtwo__events__v0__subscribe_events_response__free_unpacked(unpack(length, bytes), NULL);
  return (nanoseconds() - begun) / (double)n;
}

static double pack_many(long n, size_t length, const uint8_t *bytes) {
  static uint8_t packed[1 << 16];
  Response *message = unpack(length, bytes);
  size_t size = 0;
  double begun = nanoseconds();
  for (long i = 0; i < n; i++) {
    size = wgtwo__events__v0__subscribe_events_response__get_packed_size(message);
    size = wgtwo__events__v0__subscribe_events_response__pack(message, packed);
  }
  double end = nanoseconds();
  wgtwo__events__v0__subscribe_events_response__free_unpacked(message, NULL);
  if (size != length || memcmp(bytes, packed, size) != 0) fprintf(stderr, "codec: packed to other bytes\n");
  return (end - begun) / (double)n;
}

/* The lazy reader: event.sms_event.text, event.sms_event.from_e164.e164, event.owner.phone_number.e164 */

static const struct Step {
  int from; /* the step that gave the message; -1: the whole */
  const char *name;
} steps[] = { { -1, "event" }, { 0, "sms_event" }, { 1, "text" },         { 1, "from_e164" },
              { 3, "e164" },   { 0, "owner" },     { 5, "phone_number" }, { 6, "e164" } };
enum { STEPS = sizeof steps / sizeof steps[0] };

static const MessageType *type_of(const MessageType *whole, const Field *const fields[STEPS], int step) {
  return step < 0 ? whole : fields[step]->message;
}

/* How many of them are there. */
static size_t read_fields(const MessageType *type, const Field *const fields[STEPS], const uint8_t *bytes,
                          size_t length) {
  WireField values[STEPS];
  uint32_t count;
  size_t found = 0;
  for (int i = 0; i < STEPS; i++) {
    int from = steps[i].from;
    const WireField whole = { .data = bytes, .len = length }, *in = from < 0 ? &whole : &values[from];
    found += read_field(type_of(type, fields, from), in->data, in->len, fields[i], &values[i], &count);
  }
  return found;
}

static double read_many(long n, size_t length, const uint8_t *bytes, const char *set_file) {
  static uint8_t set[1 << 20];
  static const char type_name[] = "wgtwo.events.v0.SubscribeEventsResponse";
  char error[SCHEMA_ERROR_SIZE];
  Schema *schema = schema_build(set, read_file(set_file, set, sizeof set), error);
  if (schema == NULL) die(error);
  const MessageType *type = schema_message(schema, type_name, sizeof type_name - 1);
  const Field *fields[STEPS] = { NULL };
  for (int i = 0; i < STEPS; i++)
    fields[i] = schema_field(type_of(type, fields, steps[i].from), steps[i].name, strlen(steps[i].name));
  size_t seen = 0;
  double begun = nanoseconds();
  for (long i = 0; i < n; i++) {
    uint8_t *copy = malloc(length);
    if (copy == NULL) die("no memory");
    memcpy(copy, bytes, length);
    if (wire_check(type, copy, length) != NULL) die("the message is not valid");
    seen += read_fields(type, fields, copy, length);
    free(copy);
  }
  double end = nanoseconds();
  if (seen != (size_t)n * STEPS) die("a field was not read");
  return (end - begun) / (double)n;
}

int main(int argc, char **argv) {
  static uint8_t bytes[1 << 16];
  if (argc != 4) {
    fprintf(stderr, "usage: codec MESSAGE_FILE N SET_FILE\n");
    return 2;
  }
  size_t length = read_file(argv[1], bytes, sizeof bytes);
  long n = atol(argv[2]);
  double unpacked = unpack_many(n, length, bytes), packed = pack_many(n, length, bytes);
  printf("unpack=%.1f pack=%.1f read=%.1f\n", unpacked, packed, read_many(n, length, bytes, argv[3]));
  return 0;
}
