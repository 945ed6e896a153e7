/*
 * What is answered: libmicrohttpd's response, from what Lua gives. Its thread sends it, so all of it is copied.
 *
 * A response can be cut, as a connection that breaks would cut it: all of the body is announced, and a part is sent.
 */
#include <stdlib.h>

#include "httpd.h"
#include "option.h"

enum { BLOCK_SIZE = 4096 }; /* of a cut body, sent at a time */

typedef struct Part {
  size_t length;
  char bytes[];
} Part;

/* libmicrohttpd's thread. The error at the part's end closes the connection. */
static ssize_t read_part(void *cls, uint64_t position, char *buffer, size_t room) {
  const Part *part = cls;
  if (position >= part->length) return MHD_CONTENT_READER_END_WITH_ERROR;
  size_t length = part->length - (size_t)position;
  if (length > room) length = room;
  memcpy(buffer, part->bytes + position, length);
  return (ssize_t)length;
}

/* NULL when memory is short. */
static struct MHD_Response *new_cut_response(const char *body, size_t length, size_t cut_after) {
  Part *part = malloc(sizeof *part + cut_after);
  if (part == NULL) return NULL;
  part->length = cut_after;
  memcpy(part->bytes, body, cut_after);
  struct MHD_Response *response = MHD_create_response_from_callback(length, BLOCK_SIZE, read_part, part, free);
  if (response == NULL) free(part);
  return response;
}

/* Raises unless the argument is nil, or a table of header names and values that can be sent. */
static void check_headers(lua_State *L, int arg) {
  if (lua_isnil(L, arg)) return;
  luaL_checktype(L, arg, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    size_t name_length = 0, length = 0;
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &name_length) : "";
    const char *value = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
    bool good = value != NULL && name_length > 0 && strlen(name) == name_length && strpbrk(name, ": \t\r\n") == NULL &&
                strlen(value) == length && strpbrk(value, "\r\n") == NULL;
    if (!good) luaL_argerror(L, arg, "headers are names and one-line strings");
    lua_pop(L, 1);
  }
}

/* The table was checked; raises nothing. */
static bool add_headers(lua_State *L, int arg, struct MHD_Response *response) {
  bool good = true;
  if (lua_isnil(L, arg)) return true;
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    const char *value = lua_tostring(L, -1);
    if (value[0] != '\0') good = MHD_add_response_header(response, lua_tostring(L, -2), value) == MHD_YES && good;
    lua_pop(L, 1);
  }
  return good;
}

/* Bytes of the body that are sent. */
static size_t read_options(lua_State *L, int arg, size_t length) {
  static const char *const names[] = { "cut_after", NULL };
  if (lua_isnil(L, arg)) return length;
  lua_Integer cut_after = option_integer(option_table(L, arg, "respond", names), "cut_after", 0, INT_MAX, INT_MAX);
  return (size_t)cut_after < length ? (size_t)cut_after : length;
}

struct MHD_Response *httpd_new_response(lua_State *L, int arg) {
  size_t length;
  const char *body = luaL_optlstring(L, arg + 1, "", &length);
  lua_settop(L, arg + 2);
  check_headers(L, arg);
  size_t sent = read_options(L, arg + 2, length);
  struct MHD_Response *response = sent < length
                                      ? new_cut_response(body, length, sent)
                                      : MHD_create_response_from_buffer(length, (void *)body, MHD_RESPMEM_MUST_COPY);
  if (response == NULL) luaL_error(L, "not enough memory");
  if (!add_headers(L, arg, response)) {
    MHD_destroy_response(response);
    luaL_argerror(L, arg, "a header cannot be sent");
  }
  return response;
}
