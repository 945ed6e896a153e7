#include "server_credentials.h"

#include <lauxlib.h>
#include <stdbool.h>

#include "pem.h"

static const char *pem(lua_State *L, int arg, const char *name, bool required) {
  int type = lua_getfield(L, arg, name);
  if (type != LUA_TSTRING && (required || type != LUA_TNIL)) luaL_error(L, "server:listen: '%s' is a PEM string", name);
  const char *text = lua_tostring(L, -1);
  lua_pop(L, 1); /* still referenced by the table */
  return text;
}

grpc_server_credentials *server_credentials(lua_State *L, int arg, const char **reason) {
  if (lua_isnoneornil(L, arg)) return grpc_insecure_server_credentials_create();
  luaL_checktype(L, arg, LUA_TTABLE);
  grpc_ssl_pem_key_cert_pair pair = { pem(L, arg, "key", true), pem(L, arg, "cert", true) };
  const char *client_ca = pem(L, arg, "client_ca", false);
  *reason = pem_check(pair.cert_chain, pair.private_key);
  if (*reason == NULL && client_ca != NULL) *reason = pem_check(client_ca, NULL);
  if (*reason != NULL) return NULL;
  *reason = "gRPC refuses it";
  return grpc_ssl_server_credentials_create_ex(client_ca, &pair, 1,
                                               client_ca == NULL
                                                   ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                   : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
                                               NULL);
}
