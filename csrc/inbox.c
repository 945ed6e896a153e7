#include "inbox.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 4096 };

void inbox_init(Inbox *inbox) {
  memset(inbox, 0, sizeof *inbox);
  pthread_mutex_init(&inbox->lock, NULL);
}

void inbox_destroy(Inbox *inbox) {
  free(inbox->filling.bytes);
  free(inbox->emptying.bytes);
  pthread_mutex_destroy(&inbox->lock);
}

void byte_buffer_copy(grpc_byte_buffer *message, unsigned char *to) {
  grpc_byte_buffer_reader reader;
  grpc_slice *slice;
  grpc_byte_buffer_reader_init(&reader, message);
  while (grpc_byte_buffer_reader_peek(&reader, &slice)) {
    memcpy(to, GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
    to += GRPC_SLICE_LENGTH(*slice);
  }
  grpc_byte_buffer_reader_destroy(&reader);
}

static bool make_room(InboxBuffer *buffer, size_t more) {
  size_t capacity = buffer->capacity > 0 ? buffer->capacity : FIRST_CAPACITY;
  if (buffer->capacity - buffer->used >= more) return true;
  while (capacity - buffer->used < more) capacity *= 2;
  unsigned char *bytes = realloc(buffer->bytes, capacity);
  if (bytes == NULL) return false;
  buffer->bytes = bytes;
  buffer->capacity = capacity;
  return true;
}

InboxState inbox_put(Inbox *inbox, grpc_byte_buffer *message) {
  size_t length = grpc_byte_buffer_length(message);
  InboxState state = INBOX_NO_MEMORY;
  pthread_mutex_lock(&inbox->lock);
  InboxBuffer *buffer = &inbox->filling;
  if (make_room(buffer, sizeof length + length)) {
    memcpy(buffer->bytes + buffer->used, &length, sizeof length);
    byte_buffer_copy(message, buffer->bytes + buffer->used + sizeof length);
    buffer->used += sizeof length + length;
    inbox->parked = buffer->used >= INBOX_BYTES;
    state = inbox->parked ? INBOX_FULL : INBOX_OPEN;
  }
  pthread_mutex_unlock(&inbox->lock);
  return state;
}

/* Nothing is left in buffer: a large one goes back, so that a stream that has been busy once does not hold it for ever.
 */
static void reset(InboxBuffer *buffer) {
  buffer->used = buffer->taken = 0;
  if (buffer->capacity <= 2 * INBOX_BYTES) return;
  free(buffer->bytes);
  buffer->bytes = NULL;
  buffer->capacity = 0;
}

const unsigned char *inbox_take(Inbox *inbox, size_t *length, bool *unparked) {
  InboxBuffer *buffer = &inbox->emptying;
  *unparked = false;
  if (buffer->taken == buffer->used) {
    reset(buffer);
    pthread_mutex_lock(&inbox->lock);
    InboxBuffer full = inbox->filling;
    inbox->filling = *buffer;
    *buffer = full;
    *unparked = inbox->parked;
    inbox->parked = false;
    pthread_mutex_unlock(&inbox->lock);
    if (buffer->used == 0) return NULL;
  }
  memcpy(length, buffer->bytes + buffer->taken, sizeof *length);
  const unsigned char *message = buffer->bytes + buffer->taken + sizeof *length;
  buffer->taken += sizeof *length + *length;
  return message;
}
