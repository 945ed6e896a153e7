/*
 * A channel: connections to one target, with TLS or in plaintext. Lua thread; calls keep the channel they were made on
 * alive.
 */
#ifndef WGTWO_CHANNEL_H
#define WGTWO_CHANNEL_H

#include <grpc/grpc.h>

#include "loop.h"

typedef struct Channel {
  Op op;
  grpc_channel *grpc;
} Channel;

/* The open channel at arg; raises otherwise. */
Channel *channel_check(lua_State *L, int arg);

void channel_register(lua_State *L);

#endif
