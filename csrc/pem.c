#include "pem.h"

#include <lauxlib.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

/* Whether all IP addresses that the certificate is for have the length of one: gRPC asserts it. */
static bool has_whole_addresses(const X509 *certificate) {
  GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  bool whole = true;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
    int length = type == GEN_IPADD ? ASN1_STRING_length(value) : 4;
    whole = whole && (length == 4 || length == 16);
  }
  GENERAL_NAMES_free(names);
  return whole;
}

static const char *check_certificate(const X509 *certificate, const char *key) {
  if (!has_whole_addresses(certificate)) return "it has a certificate for an IP address of a length that none has";
  if (key == NULL) return NULL;
  BIO *bio = BIO_new_mem_buf(key, -1);
  EVP_PKEY *own = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)""); /* never asks */
  const char *reason = own == NULL                                     ? "its key cannot be read"
                       : X509_check_private_key(certificate, own) != 1 ? "the key is that of another certificate"
                                                                       : NULL;
  EVP_PKEY_free(own);
  BIO_free(bio);
  return reason;
}

const char *pem_check(const char *certificates, const char *key) {
  const char *reason = "it has no certificate that can be read";
  BIO *bio = BIO_new_mem_buf(certificates, -1);
  X509 *certificate = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
  while (certificate != NULL) {
    reason = check_certificate(certificate, key);
    X509_free(certificate);
    certificate = reason == NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    key = NULL; /* of the first one only */
  }
  BIO_free(bio);
  ERR_clear_error();
  return reason;
}

/* core.check_pem(certificates[, key]) -> true, or nil and a reason */
static int check_pem(lua_State *L) {
  const char *reason = pem_check(luaL_checkstring(L, 1), luaL_optstring(L, 2, NULL));
  if (reason == NULL) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, reason);
  return 2;
}

void pem_register(lua_State *L) {
  static const luaL_Reg functions[] = { { "check_pem", check_pem }, { NULL, NULL } };
  luaL_setfuncs(L, functions, 0);
}
