/*
 * One call that a client makes, seen from the server.
 *
 * The I/O thread reads ahead into a bounded inbox and drains a bounded outbox, one batch of each direction at a time;
 * the Lua thread takes messages from the one and puts replies into the other. GRPC_OP_RECV_CLOSE_ON_SERVER is
 * outstanding for the whole call, so that a cancellation is noticed while nothing else happens. gRPC's part is let go
 * as soon as the last batch has returned, whether or not Lua still holds the call, since a server cannot end before.
 */
#ifndef WGTWO_SERVER_CALL_H
#define WGTWO_SERVER_CALL_H

#include <grpc/grpc.h>
#include <lua.h>

#include "loop.h"

typedef struct ServerCall ServerCall;

/*
 * Starts to read what the client sends. Takes over call and, emptying it, metadata; the caller owns the result. NULL
 * when memory is short: the call was cancelled then. I/O thread.
 */
ServerCall *server_call_begin(Loop *loop, grpc_call *call, grpc_slice path, gpr_timespec deadline,
                              grpc_metadata_array *metadata);
/*
 * The same for a call whose only message has come with it, which is taken over as well. NULL: it ended without one.
 * Nothing is outstanding in gRPC until its answer, or until somebody waits for its end: most are answered before.
 */
ServerCall *server_call_begin_with(Loop *loop, grpc_call *call, grpc_slice path, gpr_timespec deadline,
                                   grpc_metadata_array *metadata, grpc_byte_buffer *message);

/* Gives up the caller's share of a call that Lua has not seen, which ends with UNAVAILABLE. Any thread. */
void server_call_refuse(ServerCall *call);

/* Pushes a closed userdata, the one at `spare` where that can be used again, which server_call_show fills with a call,
 * taking over the caller's share. Lua thread. */
Op **server_call_userdata(lua_State *L, int spare);
void server_call_show(lua_State *L, Op **box, ServerCall *call);

void server_call_register(lua_State *L);

#endif
