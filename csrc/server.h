/*
 * A gRPC server: ports, and the calls that arrive at them. It ends on the same loop as everything else.
 *
 * A fixed number of requests is outstanding in gRPC: for calls of the methods that are expected, which it hands out
 * together with their message, and for those of any other, which start to be read on the I/O thread. A call waits in a
 * bounded list until Lua takes it. While the list is full no further requests are made, and gRPC keeps the newcomers.
 */
#ifndef WGTWO_SERVER_H
#define WGTWO_SERVER_H

#include <lua.h>

/* Functions for the `core` table on top of the stack. */
void server_register(lua_State *L);

#endif
