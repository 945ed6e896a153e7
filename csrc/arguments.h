/*
 * gRPC's arguments of a channel or a server, from a Lua table.
 */
#ifndef WGTWO_ARGUMENTS_H
#define WGTWO_ARGUMENTS_H

#include <grpc/grpc.h>
#include <lua.h>

/* Room for a list of arguments. */
enum { MAX_ARGUMENTS = 32 };

void set_string_argument(grpc_arg *arg, const char *key, const char *value);

/*
 * Appends what the table at index (nothing for nil) has by name, integers and strings, to the `count` that are there;
 * returns how many there are now. Strings stay the table's. Raises, in the name of `where`, for what gRPC cannot take:
 * its integers have 32 bits.
 */
size_t read_arguments(lua_State *L, int index, const char *where, grpc_arg args[MAX_ARGUMENTS], size_t count);

#endif
