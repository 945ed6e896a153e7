/* What the schema knows, as Lua tables and texts. Lua thread only. */

#ifndef WGTWO_SCHEMA_DESCRIBE_H
#define WGTWO_SCHEMA_DESCRIBE_H

#include "schema.h"

/* Pushes the description of a message, enum, service or method, or nil when the schema has no such name. */
void schema_describe(lua_State *L, const Schema *schema, const char *name, size_t len);

/* Pushes the description of one method. */
void schema_describe_method(lua_State *L, const Method *method);

/* Pushes a table from full names to the comments in front of them (messages, fields, oneofs, enums, values, services,
 * methods as "pkg.Service.Method" and "pkg.Service/Method"). Empty when the set has no source information. */
void schema_push_documentation(lua_State *L, const uint8_t *set, size_t len);

#endif
