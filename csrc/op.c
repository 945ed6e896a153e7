#include "op.h"

#include <lauxlib.h>
#include <stddef.h>

#include "loop.h"

/* Registry: light userdata of an Op -> its userdata, weak. It is how a ready operation finds what Lua knows it by. */
static const char shown_key = 0;

/* What a userdata holds. Its kind tells it from other userdata, quicker than a look at metatables. */
typedef struct Shown {
  Op *op; /* NULL: closed */
  const OpKind *kind;
  int holds;   /* methods that look at it while they make Lua values */
  Op *owed;    /* closed meanwhile: the userdata's share, given up after them */
  bool listed; /* stands, or stood, in the table of shown operations */
} Shown;

static OpKind *kinds; /* all registered kinds, of all Lua states; guarded by kinds_lock */
static pthread_mutex_t kinds_lock = PTHREAD_MUTEX_INITIALIZER;

void op_init(Op *op, OpKind *kind, Loop *loop) {
  op->kind = kind;
  op->loop = loop;
  atomic_init(&op->owners, 1);
  op->next_ready = NULL;
  op->queued = false;
  op->next_pending = NULL;
  op->pending = false;
  atomic_fetch_add(&kind->live, 1);
  loop_count_op(loop);
}

void op_own(Op *op) { atomic_fetch_add_explicit(&op->owners, 1, memory_order_relaxed); }

void op_release(Op *op) {
  if (atomic_fetch_sub_explicit(&op->owners, 1, memory_order_acq_rel) != 1) return;
  OpKind *kind = op->kind;
  Loop *loop = op->loop;
  kind->destroy(op);
  atomic_fetch_sub(&kind->live, 1);
  loop_uncount_op(loop);
}

static void add_kind(OpKind *kind) {
  pthread_mutex_lock(&kinds_lock);
  OpKind *known = kinds;
  while (known != NULL && known != kind) known = known->next;
  if (known == NULL) {
    kind->next = kinds;
    kinds = kind;
  }
  pthread_mutex_unlock(&kinds_lock);
}

static OpKind *first_kind(void) {
  pthread_mutex_lock(&kinds_lock);
  OpKind *first = kinds;
  pthread_mutex_unlock(&kinds_lock);
  return first;
}

static int kind_tostring(lua_State *L) {
  const Shown *shown = lua_touserdata(L, 1);
  const char *name = lua_tostring(L, lua_upvalueindex(1));
  if (shown != NULL && shown->op == NULL) {
    lua_pushfstring(L, "%s (closed)", name);
  } else {
    lua_pushfstring(L, "%s: %p", name, shown == NULL ? NULL : (void *)shown->op);
  }
  return 1;
}

/* NULL: it is something else. */
static Shown *test_shown(lua_State *L, int arg, const OpKind *kind) {
  Shown *shown = lua_rawlen(L, arg) == sizeof *shown ? lua_touserdata(L, arg) : NULL;
  return shown != NULL && shown->kind == kind ? shown : NULL;
}

static void pay(Shown *shown) {
  Op *op = shown->owed;
  shown->owed = NULL;
  if (op != NULL && !loop_is_foreign(op->loop)) op_release(op);
}

void op_hold(lua_State *L) { ((Shown *)lua_touserdata(L, 1))->holds++; }

bool op_is_held(lua_State *L) { return ((const Shown *)lua_touserdata(L, 1))->holds > 0; }

void op_let_go(lua_State *L) {
  Shown *shown = lua_touserdata(L, 1);
  if (--shown->holds == 0 && shown->owed != NULL) pay(shown);
}

/* __gc: no method runs on it any more, although memory may have run out in one that held it. Upvalue: close. */
static int collect(lua_State *L) {
  lua_CFunction close = lua_tocfunction(L, lua_upvalueindex(1));
  close(L);
  pay(lua_touserdata(L, 1));
  return 0;
}

void op_kind_register(lua_State *L, OpKind *kind, const luaL_Reg *methods, lua_CFunction close) {
  add_kind(kind);
  if (!luaL_newmetatable(L, kind->name)) {
    lua_pop(L, 1);
    return;
  }
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "close");
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, close);
  lua_pushcclosure(L, collect, 1);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__close");
  lua_pushstring(L, kind->name);
  lua_pushcclosure(L, kind_tostring, 1);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
}

Op **op_new_userdata(lua_State *L, OpKind *kind) {
  Shown *shown = lua_newuserdatauv(L, sizeof *shown, 1);
  *shown = (Shown){ .kind = kind };
  luaL_setmetatable(L, kind->name);
  return &shown->op;
}

/* Pushes the weak table of shown operations. */
static void push_shown(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shown_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &shown_key);
}

void op_adopt_unlisted(Op **box, Op *op) { *box = op; /* from here on __gc releases it */ }

void op_list(lua_State *L, Op *op) {
  push_shown(L);
  ((Shown *)lua_touserdata(L, -2))->listed = true;
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, op);
  lua_pop(L, 1);
}

void op_adopt(lua_State *L, Op **box, Op *op) {
  op_adopt_unlisted(box, op);
  op_list(L, op);
}

bool op_push_shown(lua_State *L, Op *op) {
  push_shown(L);
  lua_rawgetp(L, -1, op);
  lua_remove(L, -2);
  if (lua_isuserdata(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

Op **op_reuse(lua_State *L, int arg, OpKind *kind) {
  Shown *shown = test_shown(L, arg, kind);
  if (shown == NULL || shown->op != NULL || shown->holds > 0 || shown->owed != NULL || shown->listed) return NULL;
  lua_pushvalue(L, arg);
  return &shown->op;
}

static Shown *check_shown(lua_State *L, int arg, const OpKind *kind) {
  Shown *shown = test_shown(L, arg, kind);
  if (shown == NULL) luaL_typeerror(L, arg, kind->name);
  return shown;
}

Op *op_check_open(lua_State *L, int arg, OpKind *kind) {
  Op *op = check_shown(L, arg, kind)->op;
  if (op != NULL && loop_is_foreign(op->loop)) loop_get(L); /* raises */
  return op;
}

Op *op_check(lua_State *L, int arg, OpKind *kind) {
  Op *op = op_check_open(L, arg, kind);
  if (op == NULL) luaL_argerror(L, arg, "it is closed");
  return op;
}

Op *op_disown(lua_State *L, int arg, OpKind *kind) {
  Shown *shown = check_shown(L, arg, kind);
  Op *op = shown->op;
  shown->op = NULL;
  if (op == NULL || loop_is_foreign(op->loop)) return NULL;
  if (shown->holds > 0) {
    op_own(op);
    shown->owed = op;
  }
  return op;
}

/* core.live() -> count, {kind = count}: operations whose memory is not freed yet, of the whole process. */
static int live(lua_State *L) {
  lua_Integer total = 0;
  lua_newtable(L);
  for (OpKind *k = first_kind(); k != NULL; k = k->next) { /* what is in the list stays as it is */
    int n = atomic_load(&k->live);
    if (n == 0) continue;
    total += n;
    lua_pushinteger(L, n);
    lua_setfield(L, -2, k->name);
  }
  lua_pushinteger(L, total);
  lua_insert(L, -2);
  return 2;
}

void op_register(lua_State *L) {
  static const luaL_Reg functions[] = { { "live", live }, { NULL, NULL } };
  luaL_setfuncs(L, functions, 0);
}
