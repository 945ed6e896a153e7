/*
 * A TCP forwarder: it stands before a port of this machine and knows nothing of what goes through it. It makes the
 * faults of a wire: bytes that vanish, delay, little bandwidth, resets, ends in the middle, refused connects.
 *
 * One thread of its own per forwarder moves the bytes; the Lua thread only changes its settings, and each change is in
 * effect when its function returns.
 */
#ifndef WGTWO_FORWARDER_H
#define WGTWO_FORWARDER_H

#include <lua.h>

/* Functions for the `core` table on top of the stack. */
void forwarder_register(lua_State *L);

#endif
