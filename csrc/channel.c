#include "channel.h"

#include <grpc/grpc_security.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "background.h"
#include "linger.h"
#include "option.h"
#include "probes.h"
#if HAVE_GRPC_CREDENTIALS_H
#include <grpc/credentials.h>
#endif

#define WHERE "core.channel"

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
  grpc_arg args[MAX_ARGUMENTS + 1];
  size_t n_args;
} Options;

static Options read_options(lua_State *L) {
  static const char *const names[] = { "target",      "plaintext", "insecure_skip_verify",
                                       "roots",       "cert",      "key",
                                       "server_name", "args",      NULL };
  OptionTable table = option_table(L, 1, WHERE, names);
  Options o = {
    .target = option_required(table, "target"),
    .roots = option_string(table, "roots"),
    .cert = option_string(table, "cert"),
    .key = option_string(table, "key"),
    .server_name = option_string(table, "server_name"),
    .plaintext = option_boolean(table, "plaintext"),
    .skip_verify = option_boolean(table, "insecure_skip_verify"),
  };
  if ((o.cert == NULL) != (o.key == NULL)) luaL_error(L, WHERE ": 'cert' and 'key' come together");
  lua_getfield(L, 1, "args");
  o.n_args = read_arguments(L, -1, WHERE, o.args, 0);
  lua_pop(L, 1); /* the table at index 1 still holds them */
  if (o.server_name != NULL) set_string_argument(&o.args[o.n_args++], GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, o.server_name);
  return o;
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
  lua_settop(L, 1);
  Options options = read_options(L);
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
  Background before;
  background_begin(&before);
  channel->grpc = grpc_channel_create(options.target, credentials, &args);
  background_end(&before);
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
