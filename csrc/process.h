/*
 * A child process as an operation: it has news when the child has ended. core.spawn. Lua thread.
 *
 * The child's standard input and output lead here; it gets an empty signal mask, and none of this process's other
 * descriptors. Closing ends it: its input is closed first, then it gets SIGTERM, then SIGKILL; it is always waited for.
 */
#ifndef WGTWO_PROCESS_H
#define WGTWO_PROCESS_H

#include <lua.h>

/* Functions for the `core` table on top of the stack. */
void process_register(lua_State *L);

#endif
