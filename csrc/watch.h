/*
 * core.watch(fd): an operation that has news while a descriptor can be read. core.watch_signal(number): one that has
 * news when a signal has come. core.read(fd, n): what is there, without waiting. Lua thread. The descriptor stays the
 * caller's.
 */
#ifndef WGTWO_WATCH_H
#define WGTWO_WATCH_H

#include <lua.h>

/* Functions for the `core` table on top of the stack. */
void watch_register(lua_State *L);

#endif
