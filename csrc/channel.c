#include "channel.h"

#include <grpc/grpc_security.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include "linger.h"
#include "probes.h"
#if HAVE_GRPC_CREDENTIALS_H
#include <grpc/credentials.h>
#endif

#define MAX_ARGS 32

static void destroy_channel(Op *op) {
  Channel *channel = (Channel *)op;
  if (channel->grpc != NULL) linger_destroy_channel(op->loop, channel->grpc);
  free(channel);
}

static OpKind channel_kind = { .name = "wgtwo.channel", .destroy = destroy_channel };

Channel *channel_check(lua_State *L, int arg) { return (Channel *)op_check(L, arg, &channel_kind); }

/* What core.channel was given; strings belong to the table at index 1, which stays on the stack. */
typedef struct Options {
  const char *target, *roots, *cert, *key, *server_name;
  bool plaintext, skip_verify;
  grpc_arg args[MAX_ARGS];
  size_t n_args;
} Options;

static const char *string_option(lua_State *L, const char *name) {
  int type = lua_getfield(L, 1, name);
  const char *value = lua_tostring(L, -1);
  if (type != LUA_TNIL && type != LUA_TSTRING) luaL_error(L, "channel option '%s' is a string", name);
  lua_pop(L, 1); /* still referenced by the table */
  return value;
}

static bool boolean_option(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

static grpc_arg *next_arg(lua_State *L, Options *o, const char *key) {
  if (o->n_args == MAX_ARGS) luaL_error(L, "more than %d channel arguments", MAX_ARGS);
  grpc_arg *arg = &o->args[o->n_args++];
  arg->key = (char *)key;
  return arg;
}

static void set_string(grpc_arg *arg, const char *value) {
  arg->type = GRPC_ARG_STRING;
  arg->value.string = (char *)value;
}

static void read_args(lua_State *L, Options *o) {
  if (lua_getfield(L, 1, "args") == LUA_TTABLE) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
      if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "channel arguments have string keys");
      grpc_arg *arg = next_arg(L, o, lua_tostring(L, -2));
      if (lua_isinteger(L, -1)) {
        arg->type = GRPC_ARG_INTEGER;
        arg->value.integer = (int)lua_tointeger(L, -1);
      } else if (lua_type(L, -1) == LUA_TSTRING) {
        set_string(arg, lua_tostring(L, -1));
      } else {
        luaL_error(L, "channel argument '%s' is an integer or a string", arg->key);
      }
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

static void read_options(lua_State *L, Options *o) {
  luaL_checktype(L, 1, LUA_TTABLE);
  memset(o, 0, sizeof *o);
  o->target = string_option(L, "target");
  if (o->target == NULL) luaL_error(L, "channel option 'target' is missing");
  o->plaintext = boolean_option(L, "plaintext");
  o->skip_verify = boolean_option(L, "insecure_skip_verify");
  o->roots = string_option(L, "roots");
  o->cert = string_option(L, "cert");
  o->key = string_option(L, "key");
  o->server_name = string_option(L, "server_name");
  if ((o->cert == NULL) != (o->key == NULL)) luaL_error(L, "channel options 'cert' and 'key' come together");
  read_args(L, o);
  if (o->server_name != NULL) set_string(next_arg(L, o, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG), o->server_name);
}

#if HAVE_GRPC_TLS_NO_VERIFIER
/* Encrypts, and believes any certificate. */
static grpc_channel_credentials *unverified_credentials(const Options *o) {
  grpc_tls_credentials_options *tls = grpc_tls_credentials_options_create();
  grpc_tls_credentials_options_set_verify_server_cert(tls, 0);
  grpc_tls_credentials_options_set_check_call_host(tls, 0);
  grpc_tls_certificate_verifier *verifier = grpc_tls_certificate_verifier_no_op_create();
  grpc_tls_credentials_options_set_certificate_verifier(tls, verifier);
  grpc_tls_certificate_verifier_release(verifier);
  if (o->cert != NULL) {
    grpc_tls_identity_pairs *pairs = grpc_tls_identity_pairs_create();
    grpc_tls_identity_pairs_add_pair(pairs, o->key, o->cert);
    grpc_tls_certificate_provider *provider = grpc_tls_certificate_provider_static_data_create(NULL, pairs);
    grpc_tls_credentials_options_set_certificate_provider(tls, provider);
    grpc_tls_credentials_options_watch_identity_key_cert_pairs(tls);
    grpc_tls_certificate_provider_release(provider);
  }
  return grpc_tls_credentials_create(tls);
}
#else
static grpc_channel_credentials *unverified_credentials(const Options *o) {
  (void)o;
  return NULL;
}
#endif

/* NULL: *reason says why. */
static grpc_channel_credentials *make_credentials(const Options *o, const char **reason) {
  if (o->plaintext) return grpc_insecure_credentials_create();
  if (o->skip_verify) {
    *reason = "this gRPC cannot skip the verification of certificates: give tls.ca_file instead";
    return unverified_credentials(o);
  }
  *reason = "gRPC refuses these certificates";
  grpc_ssl_pem_key_cert_pair pair = { o->key, o->cert };
  return grpc_ssl_credentials_create(o->roots, o->cert == NULL ? NULL : &pair, NULL, NULL);
}

/* core.channel{target=, …} -> channel, or nil and a reason. See contract in core.meta.lua. */
static int new_channel(lua_State *L) {
  Options options;
  read_options(L, &options);
  lua_settop(L, 1);
  Loop *loop = loop_get(L);
  loop_queue(L, loop); /* gRPC is running from here on */
  Op **box = op_new_userdata(L, &channel_kind);
  Channel *channel = calloc(1, sizeof *channel);
  if (channel == NULL) return luaL_error(L, "not enough memory");
  op_init(&channel->op, &channel_kind, loop);
  op_adopt(L, box, &channel->op);

  const char *reason = NULL;
  grpc_channel_credentials *credentials = make_credentials(&options, &reason);
  if (credentials == NULL) {
    lua_pushnil(L);
    lua_pushstring(L, reason);
    return 2;
  }
  grpc_channel_args args = { options.n_args, options.args };
  sigset_t before;
  signals_block(&before);
  channel->grpc = grpc_channel_create(options.target, credentials, &args);
  signals_restore(&before);
  grpc_channel_credentials_release(credentials);
  if (channel->grpc == NULL) {
    lua_pushnil(L);
    lua_pushstring(L, "gRPC refuses this target");
    return 2;
  }
  return 1;
}

static int close_channel(lua_State *L) {
  Op *op = op_disown(L, 1, &channel_kind);
  if (op != NULL) op_release(op);
  return 0;
}

/* channel:state([connect]) -> "IDLE", "CONNECTING", "READY", "TRANSIENT_FAILURE" or "SHUTDOWN"; connect: leave IDLE. */
static int channel_state(lua_State *L) {
  static const char *const names[] = { "IDLE", "CONNECTING", "READY", "TRANSIENT_FAILURE", "SHUTDOWN" };
  Channel *channel = channel_check(L, 1);
  lua_pushstring(L, names[grpc_channel_check_connectivity_state(channel->grpc, lua_toboolean(L, 2))]);
  return 1;
}

void channel_register(lua_State *L) {
  static const luaL_Reg methods[] = { { "state", channel_state }, { NULL, NULL } };
  static const luaL_Reg functions[] = { { "channel", new_channel }, { NULL, NULL } };
  op_kind_register(L, &channel_kind, methods, close_channel);
  luaL_setfuncs(L, functions, 0);
}
