/*
 * An inbox: the received messages of one stream on their way from the I/O thread to the Lua thread.
 *
 * Two buffers: the I/O thread fills one under the lock, the Lua thread empties the other alone, and takes the full one
 * when its own is empty: a lock per batch on one side, an uncontended one per message on the other, and no memory while
 * nothing is under way. It is bounded by bytes. A stream whose inbox is full is parked: nobody reads from it, so that
 * HTTP/2's flow control holds the peer back, until the Lua thread has emptied a batch.
 */
#ifndef WGTWO_INBOX_H
#define WGTWO_INBOX_H

#include <grpc/byte_buffer.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum { INBOX_BYTES = 256 * 1024 }; /* one message more is let in when it is passed */

typedef struct InboxBuffer {
  unsigned char *bytes; /* length, message, length, message … */
  size_t used, capacity, taken;
} InboxBuffer;

typedef struct Inbox {
  pthread_mutex_t lock;
  InboxBuffer filling;  /* guarded by lock */
  bool parked;          /* guarded by lock */
  InboxBuffer emptying; /* Lua thread */
} Inbox;

void inbox_init(Inbox *inbox);
void inbox_destroy(Inbox *inbox);

typedef enum InboxState { INBOX_OPEN, INBOX_FULL, INBOX_NO_MEMORY } InboxState;

/*
 * Adds a copy of message. INBOX_FULL: it is in, the stream is parked now, do not read on. I/O thread, or the Lua thread
 * while the stream is parked.
 */
InboxState inbox_put(Inbox *inbox, grpc_byte_buffer *message);

/*
 * The next message, valid until the next call; NULL when there is none. Sets *unparked when the stream was parked and
 * is to be read again, by the caller. Lua thread.
 */
const unsigned char *inbox_take(Inbox *inbox, size_t *length, bool *unparked);

/* The bytes of message, copied to where there is room for grpc_byte_buffer_length. */
void byte_buffer_copy(grpc_byte_buffer *message, unsigned char *to);

#endif
