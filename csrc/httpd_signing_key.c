#include "httpd_signing_key.h"

#include <lauxlib.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define SIGNING_KEY "wgtwo.signing_key"
enum { KEY_BITS = 2048, NUMBER_BYTES = KEY_BITS / 8, PEM_BYTES = 4096 };

typedef struct SigningKey {
  EVP_PKEY *pkey; /* NULL before it is made */
} SigningKey;

static SigningKey *check_key(lua_State *L) { return luaL_checkudata(L, 1, SIGNING_KEY); }

static int key_gc(lua_State *L) {
  SigningKey *key = check_key(L);
  EVP_PKEY_free(key->pkey);
  key->pkey = NULL;
  return 0;
}

static EVP_PKEY *read_pem(const char *text, size_t length) {
  BIO *bio = BIO_new_mem_buf(text, (int)length);
  EVP_PKEY *pkey =
      bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)""); /* never asks for a password */
  BIO_free(bio);
  if (pkey != NULL && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA && EVP_PKEY_get_bits(pkey) == KEY_BITS) return pkey;
  EVP_PKEY_free(pkey);
  return NULL;
}

/* httpd.signing_key([pem]) -> a new key, or that of the PEM; raises when OpenSSL refuses */
static int new_key(lua_State *L) {
  size_t length;
  const char *text = luaL_optlstring(L, 1, NULL, &length);
  SigningKey *key = lua_newuserdatauv(L, sizeof *key, 0);
  key->pkey = NULL;
  luaL_setmetatable(L, SIGNING_KEY);
  key->pkey = text == NULL ? EVP_RSA_gen(KEY_BITS) : read_pem(text, length);
  if (key->pkey == NULL) {
    return luaL_error(L, text == NULL ? "OpenSSL makes no RSA key" : "this is no RSA key of %d bits in PEM", KEY_BITS);
  }
  return 1;
}

/* key:sign(text) -> signature */
static int key_sign(lua_State *L) {
  SigningKey *key = check_key(L);
  size_t length, size = NUMBER_BYTES;
  const char *text = luaL_checklstring(L, 2, &length);
  unsigned char signature[NUMBER_BYTES];
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  int good = context != NULL && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
             EVP_DigestSign(context, signature, &size, (const unsigned char *)text, length) == 1;
  EVP_MD_CTX_free(context);
  if (!good) return luaL_error(L, "OpenSSL does not sign");
  lua_pushlstring(L, (const char *)signature, size);
  return 1;
}

static int push_number(lua_State *L, const char *name) {
  SigningKey *key = check_key(L);
  unsigned char bytes[NUMBER_BYTES];
  BIGNUM *number = NULL;
  int length = -1;
  if (EVP_PKEY_get_bn_param(key->pkey, name, &number) == 1 && BN_num_bytes(number) <= NUMBER_BYTES) {
    length = BN_bn2bin(number, bytes);
  }
  BN_free(number);
  if (length < 0) return luaL_error(L, "OpenSSL does not tell this key's numbers");
  lua_pushlstring(L, (const char *)bytes, (size_t)length);
  return 1;
}

/* key:modulus(), key:exponent() -> the public numbers, big-endian */
static int key_modulus(lua_State *L) { return push_number(L, OSSL_PKEY_PARAM_RSA_N); }
static int key_exponent(lua_State *L) { return push_number(L, OSSL_PKEY_PARAM_RSA_E); }

/* key:pem() -> the private key, for signing_key */
static int key_pem(lua_State *L) {
  SigningKey *key = check_key(L);
  char text[PEM_BYTES];
  BIO *bio = BIO_new(BIO_s_secmem());
  int length = -1;
  if (bio != NULL && PEM_write_bio_PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1) {
    length = BIO_read(bio, text, sizeof text);
  }
  BIO_free(bio);
  if (length <= 0) return luaL_error(L, "OpenSSL does not write this key");
  lua_pushlstring(L, text, (size_t)length);
  OPENSSL_cleanse(text, sizeof text);
  return 1;
}

void signing_key_register(lua_State *L) {
  static const luaL_Reg methods[] = {
    { "sign", key_sign }, { "modulus", key_modulus }, { "exponent", key_exponent }, { "pem", key_pem }, { NULL, NULL }
  };
  static const luaL_Reg functions[] = { { "signing_key", new_key }, { NULL, NULL } };
  luaL_newmetatable(L, SIGNING_KEY);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, key_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
