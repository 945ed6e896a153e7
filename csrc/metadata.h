/*
 * Metadata: the key-value pairs before and after a call's messages.
 *
 * In Lua a list of {key, value} pairs, in C an immutable list with a count of its owners, since every call in flight
 * needs its pairs until its tag has come back, and the calls of one acknowledger share theirs.
 */
#ifndef WGTWO_METADATA_H
#define WGTWO_METADATA_H

#include <grpc/grpc.h>
#include <lua.h>
#include <stdatomic.h>

typedef struct Metadata {
  atomic_int owners;
  size_t count;
  grpc_metadata pairs[];
} Metadata;

/* From the list at arg (nil: NULL). Raises, naming the key, for what HTTP/2 forbids. The caller owns the result. Lua
 * thread. */
Metadata *metadata_from_lua(lua_State *L, int arg);
/* NULL is allowed. Any thread. */
Metadata *metadata_own(Metadata *metadata);
void metadata_release(Metadata *metadata);

/* gRPC only lends what is in an array that it has filled, until its call ends: these keep it for longer. Any thread. */
void metadata_array_own(const grpc_metadata_array *array);
void metadata_array_release(grpc_metadata_array *array);

/* Pushes a list of {key, value}, received pairs. */
void metadata_push(lua_State *L, const grpc_metadata_array *array);

#endif
