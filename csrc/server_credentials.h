/* How a server proves who it is. Lua thread. */
#ifndef WGTWO_SERVER_CREDENTIALS_H
#define WGTWO_SERVER_CREDENTIALS_H

#include <lua.h>

#include "probes.h"
#if HAVE_GRPC_CREDENTIALS_H
#include <grpc/credentials.h>
#endif
#include <grpc/grpc_security.h>

/* From what server:listen is given at arg, {cert =, key =, client_ca =} or nothing for plaintext. The caller owns the
 * result; NULL: *reason says why. */
grpc_server_credentials *server_credentials(lua_State *L, int arg, const char **reason);

#endif
