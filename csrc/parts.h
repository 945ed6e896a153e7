/*
 * A message in parts, as arguments of a Lua function: a string stands for itself, an integer for its varint. So what is
 * made of many small pieces needs no string for each. Lua thread.
 */
#ifndef WGTWO_PARTS_H
#define WGTWO_PARTS_H

#include <lua.h>
#include <stddef.h>

/* The length of the arguments from `first` to `last`. Raises for anything else; runs no finalizer. */
size_t parts_check(lua_State *L, int first, int last);
/* Writes them, one after the other, after parts_check. */
void parts_write(lua_State *L, int first, int last, unsigned char *to);

/* Functions for the `core` table on top of the stack. */
void parts_register(lua_State *L);

#endif
