/*
 * An inbox: the received messages of one stream on their way from the I/O thread to the Lua thread.
 *
 * A chain of blocks. The I/O thread appends to the last one, and says how far it has come; the Lua thread reads up to
 * there, and frees the blocks behind it. Neither waits for the other. It is bounded by bytes: a stream whose inbox is
 * full is parked, which means that nobody reads from it, so that HTTP/2's flow control holds the peer back, until the
 * Lua thread goes on to what has come in.
 */
#ifndef WGTWO_INBOX_H
#define WGTWO_INBOX_H

#include <grpc/byte_buffer.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { INBOX_BYTES = 256 * 1024 }; /* one message more is let in when it is passed */

typedef struct InboxBlock InboxBlock;

enum { CACHE_LINE = 64 }; /* bytes apart, two threads do not slow each other down */

typedef struct Inbox {
  InboxBlock *last;            /* I/O thread */
  size_t put;                  /* bytes so far; I/O thread */
  _Atomic(InboxBlock *) first; /* the very first block */
  atomic_size_t claimed;       /* of put, how far the Lua thread has gone on */
  atomic_bool parked;          /* whoever sets it to false sees that the stream is read again */
  char apart[CACHE_LINE];
  InboxBlock *reading;    /* Lua thread, as all below */
  size_t taken, readable; /* in reading: where the next message begins, and where those end that are known */
  size_t count;           /* messages taken so far */
} Inbox;

void inbox_init(Inbox *inbox);
/* When neither thread uses it any more. */
void inbox_destroy(Inbox *inbox);

typedef enum InboxState { INBOX_OPEN, INBOX_FULL, INBOX_NO_MEMORY } InboxState;

/*
 * Adds a copy of message. INBOX_FULL: it is in, the stream is parked now, do not read on. I/O thread.
 */
InboxState inbox_put(Inbox *inbox, grpc_byte_buffer *message);

/*
 * The next message, which stays; its bytes are good until the next look after it was taken. NULL when there is none.
 * Sets *unparked when the stream was parked and is to be read again, by the caller. Lua thread.
 */
const unsigned char *inbox_peek(Inbox *inbox, size_t *length, bool *unparked);

/* Takes out the message of that length, which inbox_peek has shown. Lua thread. */
void inbox_take(Inbox *inbox, size_t length);

/* The bytes of message, copied to where there is room for grpc_byte_buffer_length. */
void byte_buffer_copy(grpc_byte_buffer *message, unsigned char *to);

#endif
