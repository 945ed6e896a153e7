/*
 * HTTP headers as a Lua table {lower-case name = value}. Lua thread.
 */
#ifndef WGTWO_HEADER_TABLE_H
#define WGTWO_HEADER_TABLE_H

#include <lua.h>
#include <stddef.h>

/* Adds a header to the table on top of the stack; a name that is there already gets both values, with ", " between. */
void header_table_add(lua_State *L, const char *name, size_t name_length, const char *value, size_t length);

#endif
