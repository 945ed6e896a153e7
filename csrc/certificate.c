#include "certificate.h"

#include <lauxlib.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { DAY = 86400, DAYS = 30, SERIAL_BYTES = 16, ALT_NAMES = 2048 };

/* What was asked for; texts belong to the table at index 1. */
typedef struct Request {
  const char *subject, *ca_cert, *ca_key;
  char alt_names[ALT_NAMES]; /* "DNS:a,IP:b", as OpenSSL reads it */
  time_t not_before, not_after;
  bool is_ca, client;
} Request;

/* All that making one needs; release frees what there is. */
typedef struct Work {
  EVP_PKEY *key, *issuer_key;
  X509 *cert, *issuer;
  BIO *cert_text, *key_text;
} Work;

static void release(Work *work) {
  EVP_PKEY_free(work->key);
  EVP_PKEY_free(work->issuer_key);
  X509_free(work->cert);
  X509_free(work->issuer);
  BIO_free(work->cert_text);
  BIO_free(work->key_text);
}

/* Reading the options */

static const char *string_field(lua_State *L, int table, const char *name) {
  int type = lua_getfield(L, table, name);
  if (type != LUA_TNIL && type != LUA_TSTRING) luaL_error(L, "certificate: '%s' is a string", name);
  const char *value = lua_tostring(L, -1);
  lua_pop(L, 1); /* the table still holds it */
  return value;
}

/* Appends the list `name`, each with its prefix, to alt_names. */
static void read_names(lua_State *L, Request *request, const char *name, const char *prefix) {
  int type = lua_getfield(L, 1, name);
  if (type != LUA_TNIL && type != LUA_TTABLE) luaL_error(L, "certificate: '%s' is a list", name);
  lua_Integer n = type == LUA_TNIL ? 0 : luaL_len(L, -1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, i);
    const char *text = luaL_checkstring(L, -1);
    size_t used = strlen(request->alt_names), more = strlen(prefix) + strlen(text) + 2;
    if (strpbrk(text, ",:\\") != NULL && strcmp(prefix, "IP:") != 0)
      luaL_error(L, "certificate: a name has no '%s'", text);
    if (used + more > ALT_NAMES) luaL_error(L, "certificate: too many names");
    snprintf(request->alt_names + used, ALT_NAMES - used, "%s%s%s", used > 0 ? "," : "", prefix, text);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static time_t time_field(lua_State *L, const char *name, time_t absent) {
  lua_getfield(L, 1, name);
  time_t value = (time_t)luaL_optnumber(L, -1, (lua_Number)absent);
  lua_pop(L, 1);
  return value;
}

static bool boolean_field(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

static void read_request(lua_State *L, Request *request) {
  memset(request, 0, sizeof *request);
  time_t now = time(NULL);
  request->subject = string_field(L, 1, "subject");
  if (request->subject == NULL) request->subject = "wgtwo sandbox";
  read_names(L, request, "names", "DNS:");
  read_names(L, request, "addresses", "IP:");
  request->not_before = time_field(L, "not_before", now - DAY);
  request->not_after = time_field(L, "not_after", now + time_field(L, "days", DAYS) * DAY);
  request->is_ca = boolean_field(L, "is_ca");
  request->client = boolean_field(L, "client");
  if (lua_getfield(L, 1, "ca") == LUA_TTABLE) {
    request->ca_cert = string_field(L, lua_gettop(L), "cert");
    request->ca_key = string_field(L, lua_gettop(L), "key");
    if (request->ca_cert == NULL || request->ca_key == NULL) luaL_error(L, "certificate: 'ca' has 'cert' and 'key'");
  }
  lua_pop(L, 1);
}

/* Making: each step is true when it worked. No Lua. */

static bool read_issuer(Work *work, const Request *request) {
  if (request->ca_cert == NULL) return true;
  BIO *cert = BIO_new_mem_buf(request->ca_cert, -1), *key = BIO_new_mem_buf(request->ca_key, -1);
  if (cert != NULL) work->issuer = PEM_read_bio_X509(cert, NULL, NULL, NULL);
  if (key != NULL) work->issuer_key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
  BIO_free(cert);
  BIO_free(key);
  return work->issuer != NULL && work->issuer_key != NULL;
}

static bool set_serial(X509 *cert) {
  unsigned char bytes[SERIAL_BYTES];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
  bytes[0] &= 0x7f; /* positive */
  BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
  bool set = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
  BN_free(number);
  return set;
}

static bool add_extension(Work *work, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, work->issuer == NULL ? work->cert : work->issuer, work->cert, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  bool added = extension != NULL && X509_add_ext(work->cert, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

static bool add_extensions(Work *work, const Request *request) {
  bool own_authority = request->is_ca || request->ca_cert == NULL; /* signed by itself: trusted as its own authority */
  return add_extension(work, NID_basic_constraints, own_authority ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
         add_extension(work, NID_key_usage,
                       own_authority ? "critical,digitalSignature,keyCertSign,cRLSign" : "critical,digitalSignature") &&
         (request->is_ca || add_extension(work, NID_ext_key_usage, request->client ? "clientAuth" : "serverAuth")) &&
         (request->alt_names[0] == '\0' || add_extension(work, NID_subject_alt_name, request->alt_names));
}

static bool set_names(Work *work, const Request *request) {
  X509_NAME *name = X509_get_subject_name(work->cert);
  return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)request->subject, -1, -1, 0) ==
             1 &&
         X509_set_issuer_name(work->cert, work->issuer == NULL ? name : X509_get_subject_name(work->issuer)) == 1;
}

static bool make(Work *work, const Request *request) {
  work->key = EVP_EC_gen("P-256");
  work->cert = X509_new();
  if (work->key == NULL || work->cert == NULL || !read_issuer(work, request)) return false;
  EVP_PKEY *signer = work->issuer_key == NULL ? work->key : work->issuer_key;
  return X509_set_version(work->cert, 2) == 1 && set_serial(work->cert) &&
         ASN1_TIME_set(X509_getm_notBefore(work->cert), request->not_before) != NULL &&
         ASN1_TIME_set(X509_getm_notAfter(work->cert), request->not_after) != NULL && set_names(work, request) &&
         X509_set_pubkey(work->cert, work->key) == 1 && add_extensions(work, request) &&
         X509_sign(work->cert, signer, EVP_sha256()) > 0;
}

static bool write_texts(Work *work) {
  work->cert_text = BIO_new(BIO_s_mem());
  work->key_text = BIO_new(BIO_s_mem());
  return work->cert_text != NULL && work->key_text != NULL && PEM_write_bio_X509(work->cert_text, work->cert) == 1 &&
         PEM_write_bio_PrivateKey(work->key_text, work->key, NULL, NULL, 0, NULL, NULL) == 1;
}

static void set_text(lua_State *L, BIO *text, const char *field) {
  char *bytes;
  long length = BIO_get_mem_data(text, &bytes);
  lua_pushlstring(L, bytes, (size_t)length);
  lua_setfield(L, -2, field);
}

static int push_result(lua_State *L) {
  Work *work = lua_touserdata(L, 1);
  lua_createtable(L, 0, 2);
  set_text(L, work->cert_text, "cert");
  set_text(L, work->key_text, "key");
  lua_getfield(L, -1, "cert");
  if (lua_isstring(L, 2)) lua_copy(L, 2, -1); /* the authority's, where there is one: what to trust */
  lua_setfield(L, -2, "ca");
  return 1;
}

/*
 * httpd.certificate{names = {"localhost"}, addresses = {"127.0.0.1"}, subject =, days = 30, not_before =, not_after =
 * (seconds since 1970), is_ca =, client =, ca = {cert =, key =}} -> {cert =, key =, ca = PEM}, or nil and a reason.
 * Without ca it signs itself.
 */
static int certificate(lua_State *L) {
  Request request;
  Work work = { .key = NULL };
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  read_request(L, &request);
  bool made = make(&work, &request) && write_texts(&work);
  if (!made) {
    char reason[256];
    ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
    release(&work);
    lua_pushnil(L);
    lua_pushfstring(L, "no certificate: %s", reason);
    return 2;
  }
  lua_pushcfunction(L, push_result);
  lua_pushlightuserdata(L, &work);
  lua_pushstring(L, request.ca_cert);
  int status = lua_pcall(L, 2, 1, 0); /* only memory can be short: what OpenSSL made is freed all the same */
  release(&work);
  return status == LUA_OK ? 1 : lua_error(L);
}

void certificate_register(lua_State *L) {
  static const luaL_Reg functions[] = { { "certificate", certificate }, { NULL, NULL } };
  luaL_setfuncs(L, functions, 0);
}
