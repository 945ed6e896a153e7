/*
 * httpd.certificate: X.509 certificates (EC P-256, SHA-256) for servers on this machine, and for tests: an authority,
 * leaves signed by it or by themselves, of any validity. Lua thread; nothing outlives the call, and no Lua runs while
 * OpenSSL's objects are held.
 */
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "httpd.h"
#include "option.h"

#define WHERE "httpd.certificate"
enum { DEFAULT_DAYS = 30, DAY = 86400, CLOCK_SKEW = 300, MAX_NAMES = 64 };

typedef struct Options {
  const char *subject;
  lua_Integer not_before, not_after; /* seconds since 1970 */
  bool is_ca, is_client;
  const char *names[MAX_NAMES], *addresses[MAX_NAMES];
  int name_count, address_count;
  const char *ca_cert, *ca_key; /* PEM; NULL: signed by itself */
} Options;

/* Building; false, or NULL, when OpenSSL refuses */

static bool add_general_name(GENERAL_NAMES *all, int type, ASN1_STRING *value) {
  GENERAL_NAME *name = GENERAL_NAME_new();
  if (name == NULL || value == NULL) {
    GENERAL_NAME_free(name);
    ASN1_STRING_free(value);
    return false;
  }
  GENERAL_NAME_set0_value(name, type, value);
  if (sk_GENERAL_NAME_push(all, name) > 0) return true;
  GENERAL_NAME_free(name);
  return false;
}

static ASN1_STRING *dns_name(const char *text) {
  ASN1_IA5STRING *value = ASN1_IA5STRING_new();
  if (value != NULL && !ASN1_STRING_set(value, text, -1)) {
    ASN1_STRING_free(value);
    return NULL;
  }
  return value;
}

static bool add_alternative_names(X509 *cert, const Options *o) {
  if (o->name_count + o->address_count == 0) return true;
  GENERAL_NAMES *all = GENERAL_NAMES_new();
  bool good = all != NULL;
  for (int i = 0; good && i < o->name_count; i++) good = add_general_name(all, GEN_DNS, dns_name(o->names[i]));
  for (int i = 0; good && i < o->address_count; i++)
    good = add_general_name(all, GEN_IPADD, a2i_IPADDRESS(o->addresses[i]));
  good = good && X509_add1_ext_i2d(cert, NID_subject_alt_name, all, 0, X509V3_ADD_DEFAULT) == 1;
  GENERAL_NAMES_free(all);
  return good;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  bool good = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return good;
}

static bool add_extensions(X509 *cert, X509 *issuer, const Options *o) {
  const char *usage = o->is_client ? "clientAuth" : "serverAuth";
  return add_extension(cert, issuer, NID_basic_constraints, o->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
         add_extension(cert, issuer, NID_key_usage,
                       o->is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
         (o->is_ca || add_extension(cert, issuer, NID_ext_key_usage, usage)) &&
         add_extension(cert, issuer, NID_subject_key_identifier, "hash") &&
         (issuer == cert || add_extension(cert, issuer, NID_authority_key_identifier, "keyid")) &&
         add_alternative_names(cert, o);
}

/* A positive random number of 63 bits: two certificates of one authority never share it. */
static bool set_serial(X509 *cert) {
  uint64_t number;
  if (RAND_bytes((unsigned char *)&number, sizeof number) != 1) return false;
  return ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), (number >> 1) | 1) == 1;
}

static bool set_subject(X509 *cert, const char *text) {
  return X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)text, -1,
                                    -1, 0) == 1;
}

/* With ca NULL: signed by itself. */
static X509 *build(const Options *o, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key) {
  X509 *cert = X509_new();
  if (cert == NULL) return NULL;
  X509 *issuer = ca == NULL ? cert : ca;
  bool good = X509_set_version(cert, 2) == 1 && set_serial(cert) && set_subject(cert, o->subject) &&
              X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1 &&
              ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)o->not_before) != NULL &&
              ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)o->not_after) != NULL &&
              X509_set_pubkey(cert, key) == 1 && add_extensions(cert, issuer, o) &&
              X509_sign(cert, ca == NULL ? key : ca_key, EVP_sha256()) > 0;
  if (good) return cert;
  X509_free(cert);
  return NULL;
}

static X509 *read_cert(const char *pem) {
  BIO *bio = BIO_new_mem_buf(pem, -1);
  X509 *cert = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
  BIO_free(bio);
  return cert;
}

static EVP_PKEY *read_key(const char *pem) {
  BIO *bio = BIO_new_mem_buf(pem, -1);
  EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
  BIO_free(bio);
  return key;
}

/* Both as PEM; NULL, or what went wrong. The caller frees the BIOs. */
static const char *make(const Options *o, BIO *cert_pem, BIO *key_pem) {
  const char *wrong = "OpenSSL cannot make it";
  X509 *ca = NULL, *cert = NULL;
  EVP_PKEY *ca_key = NULL, *key = NULL;
  if (o->ca_cert != NULL) {
    ca = read_cert(o->ca_cert);
    ca_key = read_key(o->ca_key);
    if (ca == NULL || ca_key == NULL || X509_check_private_key(ca, ca_key) != 1) {
      wrong = "'ca' is no certificate with its key";
      goto cleanup;
    }
  }
  key = EVP_EC_gen("P-256");
  if (key != NULL) cert = build(o, key, ca, ca_key);
  if (cert != NULL && PEM_write_bio_X509(cert_pem, cert) == 1 &&
      PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) == 1)
    wrong = NULL;

cleanup:
  X509_free(ca);
  X509_free(cert);
  EVP_PKEY_free(ca_key);
  EVP_PKEY_free(key);
  ERR_clear_error();
  return wrong;
}

/* Options */

/* The list of strings at field name of the table at index 1; returns its length. */
static int read_list(lua_State *L, const char *name, const char **list) {
  int type = lua_getfield(L, 1, name);
  lua_Integer n = type == LUA_TTABLE ? (lua_Integer)lua_rawlen(L, -1) : 0;
  if ((type != LUA_TNIL && type != LUA_TTABLE) || n > MAX_NAMES)
    luaL_error(L, WHERE ": '%s' is a list of at most %d strings", name, MAX_NAMES);
  for (lua_Integer i = 1; i <= n; i++) {
    size_t length = 0;
    bool is_string = lua_rawgeti(L, -1, i) == LUA_TSTRING;
    list[i - 1] = is_string ? lua_tolstring(L, -1, &length) : ""; /* the list still holds it */
    if (!is_string || strlen(list[i - 1]) != length)
      luaL_error(L, WHERE ": '%s' is a list of strings without zero bytes", name);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return (int)n;
}

static void check_addresses(lua_State *L, const Options *o) {
  for (int i = 0; i < o->address_count; i++) {
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(o->addresses[i]);
    if (address == NULL) luaL_error(L, WHERE ": '%s' is no IP address", o->addresses[i]);
    ASN1_OCTET_STRING_free(address);
  }
}

static void read_authority(lua_State *L, Options *o) {
  static const char *const names[] = { "cert", "key", "ca", NULL };
  int type = lua_getfield(L, 1, "ca");
  if (type != LUA_TNIL) {
    if (type != LUA_TTABLE) luaL_error(L, WHERE ": 'ca' is a table of 'cert' and 'key'");
    OptionTable authority = option_table(L, lua_gettop(L), WHERE ": ca", names);
    o->ca_cert = option_required(authority, "cert");
    o->ca_key = option_required(authority, "key");
  }
  lua_pop(L, 1); /* the table at index 1 still holds it */
}

static void read_options(lua_State *L, Options *o) {
  static const char *const names[] = { "names",     "addresses", "subject", "days",   "not_before",
                                       "not_after", "ca",        "is_ca",   "client", NULL };
  OptionTable table = option_table(L, 1, WHERE, names);
  lua_Integer now = (lua_Integer)time(NULL), days = option_integer(table, "days", 1, 36500, DEFAULT_DAYS);
  const lua_Integer latest = 253402300799; /* the end of the year 9999 */
  o->not_before = option_integer(table, "not_before", 0, latest, now - CLOCK_SKEW);
  o->not_after =
      option_integer(table, "not_after", 0, latest, (now > o->not_before ? now : o->not_before) + days * DAY);
  o->is_ca = option_boolean(table, "is_ca");
  o->is_client = option_boolean(table, "client");
  o->name_count = read_list(L, "names", o->names);
  o->address_count = read_list(L, "addresses", o->addresses);
  check_addresses(L, o);
  o->subject = option_string(table, "subject");
  if (o->subject == NULL) o->subject = o->name_count > 0 ? o->names[0] : o->is_ca ? "wgtwo CA" : "wgtwo";
  if (o->subject[0] == '\0' || strlen(o->subject) > 64) luaL_error(L, WHERE ": a subject has 1 to 64 characters");
  read_authority(L, o);
}

static void set_pem(lua_State *L, const char *name, BIO *bio) {
  char *bytes;
  long length = BIO_get_mem_data(bio, &bytes);
  lua_pushlstring(L, bytes, (size_t)length);
  lua_setfield(L, -2, name);
}

typedef struct Output {
  BIO *cert, *key;
} Output;

static int push_output(lua_State *L) {
  const Output *output = lua_touserdata(L, 1);
  lua_createtable(L, 0, 3);
  set_pem(L, "cert", output->cert);
  set_pem(L, "key", output->key);
  return 1;
}

/*
 * httpd.certificate{ names = {"localhost"}, addresses = {"127.0.0.1", "::1"}, subject =, days = 30, not_before =,
 * not_after =, ca = {cert =, key =}, is_ca =, client = } -> {cert = PEM, key = PEM, ca = PEM}
 *
 * Times are in whole seconds since 1970; from 5 minutes ago for 30 days by default. `ca` signs it, else it is signed by
 * itself; ca in the result is the certificate to trust. is_ca makes an authority, client a client's certificate instead
 * of a server's.
 */
static int certificate(lua_State *L) {
  Options options = { .subject = NULL };
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  read_options(L, &options);
  lua_pushcfunction(L, push_output);
  Output output = { BIO_new(BIO_s_mem()), BIO_new(BIO_s_secmem()) };
  const char *wrong =
      output.cert == NULL || output.key == NULL ? "not enough memory" : make(&options, output.cert, output.key);
  int status = LUA_OK;
  if (wrong == NULL) {
    lua_pushlightuserdata(L, &output);
    status = lua_pcall(L, 1, 1, 0); /* protected, so that the BIOs are freed */
  }
  BIO_free(output.cert);
  BIO_free(output.key);
  if (wrong != NULL) return luaL_error(L, WHERE ": %s", wrong);
  if (status != LUA_OK) return lua_error(L);
  if (options.ca_cert == NULL) {
    lua_getfield(L, -1, "cert");
  } else {
    lua_pushstring(L, options.ca_cert);
  }
  lua_setfield(L, -2, "ca");
  return 1;
}

void certificate_register(lua_State *L) {
  static const luaL_Reg functions[] = { { "certificate", certificate }, { NULL, NULL } };
  luaL_setfuncs(L, functions, 0);
}
