/*
 * Channels that were let go while they connect.
 *
 * gRPC (seen in 1.51) forgets a connection for ever when its channel is destroyed between the end of the handshake and
 * the server's first frame. So a channel that is connecting is kept until that has ended either way, for a short while
 * at most: an attempt that takes longer is one that fails, and then nothing is forgotten.
 */
#ifndef WGTWO_LINGER_H
#define WGTWO_LINGER_H

#include <grpc/grpc.h>

#include "loop.h"

/* Destroys channel, now or when it has ended to connect. Takes it over; any thread, while the loop's queue runs. */
void linger_destroy_channel(Loop *loop, grpc_channel *channel);

/* Destroys what is still kept: the loop ends. Lua thread, before the queue is shut down. */
void linger_end(const Loop *loop);

#endif
