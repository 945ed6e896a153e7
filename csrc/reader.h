/*
 * Readers: a field deep inside of a message, read without making the messages on the way to it.
 */
#ifndef WGTWO_READER_H
#define WGTWO_READER_H

#include <lua.h>

/* Adds reader to the module table on top of the stack. */
void reader_register(lua_State *L);

#endif
