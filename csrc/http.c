/*
 * core.http: one HTTP request as an operation.
 *
 * The Lua thread checks the options and sets up a curl easy handle; the worker's thread runs it; curl's callbacks only
 * append to bounded C buffers; take() turns the result into Lua values. Secrets (body, headers) are wiped before their
 * memory is freed, and no text that comes out of here holds more of a URL than host and port.
 */

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "header_table.h"
#include "http_worker.h"
#include "loop_lent.h"
#include "option.h"

enum { MAX_BODY = 1024 * 1024, MAX_HEADERS = 64 * 1024 };
#define WHERE "core.http"

/* Life */

static void wipe(void *bytes, size_t length) {
  if (bytes == NULL) return;
  explicit_bzero(bytes, length);
  free(bytes);
}

static void destroy_request(Op *op) {
  HttpRequest *request = (HttpRequest *)op;
  if (request->easy != NULL) curl_easy_cleanup(request->easy); /* never submitted */
  for (struct curl_slist *header = request->headers; header != NULL; header = header->next)
    explicit_bzero(header->data, strlen(header->data));
  curl_slist_free_all(request->headers);
  wipe(request->body, request->body_length);
  wipe(request->answer_body.bytes, request->answer_body.size);
  wipe(request->answer_headers.bytes, request->answer_headers.size); /* those of an interim answer too */
  free(request->place);
  free(request->ca_file);
  free(request);
}

static OpKind http_kind = { .name = "wgtwo.http", .destroy = destroy_request };

static HttpRequest *check_request(lua_State *L) { return (HttpRequest *)op_check(L, 1, &http_kind); }

static int close_request(lua_State *L) {
  HttpRequest *request = (HttpRequest *)op_disown(L, 1, &http_kind);
  if (request == NULL) return 0;
  if (request->worker != NULL && !atomic_load(&request->finished)) http_worker_cancel(request->worker, request);
  op_release(&request->op);
  return 0;
}

/* curl's callbacks; worker thread */

static bool append(HttpBuffer *buffer, const char *bytes, size_t length) {
  if (length > buffer->limit - buffer->length) {
    buffer->overflow = true;
    return false;
  }
  size_t needed = buffer->length + length;
  if (needed > buffer->size) {
    size_t size = buffer->size == 0 ? 1024 : buffer->size;
    while (size < needed) size *= 2;
    char *grown = malloc(size); /* not realloc, which would leave a copy behind */
    if (grown == NULL) return false;
    if (buffer->length > 0) memcpy(grown, buffer->bytes, buffer->length);
    wipe(buffer->bytes, buffer->length);
    buffer->bytes = grown;
    buffer->size = size;
  }
  memcpy(buffer->bytes + buffer->length, bytes, length);
  buffer->length = needed;
  return true;
}

static size_t receive_body(char *bytes, size_t size, size_t n, void *arg) {
  HttpRequest *request = arg;
  return append(&request->answer_body, bytes, size * n) ? size * n : 0;
}

static size_t receive_header(char *bytes, size_t size, size_t n, void *arg) {
  HttpRequest *request = arg;
  size_t length = size * n;
  if (length >= 5 && memcmp(bytes, "HTTP/", 5) == 0) { /* a new answer: an interim one (100) came before */
    request->answer_headers.length = 0;
    return length;
  }
  return append(&request->answer_headers, bytes, length) ? length : 0;
}

/* Setting up; Lua thread */

typedef struct Options {
  const char *method, *url, *body, *username, *password, *ca_file;
  size_t body_length;
  int timeout_ms, connect_timeout_ms;
  size_t max_body;
} Options;

static void check_method(lua_State *L, const char *method) {
  if (method[0] == '\0' || strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(method))
    luaL_error(L, WHERE ": '%s' is no method: upper-case letters", method);
}

/* Raises unless 'headers' is absent or a list of "Name: value" lines; leaves that table on the stack, or nil. */
static void check_headers(lua_State *L, OptionTable o) {
  int type = lua_getfield(L, o.index, "headers");
  if (type == LUA_TNIL) return;
  if (type != LUA_TTABLE) luaL_error(L, WHERE ": 'headers' is a list of \"Name: value\" strings");
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= n; i++) {
    size_t length;
    const char *line = lua_rawgeti(L, -1, i) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
    const char *colon = line == NULL ? NULL : strchr(line, ':');
    if (colon == NULL || colon == line || strcspn(line, " \t") < (size_t)(colon - line) ||
        strpbrk(line, "\r\n") != NULL || strlen(line) != length)
      luaL_error(L, WHERE ": header %I is not \"Name: value\" on one line",
                 i); /* without the text: it may hold a token */
    lua_pop(L, 1);
  }
}

static Options read_options(lua_State *L, OptionTable o) {
  Options options = {
    .url = option_required(o, "url"),
    .username = option_string(o, "username"),
    .password = option_string(o, "password"),
    .ca_file = option_string(o, "ca_file"),
    .timeout_ms = option_milliseconds(o, "timeout", 10),
    .connect_timeout_ms = option_milliseconds(o, "connect_timeout", 5),
    .max_body = (size_t)option_integer(o, "max_body", 0, INT_MAX, MAX_BODY),
  };
  options.body = option_bytes(o, "body", &options.body_length);
  options.method = option_string(o, "method");
  if (options.method == NULL) options.method = options.body == NULL ? "GET" : "POST";
  check_method(L, options.method);
  return options;
}

static bool is_loopback(const char *host) {
  bool four = strncmp(host, "127.", 4) == 0 && host[strspn(host, "0123456789.")] == '\0'; /* not 127.example.com */
  return strcasecmp(host, "localhost") == 0 || four || strcmp(host, "[::1]") == 0;
}

/* "host:port", or NULL. The caller frees it. */
static char *join_place(const char *host, const char *port) {
  size_t size = strlen(host) + strlen(port) + 2;
  char *place = malloc(size);
  if (place != NULL) snprintf(place, size, "%s:%s", host, port);
  return place;
}

/* Sets place; NULL, or what is wrong with the URL. */
static const char *read_url(HttpRequest *request, const char *text, bool *tls, bool *loopback) {
  const char *wrong = NULL;
  char *scheme = NULL, *host = NULL, *port = NULL;
  CURLU *url = curl_url();
  if (url == NULL) return "out of memory";
  CURLUcode code = curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER);
  if (code == CURLUE_OK) code = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
  if (code == CURLUE_USER_NOT_ALLOWED) {
    wrong = "it holds a user name: credentials do not belong in a URL";
  } else if (code == CURLUE_UNSUPPORTED_SCHEME ||
             (code == CURLUE_OK && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
    wrong = "only http and https are spoken here";
  } else if (code != CURLUE_OK || curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
             curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK) {
    wrong = "it is not of the form https://host/path";
  } else {
    request->place = join_place(host, port);
    if (request->place == NULL) wrong = "out of memory";
    *tls = strcmp(scheme, "https") == 0;
    *loopback = is_loopback(host);
  }
  curl_free(scheme);
  curl_free(host);
  curl_free(port);
  curl_url_cleanup(url);
  return wrong;
}

/* An option that not every libcurl has. */
static void set_if_known(CURL *easy, const char *name, long value) {
  const struct curl_easyoption *option = curl_easy_option_by_name(name);
  if (option != NULL) curl_easy_setopt(easy, option->id, value);
}

static void limit_protocols(CURL *easy) {
  const struct curl_easyoption *option = curl_easy_option_by_name("PROTOCOLS_STR");
  if (option != NULL) {
    curl_easy_setopt(easy, option->id, "http,https");
  } else {
    set_if_known(easy, "PROTOCOLS", CURLPROTO_HTTP | CURLPROTO_HTTPS);
  }
}

/* The bundle of trusted CAs: the one asked for and no other; else SSL_CERT_FILE, as OpenSSL itself reads it; else
 * curl's own. */
static bool set_trust(HttpRequest *request, const char *ca_file) {
  request->ca_given = ca_file != NULL;
  if (ca_file == NULL) ca_file = getenv("SSL_CERT_FILE");
  if (ca_file != NULL) {
    curl_easy_setopt(request->easy, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(request->easy, CURLOPT_CAPATH, NULL);
  } else {
    ca_file = curl_version_info(CURLVERSION_NOW)->cainfo;
  }
  request->ca_file = strdup(ca_file == NULL ? "the system's place" : ca_file);
  return request->ca_file != NULL;
}

static void set_method(HttpRequest *request, const Options *o) {
  CURL *easy = request->easy;
  bool carries_body =
      strcmp(o->method, "POST") == 0 || strcmp(o->method, "PUT") == 0 || strcmp(o->method, "PATCH") == 0;
  if (strcmp(o->method, "HEAD") == 0) {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (request->body != NULL || carries_body) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body == NULL ? "" : request->body); /* not copied by curl */
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, o->method);
  } else {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, o->method);
  }
}

/* The table at index headers was checked. */
static bool add_headers(lua_State *L, int headers, HttpRequest *request) {
  if (lua_isnil(L, headers)) return true;
  lua_Integer n = (lua_Integer)lua_rawlen(L, headers);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, headers, i);
    struct curl_slist *longer = curl_slist_append(request->headers, lua_tostring(L, -1));
    lua_pop(L, 1);
    if (longer == NULL) return false;
    request->headers = longer;
  }
  curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers);
  return true;
}

/* NULL, or why the request cannot be made. Raises nothing. */
static const char *set_up(lua_State *L, HttpRequest *request, const Options *o, int headers) {
  bool tls = false, loopback = false;
  const char *wrong = read_url(request, o->url, &tls, &loopback);
  if (wrong != NULL) return wrong;
  CURL *easy = request->easy = curl_easy_init();
  if (easy == NULL || !add_headers(L, headers, request) || (tls && !set_trust(request, o->ca_file)))
    return "out of memory";
  if (o->body != NULL) {
    request->body = malloc(o->body_length + 1);
    if (request->body == NULL) return "out of memory";
    memcpy(request->body, o->body, o->body_length);
    request->body_length = o->body_length;
  }
  request->answer_body.limit = o->max_body;
  request->answer_headers.limit = MAX_HEADERS;

  curl_easy_setopt(easy, CURLOPT_URL, o->url);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  limit_protocols(easy);
  set_if_known(easy, "QUICK_EXIT", 1); /* cancelling never waits for the resolver's thread */
  if (loopback) curl_easy_setopt(easy, CURLOPT_PROXY, "");
  set_method(request, o);
  if (o->username != NULL) {
    curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    curl_easy_setopt(easy, CURLOPT_USERNAME, o->username);
    curl_easy_setopt(easy, CURLOPT_PASSWORD, o->password == NULL ? "" : o->password);
  }
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_timeout_ms);
  curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)o->max_body);
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->error);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, receive_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, request);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
  return NULL;
}

/*
 * core.http{ url =, method =, headers = { "Name: value", … }, body =, username =, password =, ca_file =, timeout = 10,
 *   connect_timeout = 5, max_body = 1 MiB } -> operation | nil, text
 *
 * Times are in seconds. The method is GET, or POST where there is a body. Redirects are not followed. https is always
 * verified, against the CAs of ca_file where given. A proxy is taken from the environment, but not for loopback hosts.
 */
static int http(lua_State *L) {
  static const char *const names[] = { "url",     "method",  "headers",         "body",     "username", "password",
                                       "ca_file", "timeout", "connect_timeout", "max_body", NULL };
  lua_settop(L, 1);
  OptionTable o = option_table(L, 1, WHERE, names);
  Options options = read_options(L, o);
  check_headers(L, o); /* index 2 */
  HttpWorker *worker = http_worker_get(L);
  Op **box = op_new_userdata(L, &http_kind);
  HttpRequest *request = calloc(1, sizeof *request);
  if (request == NULL) return luaL_error(L, "out of memory");
  op_init(&request->op, &http_kind, loop_get(L));
  op_adopt(L, box, &request->op);
  const char *wrong = set_up(L, request, &options, 2);
  if (wrong == NULL) {
    request->worker = worker;
    if (http_worker_submit(worker, request)) return 1;
    request->worker = NULL;
    wrong = "too many HTTP requests are under way";
  } else if (request->place == NULL) { /* the URL itself, which may hold a secret, stays out of it */
    lua_pushfstring(L, "the URL cannot be used: %s", wrong);
    wrong = lua_tostring(L, -1);
  }
  *box = NULL;
  op_release(&request->op);
  lua_pushnil(L);
  lua_pushstring(L, wrong);
  return 2;
}

/* Results; Lua thread */

/* Pushes one line: place and reason. */
static void push_error(lua_State *L, const HttpRequest *request) {
  luaL_Buffer line;
  if (request->code == CURLE_SSL_CACERT_BADFILE && request->ca_file != NULL) {
    lua_pushfstring(L,
                    request->ca_given
                        ? "%s: no CA certificates can be read from '%s'"
                        : "%s: no CA certificates at %s: install the package ca-certificates, or give ca_file",
                    request->place, request->ca_file);
    return;
  }
  if (request->answer_body.overflow || request->code == CURLE_FILESIZE_EXCEEDED) {
    lua_pushfstring(L, "%s: the answer is longer than %I bytes", request->place,
                    (lua_Integer)request->answer_body.limit);
    return;
  }
  if (request->answer_headers.overflow) {
    lua_pushfstring(L, "%s: the answer's headers are longer than %d bytes", request->place, MAX_HEADERS);
    return;
  }
  if (request->code == CURLE_COULDNT_CONNECT && request->os_error != 0) {
    lua_pushfstring(L, "%s: %s", request->place, strerror((int)request->os_error));
    return;
  }
  luaL_buffinit(L, &line);
  luaL_addstring(&line, request->place);
  luaL_addstring(&line, ": ");
  const char *reason = request->error[0] != '\0' ? request->error : curl_easy_strerror(request->code);
  size_t length = strlen(reason);
  while (length > 0 && (unsigned char)reason[length - 1] <= ' ') length--;
  for (size_t i = 0; i < length; i++) luaL_addchar(&line, (unsigned char)reason[i] < ' ' ? ' ' : reason[i]);
  luaL_pushresult(&line);
}

/* Adds one header line to the table on top. */
static void add_header(lua_State *L, const char *line, const char *end) {
  const char *colon = memchr(line, ':', (size_t)(end - line));
  if (colon == NULL) return;
  const char *value = colon + 1;
  while (value < end && (*value == ' ' || *value == '\t')) value++;
  while (end > value && (unsigned char)end[-1] <= ' ') end--;
  header_table_add(L, line, (size_t)(colon - line), value, (size_t)(end - value));
}

static void push_headers(lua_State *L, const HttpBuffer *headers) {
  lua_newtable(L);
  const char *line = headers->bytes, *end = line == NULL ? NULL : line + headers->length;
  while (line < end) {
    const char *newline = memchr(line, '\n', (size_t)(end - line));
    const char *stop = newline == NULL ? end : newline;
    add_header(L, line, stop);
    line = stop + (newline != NULL);
  }
}

/* operation:take() -> false | { status =, headers = { lower-case name = value }, body = } | nil, text, curl's code */
static int take(lua_State *L) {
  HttpRequest *request = check_request(L);
  if (!atomic_load(&request->finished)) {
    lua_pushboolean(L, false);
    return 1;
  }
  if (request->code != CURLE_OK) {
    lua_pushnil(L);
    op_hold(L);
    push_error(L, request);
    lua_pushinteger(L, request->code);
    op_let_go(L);
    return 3;
  }
  op_hold(L);
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, request->status);
  lua_setfield(L, -2, "status");
  push_headers(L, &request->answer_headers);
  lua_setfield(L, -2, "headers");
  lua_pushlstring(L, request->answer_body.bytes == NULL ? "" : request->answer_body.bytes, request->answer_body.length);
  lua_setfield(L, -2, "body");
  op_let_go(L);
  return 1;
}

__attribute__((visibility("default"))) int luaopen_wgtwo_http(lua_State *L);

int luaopen_wgtwo_http(lua_State *L) {
  static const luaL_Reg methods[] = { { "take", take }, { NULL, NULL } };
  static const luaL_Reg functions[] = { { "http", http }, { NULL, NULL } };
  luaL_checkversion(L);
  loop_borrow(L, "wgtwo.http");
  op_kind_register(L, &http_kind, methods, close_request);
  http_worker_register(L);
  luaL_newlib(L, functions);
  return 1;
}
