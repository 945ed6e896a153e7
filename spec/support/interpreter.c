/*
 * A stand-alone Lua interpreter to be compiled with a sanitizer: the runtime of a sanitizer has to be in the program,
 * and preloading it into lua5.4 would put it into every shell that a test starts, where ThreadSanitizer crashes.
 *
 * It takes what the tests and the rock give an interpreter (-e, -l, a script or - and its arguments) and treats Ctrl-C,
 * errors and the end of the script as lua5.4 does.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lua_State *main_state;

static void interrupt(lua_State *L, lua_Debug *where) {
  (void)where;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted!");
}

static void on_sigint(int number) {
  signal(number, SIG_DFL); /* a second Ctrl-C ends the process */
  lua_sethook(main_state, interrupt, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static int add_traceback(lua_State *L) {
  const char *message = lua_tostring(L, 1);
  if (message == NULL) {
    if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING) return 1;
    message = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  luaL_traceback(L, L, message, 1);
  return 1;
}

static bool report(lua_State *L, const char *program, int status) {
  if (status == LUA_OK) return true;
  fprintf(stderr, "%s: %s\n", program, lua_tostring(L, -1));
  lua_pop(L, 1);
  return false;
}

/* Calls the chunk below its n arguments. */
static int call(lua_State *L, int n) {
  int handler = lua_gettop(L) - n;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, handler);
  signal(SIGINT, on_sigint);
  int status = lua_pcall(L, n, 0, handler);
  signal(SIGINT, SIG_DFL);
  lua_remove(L, handler);
  return status;
}

static void set_arg(lua_State *L, int argc, char **argv, int script) {
  lua_newtable(L);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

/* The index of the script's name, argc when there is none; 0 for an option that is not known. */
static int find_script(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-' || argv[i][1] == '\0') return i;
    if (strcmp(argv[i], "--") == 0) return i + 1;
    if (argv[i][1] == 'e' || argv[i][1] == 'l') {
      if (argv[i][2] == '\0') i++;
    } else if (strcmp(argv[i], "-W") != 0 && strcmp(argv[i], "-E") != 0) {
      return 0;
    }
  }
  return argc;
}

/* Runs the options before the script: -e text, -l module. */
static bool run_options(lua_State *L, char **argv, int script) {
  for (int i = 1; i < script; i++) {
    char option = argv[i][1];
    if (option != 'e' && option != 'l') continue;
    const char *value = argv[i][2] != '\0' ? argv[i] + 2 : argv[++i];
    int status;
    if (option == 'e') {
      status = luaL_loadbuffer(L, value, strlen(value), "=(command line)");
      if (status == LUA_OK) status = call(L, 0);
    } else {
      lua_getglobal(L, "require");
      lua_pushstring(L, value);
      status = call(L, 1);
    }
    if (!report(L, argv[0], status)) return false;
  }
  return true;
}

static bool run_script(lua_State *L, int argc, char **argv, int script) {
  const char *name = strcmp(argv[script], "-") == 0 ? NULL : argv[script];
  int status = luaL_loadfile(L, name), n = argc - script - 1;
  if (status == LUA_OK) {
    for (int i = script + 1; i < argc; i++) lua_pushstring(L, argv[i]);
    status = call(L, n);
  }
  return report(L, argv[0], status);
}

int main(int argc, char **argv) {
  int script = find_script(argc, argv);
  lua_State *L = luaL_newstate();
  if (L == NULL || script == 0) {
    fprintf(stderr, "usage: %s [-e text] [-l module] [script [arguments]]\n", argv[0]);
    return EXIT_FAILURE;
  }
  main_state = L;
  luaL_openlibs(L);
  lua_gc(L, LUA_GCGEN, 0, 0);
  set_arg(L, argc, argv, script < argc ? script : 0);
  bool ok = run_options(L, argv, script) && (script >= argc || run_script(L, argc, argv, script));
  lua_close(L);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
