/*
 * An operation: anything that takes time and ends on the loop (a call, a stream, an HTTP request, a listening server
 * …).
 *
 * It is C memory with a count of its owners: one for the Lua userdata that shows it, one for each completion-queue tag
 * or foreign thread that will still touch it, one while it stands in the loop's ready list. Whoever gives up the last
 * one frees it, on whichever thread that happens; so neither a collected userdata nor a late tag can touch freed
 * memory.
 */
#ifndef WGTWO_OP_H
#define WGTWO_OP_H

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct Loop Loop;
typedef struct Op Op;

/* One static instance per kind of operation. */
typedef struct OpKind {
  const char *name;        /* the userdata's __name, "wgtwo.call" */
  void (*destroy)(Op *op); /* frees op; any thread, no Lua */
  atomic_int live;         /* operations of this kind not yet freed, in the whole process */
  struct OpKind *next;     /* all kinds that op_kind_register has seen */
} OpKind;

struct Op {
  OpKind *kind;
  Loop *loop;
  atomic_int owners;
  Op *next_ready;   /* in the ready list; guarded by the loop's lock */
  bool queued;      /* stands in the ready list; guarded by the loop's lock */
  Op *next_pending; /* in the list of op_ready_soon; I/O thread only */
  bool pending;     /* stands in it; I/O thread only */
};

/* Starts the life of op, which has one owner: the caller. Any thread. */
void op_init(Op *op, OpKind *kind, Loop *loop);
void op_own(Op *op);
void op_release(Op *op);

/* Tells the Lua thread that op has news. Any thread; the caller must own op. Cheap when it was told already. */
void op_ready(Op *op);
/* The same from a tag's callback on the I/O thread: told together with the news of the tags that it completes, for one
 * wake-up. */
void op_ready_soon(Op *op);

/* Lua thread from here on. */

/* Makes kind known to core.live() and creates its metatable with these methods, `close` as __gc and __close. */
void op_kind_register(lua_State *L, OpKind *kind, const luaL_Reg *methods, lua_CFunction close);
/* Pushes a new, still closed userdata of this kind: raises when memory is short, before anything was acquired. */
Op **op_new_userdata(lua_State *L, OpKind *kind);
/* Puts op into the userdata on top of the stack, which becomes one of its owners, in the caller's place. */
void op_adopt(lua_State *L, Op **box, Op *op);
/* The same of an operation that has no news for Lua until op_list is called with the userdata on top. */
void op_adopt_unlisted(Op **box, Op *op);
void op_list(lua_State *L, Op *op);
/* Pushes the userdata at arg, to be used again, and returns its box; NULL, pushing nothing, unless it is a closed one
 * of this kind that was never listed. */
Op **op_reuse(lua_State *L, int arg, OpKind *kind);
/* The operation of the userdata at arg; raises for another type, and for a closed one. */
Op *op_check(lua_State *L, int arg, OpKind *kind);
/* The same, NULL for a closed one. */
Op *op_check_open(lua_State *L, int arg, OpKind *kind);
/* Pushes the userdata that shows op and returns true; pushes nothing and returns false when it was collected. */
bool op_push_shown(lua_State *L, Op *op);
/*
 * Around what a method does that makes Lua values and looks at its operation, the one at index 1, in between: making
 * them may run finalizers, which may close it. It stays in memory until it is let go. Arguments are checked before.
 */
void op_hold(lua_State *L);
void op_let_go(lua_State *L);
/* Whether a method holds the operation at index 1: the present one runs in a finalizer then, in the middle of that. */
bool op_is_held(lua_State *L);
/* Takes op out of the userdata at arg: the caller owns it now. NULL when it was closed before, or in a forked child. */
Op *op_disown(lua_State *L, int arg, OpKind *kind);

/* Functions for the `core` table on top of the stack. */
void op_register(lua_State *L);

#endif
