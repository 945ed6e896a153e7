/*
 * The probe's TLS handshake, with the checks that gRPC makes, and the verdict over it. The probe's thread.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "probe.h"

enum { AFTER_HANDSHAKE_MS = 400 /* a server that refuses a client certificate says so only then, in TLS 1.3 */ };

typedef struct Session {
  ProbeWire *wire;
  SSL_CTX *context;
  SSL *ssl;
  const char *name;        /* that the certificate is to have */
  bool certificate_wanted; /* the server has asked for a client certificate */
} Session;

/* The certificate */

static void append(char *text, size_t size, const char *more) {
  size_t length = strlen(text);
  snprintf(text + length, size - length, "%s", more);
}

/* The names that a certificate is for: "a", "b" and more. */
static void describe_names(X509 *cert, char *text, size_t size) {
  GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
  int shown = 0, count = sk_GENERAL_NAME_num(names);
  text[0] = '\0';
  for (int i = 0; i < count && shown < 3; i++) {
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
    char one[80] = "", address[64];
    const unsigned char *bytes = type == GEN_DNS || type == GEN_IPADD ? ASN1_STRING_get0_data(value) : NULL;
    int length = bytes == NULL ? 0 : ASN1_STRING_length(value);
    if (type == GEN_DNS) {
      snprintf(one, sizeof one, "\"%.*s\"", length, (const char *)bytes);
    } else if (type == GEN_IPADD && (length == 4 || length == 16) && /* the server chooses what it says */
               inet_ntop(length == 4 ? AF_INET : AF_INET6, bytes, address, sizeof address) != NULL) {
      snprintf(one, sizeof one, "%s", address);
    }
    if (one[0] == '\0') continue;
    if (shown++ > 0) append(text, size, ", ");
    append(text, size, one);
  }
  if (shown == 0) append(text, size, "no name");
  if (count > shown && shown == 3) append(text, size, " and more");
  GENERAL_NAMES_free(names);
}

static void describe_time(const ASN1_TIME *at, char *text, size_t size) {
  struct tm t;
  if (at == NULL || ASN1_TIME_to_tm(at, &t) != 1 || strftime(text, size, "%Y-%m-%d %H:%M UTC", &t) == 0)
    snprintf(text, size, "an unknown time");
}

static void describe_issuer(X509 *cert, char *text, size_t size) {
  text[0] = '\0';
  if (cert == NULL || X509_NAME_get_text_by_NID(X509_get_issuer_name(cert), NID_commonName, text, (int)size) <= 0)
    snprintf(text, size, "an unknown issuer");
}

static void judge_certificate(Session *session, X509_STORE_CTX *store) {
  Probe *probe = session->wire->probe;
  X509 *leaf = X509_STORE_CTX_get0_cert(store), *at_fault = X509_STORE_CTX_get_current_cert(store);
  int error = X509_STORE_CTX_get_error(store);
  char said[160];
  switch (error) {
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_IP_ADDRESS_MISMATCH:
    describe_names(leaf, said, sizeof said);
    probe_set(probe, "wrong_name", "the certificate is for %s, not \"%s\"", said, session->name);
    break;
  case X509_V_ERR_CERT_HAS_EXPIRED:
    describe_time(X509_get0_notAfter(at_fault == NULL ? leaf : at_fault), said, sizeof said);
    probe_set(probe, "expired", "the certificate expired at %s", said);
    break;
  case X509_V_ERR_CERT_NOT_YET_VALID:
    describe_time(X509_get0_notBefore(at_fault == NULL ? leaf : at_fault), said, sizeof said);
    probe_set(probe, "not_yet_valid", "the certificate is not valid before %s", said);
    break;
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
  case X509_V_ERR_CERT_SIGNATURE_FAILURE:
  case X509_V_ERR_CERT_UNTRUSTED:
    describe_issuer(leaf, said, sizeof said);
    probe_set(probe, "unknown_ca", "the certificate is signed by \"%s\", which is not trusted here", said);
    break;
  default: probe_set(probe, "other", "the certificate is not accepted: %s", X509_verify_cert_error_string(error));
  }
}

static int verify_callback(int good, X509_STORE_CTX *store) {
  SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
  if (!good) judge_certificate(SSL_get_app_data(ssl), store);
  return good;
}

/* Called when the server asks for a client certificate. */
static int wanted_callback(SSL *ssl, void *arg) {
  Session *session = arg;
  (void)ssl;
  session->certificate_wanted = true;
  return 1;
}

/* Setting up */

static bool add_roots(SSL_CTX *context, const char *pem) {
  if (pem == NULL) return SSL_CTX_set_default_verify_paths(context) == 1;
  BIO *bio = BIO_new_mem_buf(pem, -1);
  int added = 0;
  for (X509 *cert; bio != NULL && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; added++) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), cert);
    X509_free(cert);
  }
  BIO_free(bio);
  ERR_clear_error();
  return added > 0;
}

/* The client certificate with its chain. */
static bool use_certificate(SSL_CTX *context, const char *cert_pem, const char *key_pem) {
  bool good = false;
  BIO *certs = BIO_new_mem_buf(cert_pem, -1), *keys = BIO_new_mem_buf(key_pem, -1);
  X509 *cert = certs == NULL ? NULL : PEM_read_bio_X509_AUX(certs, NULL, NULL, NULL);
  EVP_PKEY *key = keys == NULL ? NULL : PEM_read_bio_PrivateKey(keys, NULL, NULL, (void *)"");
  if (cert != NULL && key != NULL)
    good = SSL_CTX_use_certificate(context, cert) == 1 && SSL_CTX_use_PrivateKey(context, key) == 1;
  for (X509 *more; good && (more = PEM_read_bio_X509(certs, NULL, NULL, NULL)) != NULL;)
    if (SSL_CTX_add0_chain_cert(context, more) != 1) X509_free(more);
  X509_free(cert);
  EVP_PKEY_free(key);
  BIO_free(certs);
  BIO_free(keys);
  ERR_clear_error();
  return good;
}

static bool set_name(SSL *ssl, const char *name, bool verify) {
  unsigned char address[16];
  if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
    return !verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
  return SSL_set_tlsext_host_name(ssl, name) == 1 && (!verify || SSL_set1_host(ssl, name) == 1);
}

/* Sets what is wrong when it fails. */
static bool set_up(Session *session) {
  static const unsigned char http2[] = { 2, 'h', '2' };
  Probe *probe = session->wire->probe;
  session->name = probe->server_name == NULL ? probe->host : probe->server_name;
  session->context = SSL_CTX_new(TLS_client_method());
  if (session->context == NULL) goto failed;
  SSL_CTX_set_min_proto_version(session->context, TLS1_2_VERSION);
  if (!probe->skip_verify && !add_roots(session->context, probe->roots)) {
    probe_set(probe, "other", "there are no CA certificates to check the server with");
    return false;
  }
  if (probe->cert != NULL && (probe->key == NULL || !use_certificate(session->context, probe->cert, probe->key))) {
    probe_set(probe, "client_certificate", "the client certificate and its key cannot be used");
    return false;
  }
  SSL_CTX_set_cert_cb(session->context, wanted_callback, session);
  session->ssl = SSL_new(session->context);
  if (session->ssl == NULL) goto failed;
  SSL_set_app_data(session->ssl, session);
  SSL_set_verify(session->ssl, probe->skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                 probe->skip_verify ? NULL : verify_callback);
  if (SSL_set_alpn_protos(session->ssl, http2, sizeof http2) == 0 &&
      set_name(session->ssl, session->name, !probe->skip_verify) && SSL_set_fd(session->ssl, session->wire->fd) == 1)
    return true;

failed:
  probe_set(probe, "other", "the TLS library cannot be used");
  return false;
}

/* The handshake */

typedef enum Step { DONE, FAILED, TIMED_OUT } Step;

/* Repeats one call of OpenSSL until it is done, as often as it has to wait. */
static Step run(Session *session, int (*step)(SSL *)) {
  for (;;) {
    ERR_clear_error();
    int result = step(session->ssl);
    if (result > 0) return DONE;
    int wants = SSL_get_error(session->ssl, result);
    if (wants != SSL_ERROR_WANT_READ && wants != SSL_ERROR_WANT_WRITE) return FAILED;
    if (probe_wait(session->wire, wants == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT) != PROBE_READY) return TIMED_OUT;
  }
}

static int write_preface(SSL *ssl) { return SSL_write(ssl, PROBE_PREFACE, PROBE_PREFACE_LENGTH); }

static int read_byte(SSL *ssl) {
  char byte;
  return SSL_read(ssl, &byte, 1);
}

/* An alert by which the server says what it thinks of our certificate. */
static bool is_about_certificate(int reason) {
  switch (reason) {
  case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
  case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
  case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
  case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
  case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
  case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
  case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
  case SSL_R_TLSV1_ALERT_ACCESS_DENIED: return true;
  default: return false;
  }
}

static void set_client_certificate(Probe *probe) {
  probe_set(probe, "client_certificate", "the server %s client certificate",
            probe->cert == NULL ? "asks for a" : "does not accept the");
}

/* Sets why OpenSSL failed. False when the server went without a word. */
static bool judge_failure(Session *session) {
  Probe *probe = session->wire->probe;
  unsigned long error = ERR_peek_error();
  int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
  if (is_about_certificate(reason) || (session->certificate_wanted && reason != SSL_R_WRONG_VERSION_NUMBER)) {
    set_client_certificate(probe);
    return true;
  }
  switch (reason) {
  case 0:
  case SSL_R_UNEXPECTED_EOF_WHILE_READING: return false;
  case SSL_R_CERTIFICATE_VERIFY_FAILED: return true; /* set by the callback */
  case SSL_R_WRONG_VERSION_NUMBER:
  case SSL_R_HTTP_REQUEST:
  case SSL_R_UNEXPECTED_MESSAGE:
  case SSL_R_PACKET_LENGTH_TOO_LONG:
    probe_set(probe, "plaintext_server", "the server does not speak TLS, but plaintext");
    return false;
  default: probe_set(probe, "other", "TLS: %s", ERR_reason_error_string(error)); return true;
  }
}

static void check_http2(Session *session) {
  const unsigned char *protocol;
  unsigned length;
  SSL_get0_alpn_selected(session->ssl, &protocol, &length);
  if (length != 2 || memcmp(protocol, "h2", 2) != 0)
    probe_set(session->wire->probe, "other", "the server speaks TLS, but does not offer HTTP/2 (ALPN \"h2\") in it");
}

/* The handshake went well; what the server says first tells whether it accepts the client. Silence says nothing. */
static void listen_on(Session *session) {
  ProbeWire *wire = session->wire;
  int64_t bound = probe_now_ms() + AFTER_HANDSHAKE_MS;
  check_http2(session);
  if (wire->probe->reason != NULL) return;
  if (wire->deadline_ms > bound) wire->deadline_ms = bound;
  Step step = run(session, write_preface);
  if (step == DONE) step = run(session, read_byte);
  if (step == FAILED && !judge_failure(session))
    probe_set(wire->probe, "reset", "the server closed the connection after the TLS handshake");
}

bool probe_tls(ProbeWire *wire) {
  Session session = { .wire = wire };
  bool spoke = true;
  if (set_up(&session)) {
    switch (run(&session, SSL_connect)) {
    case DONE: listen_on(&session); break;
    case FAILED: spoke = judge_failure(&session); break;
    case TIMED_OUT:
      spoke = false;
      probe_set(wire->probe, "timeout", "no answer to the TLS handshake within %g s", wire->probe->timeout_ms / 1000.0);
      break;
    }
  }
  SSL_free(session.ssl);
  SSL_CTX_free(session.context);
  ERR_clear_error();
  return spoke;
}
