#include "inbox.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

/* Blocks grow with the traffic, so that a quiet stream has a small one. A larger message has a block of its own. */
enum { FIRST_BLOCK = 256, LARGEST_BLOCK = 64 * 1024 };

struct InboxBlock {
  _Atomic(InboxBlock *) next; /* set when nothing more is put into this one */
  atomic_size_t used;
  size_t capacity;
  unsigned char bytes[]; /* length, message, length, message … */
};

void inbox_init(Inbox *inbox) {
  memset(inbox, 0, sizeof *inbox);
  atomic_init(&inbox->first, NULL);
  atomic_init(&inbox->claimed, 0);
  atomic_init(&inbox->parked, false);
}

void inbox_destroy(Inbox *inbox) {
  InboxBlock *block = inbox->reading != NULL ? inbox->reading : atomic_load(&inbox->first);
  while (block != NULL) {
    InboxBlock *next = atomic_load(&block->next);
    free(block);
    block = next;
  }
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

/* I/O thread */

static bool append_block(Inbox *inbox, size_t capacity) {
  InboxBlock *block = malloc(sizeof *block + capacity);
  if (block == NULL) return false;
  atomic_init(&block->next, NULL);
  atomic_init(&block->used, 0);
  block->capacity = capacity;
  atomic_store_explicit(inbox->last != NULL ? &inbox->last->next : &inbox->first, block, memory_order_release);
  inbox->last = block;
  return true;
}

static bool make_room(Inbox *inbox, size_t more) {
  const InboxBlock *last = inbox->last;
  if (last != NULL && last->capacity - atomic_load_explicit(&last->used, memory_order_relaxed) >= more) return true;
  size_t capacity = last == NULL ? FIRST_BLOCK : 2 * last->capacity;
  if (capacity > LARGEST_BLOCK) capacity = LARGEST_BLOCK;
  return append_block(inbox, more > capacity ? more : capacity);
}

/* Parks the stream, unless the Lua thread has gone on to the rest meanwhile. */
static InboxState park(Inbox *inbox) {
  atomic_store(&inbox->parked, true);
  if (inbox->put - atomic_load(&inbox->claimed) >= INBOX_BYTES) return INBOX_FULL;
  return atomic_exchange(&inbox->parked, false) ? INBOX_OPEN : INBOX_FULL;
}

InboxState inbox_put(Inbox *inbox, grpc_byte_buffer *message) {
  size_t length = grpc_byte_buffer_length(message), size = sizeof length + length;
  if (!make_room(inbox, size)) return INBOX_NO_MEMORY;
  InboxBlock *block = inbox->last;
  size_t used = atomic_load_explicit(&block->used, memory_order_relaxed);
  memcpy(block->bytes + used, &length, sizeof length);
  byte_buffer_copy(message, block->bytes + used + sizeof length);
  atomic_store_explicit(&block->used, used + size, memory_order_release);
  inbox->put += size;
  if (block->capacity > LARGEST_BLOCK)
    append_block(inbox, FIRST_BLOCK); /* so that it is freed without waiting for more */
  if (inbox->put - atomic_load_explicit(&inbox->claimed, memory_order_relaxed) < INBOX_BYTES) return INBOX_OPEN;
  return park(inbox);
}

/* Lua thread */

/* Goes on to what was put into the present block, or into the next one. False: nothing was. */
static bool read_on(Inbox *inbox) {
  for (;;) {
    InboxBlock *block = inbox->reading, *next;
    if (block != NULL) {
      next = atomic_load_explicit(&block->next, memory_order_acquire); /* before used, which is final then */
      inbox->readable = atomic_load_explicit(&block->used, memory_order_acquire);
      if (inbox->readable > inbox->taken) return true;
    } else {
      next = atomic_load_explicit(&inbox->first, memory_order_acquire);
    }
    if (next == NULL) return false;
    free(block);
    inbox->reading = next;
    inbox->taken = inbox->readable = 0;
  }
}

/* Claims what is readable now. Returns whether that ends the parking. */
static bool claim(Inbox *inbox) {
  atomic_fetch_add(&inbox->claimed, inbox->readable - inbox->taken);
  return atomic_load(&inbox->parked) && atomic_exchange(&inbox->parked, false);
}

const unsigned char *inbox_peek(Inbox *inbox, size_t *length, bool *unparked) {
  *unparked = false;
  if (inbox->taken == inbox->readable) {
    if (!read_on(inbox)) return NULL;
    *unparked = claim(inbox);
  }
  const unsigned char *at = inbox->reading->bytes + inbox->taken;
  memcpy(length, at, sizeof *length);
  return at + sizeof *length;
}

void inbox_take(Inbox *inbox, size_t length) {
  inbox->taken += sizeof length + length;
  inbox->count++;
}
