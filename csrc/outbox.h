/*
 * An outbox: encoded messages of one call that wait to be sent, bounded by count and bytes. Its owner guards it with a
 * lock.
 */
#ifndef WGTWO_OUTBOX_H
#define WGTWO_OUTBOX_H

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct OutboxItem OutboxItem;

typedef struct Outbox {
  OutboxItem *first, *last;
  size_t count, bytes;
} Outbox;

/* Full: nothing more should be put. Low: enough has left to tell a writer that waits. */
bool outbox_is_full(const Outbox *outbox);
bool outbox_is_low(const Outbox *outbox);

/* Takes over message, of length bytes. False: memory is short, and message is destroyed. */
bool outbox_put(Outbox *outbox, grpc_byte_buffer *message, size_t length);
/* The oldest message, which the caller owns then; the outbox must not be empty. */
grpc_byte_buffer *outbox_pop(Outbox *outbox);
void outbox_clear(Outbox *outbox);

#endif
