/*
 * The functions of loop.h and op.h in a module that is not wgtwo.core but has operations of its own: lent by the core,
 * whose loop they work on. loop_borrow comes first.
 */
#include "loop_lent.h"

static _Atomic(const LoopApi *) core; /* the same for every Lua state, each of which sets it */

void loop_borrow(lua_State *L, const char *module) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "wgtwo.core");
  lua_call(L, 1, 0);
  if (lua_getfield(L, LUA_REGISTRYINDEX, LOOP_API_KEY) != LUA_TLIGHTUSERDATA)
    luaL_error(L, "wgtwo.core and %s are not of one build", module);
  core = lua_touserdata(L, -1);
  lua_pop(L, 1);
}

Loop *loop_get(lua_State *L) { return core->get(L); }
bool loop_is_foreign(const Loop *loop) { return core->is_foreign(loop); }
int loop_start_thread(Loop *loop, pthread_t *thread, void *(*run)(void *), void *arg) {
  return core->start_thread(loop, thread, run, arg);
}

void op_init(Op *op, OpKind *kind, Loop *loop) { core->op_init(op, kind, loop); }
void op_own(Op *op) { core->op_own(op); }
void op_release(Op *op) { core->op_release(op); }
void op_ready(Op *op) { core->op_ready(op); }
void op_kind_register(lua_State *L, OpKind *kind, const luaL_Reg *methods, lua_CFunction close) {
  core->op_kind_register(L, kind, methods, close);
}
Op **op_new_userdata(lua_State *L, OpKind *kind) { return core->op_new_userdata(L, kind); }
void op_adopt(lua_State *L, Op **box, Op *op) { core->op_adopt(L, box, op); }
Op *op_check(lua_State *L, int arg, OpKind *kind) { return core->op_check(L, arg, kind); }
Op *op_disown(lua_State *L, int arg, OpKind *kind) { return core->op_disown(L, arg, kind); }
void op_hold(lua_State *L) { core->op_hold(L); }
void op_let_go(lua_State *L) { core->op_let_go(L); }
