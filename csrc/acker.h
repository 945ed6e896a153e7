/*
 * An acker: pipelined small unary calls to one method, which only need attention when they fail.
 *
 * The Lua thread starts the calls; the I/O thread holds each answer against the bytes that mean success and counts it,
 * and puts anything else into a list for Lua. So an acknowledgement that works costs the Lua thread nothing after its
 * start, and goes on while a handler computes. The number in flight is bounded by `limit`, and so is the list.
 */
#ifndef WGTWO_ACKER_H
#define WGTWO_ACKER_H

#include <lua.h>

/* Functions for the `core` table on top of the stack. */
void acker_register(lua_State *L);

#endif
