/*
 * codec MESSAGE_FILE N: what protobuf-c takes for one message of wgtwo.events.v0, with code that protoc-c generates.
 *
 * Prints "unpack=NS pack=NS": unpack and free; size and pack into a buffer that is there already.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wgtwo/events/v0/events.pb-c.h"

typedef Wgtwo__Events__V0__SubscribeEventsResponse Response;

static double nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static Response *unpack(size_t length, const uint8_t *bytes) {
  Response *message = wgtwo__events__v0__subscribe_events_response__unpack(NULL, length, bytes);
  if (message != NULL) return message;
  fprintf(stderr, "codec: not a SubscribeEventsResponse\n");
  exit(1);
}

int main(int argc, char **argv) {
  static uint8_t bytes[1 << 16], packed[1 << 16];
  FILE *file = argc == 3 ? fopen(argv[1], "rb") : NULL;
  if (file == NULL) {
    fprintf(stderr, "usage: codec MESSAGE_FILE N\n");
    return 2;
  }
  size_t length = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  long n = atol(argv[2]);

  double begun = nanoseconds();
  for (long i = 0; i < n; i++) wgtwo__events__v0__subscribe_events_response__free_unpacked(unpack(length, bytes), NULL);
  double unpacked = nanoseconds();
  Response *message = unpack(length, bytes);
  double start = nanoseconds();
  size_t size = 0;
  for (long i = 0; i < n; i++) {
    size = wgtwo__events__v0__subscribe_events_response__get_packed_size(message);
    size = wgtwo__events__v0__subscribe_events_response__pack(message, packed);
  }
  double end = nanoseconds();
  wgtwo__events__v0__subscribe_events_response__free_unpacked(message, NULL);
  if (size != length || memcmp(bytes, packed, size) != 0) fprintf(stderr, "codec: packed to other bytes\n");
  printf("unpack=%.1f pack=%.1f\n", (unpacked - begun) / (double)n, (end - start) / (double)n);
  return 0;
}
