/*
 * An acker: pipelined small unary calls to one method, which only need attention when they fail.
 *
 * Each answer is held against the bytes that mean success and counted on the I/O thread; anything else comes to Lua. So
 * an acknowledgement that works costs the Lua thread nothing after its start, and goes on while a handler computes. The
 * number in flight is bounded by `limit`, that of all by `limit` and `queue` together.
 */
#ifndef WGTWO_ACKER_H
#define WGTWO_ACKER_H

#include <lua.h>

/* Functions for the `core` table on top of the stack. */
void acker_register(lua_State *L);

#endif
